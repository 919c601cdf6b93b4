"""Tokens of the local stage, and the keys of the console's sessions, on the command line."""
