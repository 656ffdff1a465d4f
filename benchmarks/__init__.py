"""Measurements of the running server against floors written in C. See README.md here."""
