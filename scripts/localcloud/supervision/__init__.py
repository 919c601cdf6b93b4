"""Supervision: starting, watching and stopping the local cloud's processes from any shell."""
