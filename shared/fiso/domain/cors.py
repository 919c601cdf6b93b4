"""Cross-origin resource sharing: which pages of other origins may call, and read what they get (Fetch, 3.2)."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated

from fiso.domain.fields import Impossible, Place, Spelled, Within, violations

_ORIGIN = r"[a-z][a-z0-9+.-]*://(\*\.[a-z0-9-]+\.)?[a-z0-9.-]+(:[0-9]{1,5})?"
ORIGIN = Spelled(
    rf"^(\*|{_ORIGIN})$",
    "must be an origin in lower case, as in https://app.example.com, or https://*.example.com, or *",
)
METHOD = Spelled(r"^(\*|GET|HEAD|POST|PUT|PATCH|DELETE|OPTIONS)$", "must be a method that FISO routes, or *")
HEADER = Spelled(r"^[!#$%&'*+.^_`|~0-9a-z-]{1,100}$", "must be the name of a header in lower case, or *")
SPELLED: Mapping[str, Spelled] = {
    "allow_origins": ORIGIN,
    "allow_methods": METHOD,
    "allow_headers": HEADER,
    "expose_headers": HEADER,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Cors:
    """What pages of other origins may do. `https://*.example.com` stands for every host below example.com."""

    allow_origins: frozenset[Annotated[str, ORIGIN]]
    allow_methods: frozenset[Annotated[str, METHOD]] = frozenset({"GET", "HEAD", "POST"})
    allow_headers: frozenset[Annotated[str, HEADER]] = frozenset({"content-type"})
    expose_headers: frozenset[Annotated[str, HEADER]] = frozenset()
    allow_credentials: bool = False
    max_age_s: Annotated[int, Within(0, 86_400)] = 600

    def __post_init__(self) -> None:
        problems = [*violations(self), *self._misspelt()]
        if not self.allow_origins:
            problems.append((("allow_origins",), "must name an origin"))
        if self.allow_credentials:
            # Browsers take * for itself then, so that nothing would be allowed (Fetch, 3.2.5).
            problems += [
                ((name,), "must not be * where allow_credentials is true") for name in SPELLED if "*" in self._set(name)
            ]
        if problems:
            raise Impossible(problems)

    @property
    def differs_by_origin(self) -> bool:
        """Whether answers differ by who asks, which caches have to know."""
        return "*" not in self.allow_origins

    def granted(self, origin: str) -> dict[str, str]:
        """The headers of an answer to a page of this origin; none where it may not read it."""
        if not self._allows(origin):
            return {}
        headers = {"access-control-allow-origin": origin if self.differs_by_origin else "*"}
        if self.allow_credentials:
            headers["access-control-allow-credentials"] = "true"
        if self.expose_headers:
            headers["access-control-expose-headers"] = _joined(self.expose_headers)
        return headers

    def preflight(self, origin: str) -> dict[str, str]:
        """The headers of the answer to a browser's question whether a page of this origin may call."""
        headers = self.granted(origin)
        if not headers:
            return {}
        headers.pop("access-control-expose-headers", None)
        # `*` does not stand for authorization (Fetch, 4.9), which an operator who allows all does mean.
        allowed = self.allow_headers | {"authorization"} if "*" in self.allow_headers else self.allow_headers
        return headers | {
            "access-control-allow-methods": _joined(self.allow_methods),
            "access-control-allow-headers": _joined(allowed),
            "access-control-max-age": str(self.max_age_s),
        }

    def _allows(self, origin: str) -> bool:
        if origin in self.allow_origins or not self.differs_by_origin:
            return True
        return any(_is_below(origin, pattern) for pattern in self.allow_origins if "*" in pattern)

    def _set(self, name: str) -> frozenset[str]:
        values: frozenset[str] = getattr(self, name)
        return values

    def _misspelt(self) -> Iterator[tuple[Place, str]]:
        for name, spelled in SPELLED.items():
            for value in sorted(self._set(name)):
                if not re.match(spelled.pattern, value) or "\n" in value:
                    yield (name,), f"{spelled.says}, not {value!r:.80}"


def _is_below(origin: str, pattern: str) -> bool:
    """Whether an origin is of a host below the pattern's; scheme and port must be the pattern's own."""
    before, after = pattern.split("*", 1)
    host = origin[len(before) : -len(after)]
    return (
        origin.startswith(before)
        and origin.endswith(after)
        and len(origin) > len(before) + len(after)
        and re.fullmatch(r"[a-z0-9.-]+", host) is not None
    )


def _joined(values: frozenset[str]) -> str:
    return ", ".join(sorted(values))
