"""What the compiled modules are compared with: the same duties in plain Python, and fakes to drive both."""
