"""Drills: what FISO promises for a bad day, tried on this machine."""
