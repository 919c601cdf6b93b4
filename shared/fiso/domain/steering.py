"""Steering: what a policy lets callers wish, how sessions are kept on one copy, and a new copy's canary."""

from enum import StrEnum


class Wish(StrEnum):
    """What a caller may wish for one request (`Steering`): it narrows what the policy allows, and never widens it."""

    MAX_COST = "max_cost"  # x-fiso-max-cost
    PREFER = "prefer"  # x-fiso-prefer
    EXCLUDE = "exclude"  # x-fiso-exclude
