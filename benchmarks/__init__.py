"""Benchmarks: each prints one JSON line with a figure, and a baseline measured in the same run."""
