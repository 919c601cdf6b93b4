"""The rig: genuine orchestrator edges in worker processes, scripted providers, a store of its own, open-loop load."""
