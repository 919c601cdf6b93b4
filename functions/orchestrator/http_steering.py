"""Steering: what a caller wishes for one request, in its own headers. What is ill-formed is refused, never ignored."""

import re
from collections.abc import Mapping
from math import isfinite

from fiso.domain.errors import MalformedRequest
from fiso.domain.request import UNSTEERED, Prefer, Steering

_COST, _PREFER, _EXCLUDE = "x-fiso-max-cost", "x-fiso-prefer", "x-fiso-exclude"
_AMOUNT = re.compile(r"[0-9]{1,9}(\.[0-9]{1,18})?([eE][-+]?[0-9]{1,2})?", re.ASCII)
_PLACE = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}", re.ASCII)
MOST_EXCLUDED = 32


def steering_of(headers: Mapping[str, str]) -> Steering:
    """The wishes in headers (names in lower case). `MalformedRequest` names what is wrong with one."""
    cost, prefer, exclude = headers.get(_COST), headers.get(_PREFER), headers.get(_EXCLUDE)
    if cost is None and prefer is None and exclude is None:
        return UNSTEERED
    return Steering(
        max_cost_usd=None if cost is None else _amount(cost.strip()),
        prefer=None if prefer is None else _preferred(prefer.strip().lower()),
        exclude=frozenset() if exclude is None else _excluded(exclude),
    )


def _amount(text: str) -> float:
    amount = float(text) if _AMOUNT.fullmatch(text) else 0.0
    if not (amount > 0 and isfinite(amount)):
        raise MalformedRequest(f"{_COST} must be a positive amount of USD, as in 0.00002, not {text[:40]!r}")
    return amount


def _preferred(text: str) -> Prefer:
    try:
        return Prefer(text)
    except ValueError as error:
        raise MalformedRequest(f"{_PREFER} must be latency or cost, not {text[:40]!r}") from error


def _excluded(text: str) -> frozenset[str]:
    names = [name.strip().lower() for name in text.split(",")]
    if len(names) > MOST_EXCLUDED:
        raise MalformedRequest(f"{_EXCLUDE} may name at most {MOST_EXCLUDED} endpoints, providers or regions")
    for name in names:
        if not _PLACE.fullmatch(name):
            raise MalformedRequest(
                f"{_EXCLUDE} must be endpoints, providers or regions with commas between, and {name[:40]!r} is none"
            )
    return frozenset(names)
