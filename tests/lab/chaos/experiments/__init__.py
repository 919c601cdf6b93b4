"""The experiments, one module a subject; each module lists its own in `EXPERIMENTS`."""
