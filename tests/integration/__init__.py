"""Tests of the running server: a child process, real sockets on loopback, ports chosen by the kernel."""
