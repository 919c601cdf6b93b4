"""Bad input: hostile events against the orchestrator's genuine edge, in a process of its own that is watched."""
