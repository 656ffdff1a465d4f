"""The operator's way into a server: a Unix socket that only its owner can open, and the commands that use it.

A control connection is a connection of the line port whose user is the operator from the start, so that
`fastchat user` and `fastchat room` are clients like any other, and `nc -U` is an operator's shell.
"""
