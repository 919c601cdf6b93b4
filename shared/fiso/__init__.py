"""FISO: picks, for every request, the copy of a function that is best now, among three clouds."""

__version__ = "0.2.0.dev0"
