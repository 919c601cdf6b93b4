"""The local cloud: everything FISO needs on one Linux machine, on loopback only."""
