"""The tests; a package, so that fakes, twins and commands like `python -m tests.echo_server` have names."""
