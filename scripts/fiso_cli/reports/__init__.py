"""Reports: what routing came to, from the log."""
