"""The tests; a package, so that fakes, twins and commands such as `python -m tests.echo_server` have names."""
