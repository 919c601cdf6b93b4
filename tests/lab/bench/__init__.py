"""Benchmarks: FISO beside a rival, in one run on one machine."""
