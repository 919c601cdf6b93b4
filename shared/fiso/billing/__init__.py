"""Tariffs: each cloud's billing rules as code, applied to dated price data. Imports the domain only."""
