"""Decision leases and their reported outcomes."""
