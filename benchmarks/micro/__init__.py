"""Micro-benchmarks (pytest-benchmark): each part beside its twin and beside what one would otherwise call."""
