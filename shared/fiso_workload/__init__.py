"""The sample functions' own bodies, written once for three clouds. Standard library only, and nothing of FISO."""
