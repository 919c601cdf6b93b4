"""Renewal: what vendors list now against a file of tariffs, as data; and the file with it, written whole or not at all.

A price that has doubled or halved, or become nothing, is taken for a mistake until somebody accepts it. What a vendor
does not list stays as it was, unless a meter is missing everywhere: then its SKU has another name, and nothing is
believed.
"""

import json
import os
import re
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import isclose
from pathlib import Path
from typing import Any

from fiso.billing import price_list, tariff
from fiso.billing.price_list import PriceList, Row
from fiso.domain.endpoint import Provider
from fiso_cli.errors import BadInput
from fiso_cli.tariffs.vendors import EVERYWHERE, VENDORS, Listed, Price

JUMP = 2.0
RENEWED = {
    Provider.AWS: frozenset(
        "request gb_second gb_second_arm64 provisioned_gb_second provisioned_gb_second_arm64 "
        "provisioned_capacity_gb_second provisioned_capacity_gb_second_arm64 snapstart_cache_gb_second "
        "snapstart_restore_gb".split()
    ),
    Provider.AZURE: frozenset(
        "consumption_request consumption_gb_second flex_request flex_gb_second ready_request ready_gb_second "
        "ready_capacity_gb_second".split()
    ),
    Provider.GCP: frozenset("request gib_second vcpu_second idle_gib_second idle_vcpu_second".split()),
}
"""The meters that vendors' files are read for. Data transfer and Google's first generation are kept by hand."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One meter's price in one region; `before` None where there was none of its own."""

    provider: Provider
    meter: str
    region: str
    before: float | None
    after: float

    @property
    def is_jump(self) -> bool:
        return self.before is not None and not self.before / JUMP < self.after < self.before * JUMP

    def __str__(self) -> str:
        return f"{self.provider} {self.region} {self.meter}: {self.before:g} to {self.after:g}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Renewal:
    """The document with the new prices, and where they differ."""

    document: Mapping[str, Any]
    differences: tuple[Difference, ...]

    @property
    def jumps(self) -> tuple[Difference, ...]:
        return tuple(each for each in self.differences if each.is_jump)


def renewed(document: Mapping[str, Any], found: Mapping[Provider, Listed], *, today: str) -> Renewal:
    """A file's document with what vendors list. `BadInput` where a meter is missing from a vendor's files."""
    parts = {provider: _provider(provider, document[provider], listed, today) for provider, listed in found.items()}
    differences = tuple(
        difference
        for provider, part in parts.items()
        for difference in _differences(provider, price_list.read(document[provider]), price_list.read(part))
    )
    version = _next(document["version"], today) if differences else document["version"]
    new = {**document, **{str(provider): part for provider, part in parts.items()}, "version": version, "as_of": today}
    tariff.read(new)
    return Renewal(document=new, differences=differences)


def _next(version: str, today: str) -> str:
    """`2026-11-30`, then `2026-11-30.2`."""
    day, _, number = version.partition(".")
    return f"{today}.{int(number or 1) + 1}" if day == today else today


def _provider(provider: Provider, part: Mapping[str, Any], listed: Listed, today: str) -> dict[str, Any]:
    absent = sorted(RENEWED[provider] - {meter for meter, _ in listed.prices})
    if absent:
        raise BadInput(f"{VENDORS[provider][0]}: no price for {', '.join(absent)}: its SKU is missing there")
    known = price_list.read(part)
    regions = sorted({region for _, region in listed.prices} - {EVERYWHERE})
    areas: dict[str, list[str]] = {area: names.split() for area, names in part["regions"].items()}
    for region in regions:
        if region not in known.areas and (area := known.area(region)):
            areas[area].append(region)
    priced = {
        r for r in regions if all(_of(listed, m, r) for m in ("request", *_compute(provider)) if m in RENEWED[provider])
    }
    unlisted = [region for region in part.get("unlisted", "").split() if region not in priced]
    anew = sorted(priced - known.areas.keys() | priced & known.unlisted)
    everywhere = [region for names in areas.values() for region in names]
    return {
        **part,
        "as_of": listed.as_of or today,
        "regions": {area: " ".join(names) for area, names in areas.items()},
        "unlisted": " ".join([*unlisted, *(r for r in regions if r not in known.areas and r not in priced)]),
        "meters": {
            meter: _rows(meter, known, listed, everywhere, frozenset(unlisted))
            if meter in RENEWED[provider]
            else _without(rows, anew)
            for meter, rows in part["meters"].items()
        },
    }


