"""Routes: the templates of HTTP triggers (`items/{id:int}/{tail?}`, `{*rest}`) and the paths they match. Pure."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from urllib.parse import unquote

CONSTRAINTS = {"int": r"-?\d+", "long": r"-?\d+", "bool": r"(?:true|false)", "alpha": "[A-Za-z]+"}
PARAMETER = re.compile(r"^\{(?P<rest>\*)?(?P<name>\w+)(?::(?P<constraint>\w+))?(?P<optional>\?)?\}$")


class RouteError(ValueError):
    """A route template that this host does not understand."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """A function's route. No methods means all of them."""

    function: str
    template: str
    methods: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        pattern(self.template)

    def parameters(self, path: str) -> Mapping[str, str] | None:
        """The route parameters if the path matches, else None. An absent optional parameter is left out."""
        found = pattern(self.template).fullmatch(path)
        if found is None:
            return None
        return {name: unquote(value) for name, value in found.groupdict().items() if value is not None}

    def allows(self, method: str) -> bool:
        return not self.methods or method in self.methods

    @property
    def precedence(self) -> tuple[int, ...]:
        """Sorts literal segments before constrained before free parameters before the catch-all, left to right."""
        return tuple(_rank(segment) for segment in self.template.strip("/").split("/"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """What a request leads to: a function, or nothing, and then whether another method would."""

    function: str | None = None
    parameters: Mapping[str, str] | None = None
    allowed: frozenset[str] = frozenset()


def find(routes: Sequence[Route], method: str, path: str) -> Match:
    """The first of `routes` (see `in_order`) for a method and a still percent-encoded path below the prefix."""
    allowed: set[str] = set()
    for route in routes:
        parameters = route.parameters(path)
        if parameters is None:
            continue
        if route.allows(method):
            return Match(function=route.function, parameters=parameters)
        allowed |= route.methods
    return Match(allowed=frozenset(allowed))


@cache
def pattern(template: str) -> re.Pattern[str]:
    """A template as an expression over the path below the route prefix; letter case does not matter."""
    parts = [_segment(segment, template) for segment in template.strip("/").split("/")]
    return re.compile("".join(parts) + "/?", re.IGNORECASE)


def in_order(routes: Iterable[Route]) -> Sequence[Route]:
    """The most specific first."""
    return sorted(routes, key=lambda route: route.precedence)


def _segment(segment: str, template: str) -> str:
    if "{" not in segment and "}" not in segment:
        return "/" + re.escape(segment) if segment else ""
    found = PARAMETER.match(segment)
    constraint = found["constraint"] if found else None
    if found is None or (constraint and constraint not in CONSTRAINTS):
        raise RouteError(f"route {template!r}: cannot serve the segment {segment!r}")
    value = ".*" if found["rest"] else CONSTRAINTS.get(constraint or "", "[^/]+")
    part = f"/(?P<{found['name']}>{value})"
    return f"(?:{part})?" if found["optional"] or found["rest"] else part


def _rank(segment: str) -> int:
    found = PARAMETER.match(segment)
    if found is None:
        return 0
    return 3 if found["rest"] else 1 if found["constraint"] else 2
