"""The vocabulary: frozen values, closed sets and errors. Standard library only; imports nothing else of FISO."""
