"""Simulated clouds that react to what a router does."""
