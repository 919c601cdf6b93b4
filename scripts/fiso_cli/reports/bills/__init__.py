"""Bills: what the clouds charged beside what the log says that calls cost."""
