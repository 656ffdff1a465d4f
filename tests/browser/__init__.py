"""Tests of the page in Debian's Chromium, against the running server or a script that plays one."""