def _without(rows: list[dict[str, Any]], regions: Sequence[str]) -> list[dict[str, Any]]:
    """Of a meter that nobody read, the usual price is not that of regions that are new to the list."""
    return [
        row
        if row.keys() & {"in", "to"} or not regions
        else {**row, "not_in": " ".join([*row.get("not_in", "").split(), *regions])}
        for row in rows
    ]


def _compute(provider: Provider) -> tuple[str, ...]:
    """The meters without which a region is not called priced."""
    return {
        Provider.AWS: ("gb_second", "gb_second_arm64"),
        Provider.AZURE: ("flex_gb_second", "flex_request"),
        Provider.GCP: ("vcpu_second", "gib_second"),
    }[provider]


def _of(listed: Listed, meter: str, region: str) -> Price | None:
    return listed.prices.get((meter, region)) or listed.prices.get((meter, EVERYWHERE))


def _rows(
    meter: str, known: PriceList, listed: Listed, regions: Iterable[str], unlisted: frozenset[str]
) -> list[dict[str, Any]]:
    """The usual price first, without places; then the others, each with its regions; none for those not priced."""
    prices: dict[str, Price] = {}
    for region in regions:
        own = known.own(meter, region)
        price = _of(listed, meter, region) or (Price(own.usd, own.free, own.then) if own else None)
        if price is not None:
            prices[region] = price
    usual = Counter(price for region, price in prices.items() if region not in unlisted).most_common(1)[0][0]
    bare = [region for region in regions if region not in prices and region not in unlisted]
    rows = [_row(usual) | ({"not_in": " ".join(bare)} if bare else {})]
    for other in dict.fromkeys(price for price in prices.values() if price != usual):
        rows.append({"in": " ".join(region for region, price in prices.items() if price == other)} | _row(other))
    elsewhere = [region for region, price in prices.items() if price == usual and region in unlisted]
    return rows + ([{"in": " ".join(elsewhere)} | _row(usual)] if elsewhere else [])


def _row(price: Price) -> dict[str, Any]:
    row: dict[str, Any] = {"usd": price.usd}
    if price.free:
        row["free"] = _number(price.free)
    if price.then:
        row["then"] = [[_number(begins), usd] for begins, usd in price.then]
    return row


def _number(value: float) -> float | int:
    return int(value) if value == int(value) else round(value, 6)


def _differences(provider: Provider, before: PriceList, after: PriceList) -> Iterator[Difference]:
    for meter in after.meters:
        for region in after.areas:
            was, becomes = before.own(meter, region), after.own(meter, region)
            if becomes is not None and not (was and _is_same(was, becomes)):
                yield Difference(
                    provider=provider, meter=meter, region=region, before=was.usd if was else None, after=becomes.usd
                )


def _is_same(was: Row, becomes: Row) -> bool:
    prices = [[row.usd, *(part for band in row.then for part in band)] for row in (was, becomes)]
    return (
        len(prices[0]) == len(prices[1])
        and all(isclose(one, other, rel_tol=1e-9) for one, other in zip(*prices, strict=True))
        and isclose(was.free, becomes.free, rel_tol=1e-6)
    )


def read(path: Path) -> dict[str, Any]:
    """A file of tariffs; `BadInput` for what is none."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        tariff.read(document)
    except OSError as error:
        raise BadInput(f"{path}: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise BadInput(f"{path}: {error}") from error
    return dict(document)


def write(path: Path, document: Mapping[str, Any]) -> None:
    """In the file's place, whole: a reader sees the old one or the new one."""
    try:
        with tempfile.NamedTemporaryFile(
            "w", encoding="utf-8", dir=path.parent, prefix=path.name, delete=False
        ) as file:
            file.write(text_of(document))
            file.flush()
            os.fsync(file.fileno())
        os.chmod(file.name, path.stat().st_mode if path.exists() else 0o644)
        os.replace(file.name, path)
    except OSError as error:
        raise BadInput(f"{path}: {error.strerror or error}") from error


def text_of(document: Mapping[str, Any]) -> str:
    """As people compare it: a row of prices a line."""
    lines = json.dumps(_marked(document), indent=2, ensure_ascii=False)
    return _MARKED.sub(lambda found: json.loads(f'"{found[1]}"'), lines) + "\n"


_MARK = "\x7f"
_MARKED = re.compile(f'"{_MARK}(.*?){_MARK}"')


def _marked(value: Any) -> Any:
    """Rows as text that is marked, so that they are not broken into lines."""
    if isinstance(value, Mapping):
        is_row = "usd" in value
        return f"{_MARK}{json.dumps(value)}{_MARK}" if is_row else {key: _marked(item) for key, item in value.items()}
    return [_marked(item) for item in value] if isinstance(value, list) else value
