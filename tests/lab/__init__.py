"""The laboratory: fault experiments and benchmarks. In no wheel, imported by nothing."""
