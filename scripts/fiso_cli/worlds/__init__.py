"""Worlds: the orchestrator's own code in measured traces and in simulated clouds, beside the rules it must beat."""
