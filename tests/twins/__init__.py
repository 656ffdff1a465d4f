"""Small, clear pure-Python twins of the compiled classes."""
