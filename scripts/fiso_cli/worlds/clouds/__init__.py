"""The digital twin: the orchestrator's own code in a simulated world that reacts to what the router does."""
