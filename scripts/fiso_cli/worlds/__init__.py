"""Replay: the orchestrator's own code over paired measurements, beside the rules it must beat."""
