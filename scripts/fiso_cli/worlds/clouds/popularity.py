"""Popularity: how calls are shared among functions where no trace says it: Zipf's law. Pure."""


def shares(functions: int) -> list[float]:
    """The shares of functions by rank, proportional to 1 / rank."""
    total = sum(1 / rank for rank in range(1, functions + 1))
    return [1 / rank / total for rank in range(1, functions + 1)]
