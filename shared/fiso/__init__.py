"""FISO: picks, for every request, the copy of a function that is best now, among three clouds."""

__version__ = "0.1.0"
