"""Servers that tests start: Debian's programs on free ports, with data folders of their own."""
