"""Use cases. They depend on ports, never on an SDK."""
