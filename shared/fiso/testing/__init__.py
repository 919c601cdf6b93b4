"""In-memory ports, to test with."""
