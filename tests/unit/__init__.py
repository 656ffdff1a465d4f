"""Tests of one module each: no network, no child process, a fake clock."""
