"""Kills the server again and again under load, and checks afterwards what every client saw.

`driver` runs the server and the clients of `workload`, each of which keeps a `history`; `checker` is a
program of its own that reads the histories and knows nothing of how they came about.
"""
