"""Tests of the load test: what it counts, and that it runs."""
