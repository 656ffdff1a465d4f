"""Counts instead of times: instructions, allocations and system calls, the same in every run."""
