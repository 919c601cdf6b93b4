"""Keyed: what the experiment on idempotency keys is made of; one genuine store, several orchestrators, a function."""
