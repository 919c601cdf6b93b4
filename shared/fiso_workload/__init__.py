"""The sample functions' own bodies, written once for three clouds. Standard library only; knows no cloud, nothing of FISO."""
