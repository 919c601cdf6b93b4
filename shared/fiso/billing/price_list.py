"""Price lists: one provider's dated prices, by meter and region, with their tiers. Pure; standard library only.

A region that exists and has no price of its own, or that FISO has never heard of, gets what most of its neighbours
have, and that is said (`is_estimated`).
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from math import inf, isfinite
from typing import Any

DEAREST_USD = 100.0
"""No unit of any meter costs as much: what says so is damaged, or of another unit."""
_PRICE_KEYS = frozenset({"usd", "free", "then", "in", "not_in", "to"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What one unit costs in some regions: `usd`, and from each `(begins, usd)` of `then` on, counted by the month and
    without the `free` units, which only who has a claim to them gets.

    `places` are the regions it is for (all that are listed where empty), less `not_in`; `to` are the destinations, of
    data that is sent.
    """

    usd: float
    free: float = 0.0
    then: tuple[tuple[float, float], ...] = ()
    places: frozenset[str] = frozenset()
    not_in: frozenset[str] = frozenset()
    to: frozenset[str] = frozenset()

    def next_usd(self, used: float, *, has_free: bool = False) -> float:
        """The price of one unit more, after `used` of them."""
        if has_free and used < self.free:
            return 0.0
        beyond = used - self.free if has_free else used
        return next((usd for begins, usd in reversed(self.then) if beyond >= begins), self.usd)

    def total_usd(self, used: float, *, has_free: bool = False) -> float:
        """What a month with so many units comes to."""
        beyond = max(0.0, used - self.free) if has_free else used
        begins = (0.0, *(begin for begin, _ in self.then))
        prices = (self.usd, *(usd for _, usd in self.then))
        return sum(
            usd * max(0.0, min(beyond, end) - begin)
            for begin, end, usd in zip(begins, (*begins[1:], inf), prices, strict=True)
        )


@dataclass(frozen=True, slots=True)
class Found:
    """A row, and whether it is that of a region's neighbours."""

    row: Row
    is_estimated: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceList:
    """One provider's. `areas` gives every region's, `unlisted` are those of them without prices of their own, `as_of`
    is the date of the newest source, an ISO date."""

    as_of: str
    sources: tuple[str, ...]
    areas: Mapping[str, str]
    unlisted: frozenset[str]
    meters: Mapping[str, Sequence[Row]]
    _nearest: dict[tuple[str, str, str], Row] = field(default_factory=dict, repr=False, compare=False)

    def found(self, meter: str, region: str, destination: str = "") -> Found | None:
        """The row for a region (and for where data goes to: a region or an area); None where the meter has none."""
        row = self.own(meter, region, destination)
        if row is not None:
            return Found(row, False)
        if not self.meters.get(meter):
            return None
        near = self._nearest.get((meter, region, destination))
        if near is None:
            near = self._usual(meter, self._neighbours(region), destination)
            self._nearest[meter, region, destination] = near
        return Found(near, True)

    def own(self, meter: str, region: str, destination: str = "") -> Row | None:
        """The row that is a region's own, the narrowest one."""
        goes_to = {destination, self.areas.get(destination, "")}
        here = {region, self.areas.get(region, "")}
        is_listed = region in self.areas and region not in self.unlisted
        fitting = [
            row
            for row in self.meters.get(meter, ())
            if (not row.to or row.to & goes_to)
            and (row.places & here if row.places else is_listed and not row.not_in & here)
        ]
        return max(fitting, key=lambda row: (region in row.places, bool(row.to), bool(row.places)), default=None)

    def area(self, region: str) -> str:
        """The area that a region is in; of one that nobody knows, that of those whose names begin most like it, or
        none."""
        known_area = self.areas.get(region)
        if known_area is not None:
            return known_area
        alike = {known: _alike(known, region) for known in self.areas}
        return self.areas[max(alike, key=alike.__getitem__)] if max(alike.values()) > 1 else ""

    def _neighbours(self, region: str) -> list[str]:
        area = self.area(region)
        return [known for known, where in self.areas.items() if area in ("", where) and known not in self.unlisted]

    def _usual(self, meter: str, regions: Iterable[str], destination: str) -> Row:
        """What most of them have; the dearer one where as many have another."""
        rows = [row for region in regions if (row := self.own(meter, region, destination))]
        if not rows:
            rows = [row for region in self.areas if (row := self.own(meter, region, destination))]
        counted = Counter(row.usd for row in rows)
        usual = max(counted, key=lambda usd: (counted[usd], usd), default=max(row.usd for row in self.meters[meter]))
        return next(row for row in (*rows, *self.meters[meter]) if row.usd == usual)


def _alike(name: str, other: str) -> int:
    """With how many of the same letters both begin."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(name, other, strict=False)))


def read(document: Mapping[str, Any]) -> PriceList:
    """What a provider's part of `tariffs.json` says; `ValueError` for what is no price list."""
    areas = {region: area for area, names in document["regions"].items() for region in names.split()}
    sets = {name: frozenset(names.split()) for name, names in document.get("sets", {}).items()}

    def row(given: Mapping[str, Any]) -> Row:
        def named(key: str) -> frozenset[str]:
            words = given.get(key, "").split()
            return frozenset(place for word in words for place in sets.get(word, (word,)))

        if not given.keys() <= _PRICE_KEYS:
            raise ValueError(f"unknown keys {sorted(given.keys() - _PRICE_KEYS)}")
        then = tuple((float(begins), price(usd)) for begins, usd in given.get("then", ()))
        if [begins for begins, _ in then] != sorted({begins for begins, _ in then}):
            raise ValueError("tiers must begin one after the other")
        return Row(
            usd=price(given["usd"]),
            free=float(given.get("free", 0.0)),
            then=then,
            places=named("in"),
            not_in=named("not_in"),
            to=named("to"),
        )

    return PriceList(
        as_of=str(document["as_of"]),
        sources=tuple(document["sources"]),
        areas=areas,
        unlisted=frozenset(document.get("unlisted", "").split()),
        meters={meter: tuple(map(row, rows)) for meter, rows in document["meters"].items()},
    )


def price(value: object) -> float:
    """A price that can be one; `ValueError` otherwise."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value):
        raise ValueError(f"{value!r:.40} is no price")
    if not 0 <= value < DEAREST_USD:
        raise ValueError(f"{value!r:.40} is no plausible price")
    return float(value)
