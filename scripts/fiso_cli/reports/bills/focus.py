"""FOCUS files: the charges of a bill, one by one, whichever cloud wrote it.

The FinOps Open Cost and Usage Specification (focus.finops.org), 1.0 to 1.2, as CSV, plain or gzip. What exports are
known to do beside it is read as well: docs/bills.md has the list with its sources.
"""

import csv
import gzip
import io
import json
import re
import sys
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple, cast

from fiso.domain.endpoint import Provider
from fiso_cli.errors import BadInput
from fiso_cli.rendering import one_line

STDIN = "-"
REQUIRED = (
    "BilledCost",
    "EffectiveCost",
    "BillingCurrency",
    "ChargeCategory",
    "ChargePeriodStart",
    "ChargePeriodEnd",
    "ProviderName",
    "ServiceName",
    "ResourceId",
)
"""Of the columns that the specification demands, those without which no charge can be matched."""
_SYNONYMS = {"providername": "serviceprovidername"}
"""FOCUS 1.3 renames it."""
_WORDS = ("SkuMeter", "x_SkuMeterName", "x_SkuDescription", "x_UsageType", "ChargeDescription", "ConsumedUnit")
"""Where exports say what was metered."""
NULLS = frozenset({"", "NULL", "null", "None", "\\N"})
LONGEST_LINE = 1_000_000
_AMOUNT = re.compile(r"-?([0-9]{1,15}(\.[0-9]{0,60})?|\.[0-9]{1,60})([eE][+-]?[0-9]{1,2})?")
_STEP = Decimal(10) ** -30
LARGEST_AMOUNT = Decimal(10) ** 15
_PROVIDERS = {
    ("aws", "amazon"): Provider.AWS,
    ("microsoft", "azure"): Provider.AZURE,
    ("google", "gcp"): Provider.GCP,
}
_NOT_CSV = {
    b"PAR1": "is Parquet: duckdb -c \"COPY (SELECT * REPLACE (to_json(Tags) AS Tags) FROM '{}') TO 'bill.csv'\"",
    b"PK\x03\x04": "is a zip archive: unzip it first",
    b"\xff\xfe": "is UTF-16: save it as UTF-8",
    b"\xfe\xff": "is UTF-16: save it as UTF-8",
}


class InvalidBill(BadInput):
    """A file that cannot be read as FOCUS. One line that names the file and, where there is one, its line."""


class Money(NamedTuple):
    """What a charge comes to: as invoiced, with what was paid ahead spread over what used it, and by the price list."""

    billed: Decimal = Decimal(0)
    effective: Decimal = Decimal(0)
    listed: Decimal = Decimal(0)

    def plus(self, other: "Money") -> "Money":
        return Money(self.billed + other.billed, self.effective + other.effective, self.listed + other.listed)

    def times(self, factor: Decimal) -> "Money":
        return Money(self.billed * factor, self.effective * factor, self.listed * factor)

    def over(self, whole: Decimal) -> "Money":
        return Money(self.billed / whole, self.effective / whole, self.listed / whole)

    def rounded(self) -> "Money":
        """To more digits than bills have."""
        return Money(self.billed.quantize(_STEP), self.effective.quantize(_STEP), self.listed.quantize(_STEP))

    def less(self, other: "Money") -> "Money":
        return self.plus(other.times(Decimal(-1)))


NOTHING = Money()


@dataclass(frozen=True, slots=True, kw_only=True)
class Charge:
    """One line of a bill. `start` and `end` in seconds since 1970, UTC; `words` is what was metered, in small letters.

    A value that the line does not have is "". `cells` is the whole line as it stands, in the order of its header.
    """

    file: str
    line: int
    provider: Provider | None
    provider_name: str
    category: str
    is_correction: bool
    start: int
    end: int
    money: Money
    currency: str
    service: str
    region: str
    resource: str
    resource_name: str
    words: str
    tags: str
    cells: Sequence[str]

    def tag(self, name: str) -> str:
        """A tag's value, "" where it has none. Clouds prefix keys (`user:`), and Google allows no colon in them."""
        if "fiso" not in self.tags.lower():
            return ""
        try:
            return next((str(value) for key, value in _pairs(json.loads(self.tags)) if _plain_key(key) == name), "")
        except (ValueError, RecursionError):
            return ""


def _pairs(tags: object) -> Iterator[tuple[str, object]]:
    """A JSON object, one that a query engine made a string of, or BigQuery's list of keys and values."""
    if isinstance(tags, str):
        tags = json.loads(tags)
    if isinstance(tags, dict):
        yield from tags.items()
    for each in tags if isinstance(tags, list) else ():
        if isinstance(each, dict):
            yield str(each.get("key")), each.get("value")


def _plain_key(key: str) -> str:
    return re.sub(r"[^a-z]+", "-", key.lower()).removeprefix("user-")


class Reader:
    """The charges of one file after the other. `header` is the newest file's, which all lines since then follow."""

    def __init__(self, files: Sequence[str]) -> None:
        self._files = files
        self.header: Sequence[str] = ()
        self.repeated = 0
        """Lines that stand word for word in an earlier file."""
        self._seen: set[int] = set()

    def __iter__(self) -> Iterator[Charge]:
        for name in self._files:
            with ExitStack() as closing:
                yield from self._in_file(name, closing)

    def _in_file(self, name: str, closing: ExitStack) -> Iterator[Charge]:
        lines = _Lines(name, closing)
        rows = csv.reader(lines, strict=True)
        own = set[int]()
        try:
            header = next(rows, None)
            if header is None:
                raise InvalidBill(f"{name}: is empty")
            charge_of = _form(name, header)
            self.header = header
            for row in rows:
                if not row:
                    continue
                if len(row) != len(header):
                    raise InvalidBill(
                        f"{name}: line {rows.line_num} has {len(row)} of {len(header)} columns: is it cut?"
                    )
                if len(self._files) > 1:
                    digest = hash(tuple(row))
                    self.repeated += digest in self._seen
                    own.add(digest)
                yield charge_of(row, rows.line_num)
        except (csv.Error, UnicodeDecodeError) as error:
            raise InvalidBill(f"{name}: line {lines.number}: {_said(error)}") from error
        except (OSError, EOFError, zlib.error) as error:
            why = getattr(error, "strerror", None) or one_line(error)
            raise InvalidBill(f"{name}: line {lines.number + 1} cannot be read: {why}") from error
        self._seen |= own


def _said(error: Exception) -> str:
    if isinstance(error, UnicodeDecodeError):
        return f"is not UTF-8: {error.reason}"
    return {"unexpected end of data": "ends within quotes: is the file cut?"}.get(str(error), one_line(error))


class _Lines:
    """The lines of a file as text, none of them longer than memory has room for."""

    def __init__(self, name: str, closing: ExitStack) -> None:
        self._name = name
        self.number = 0
        try:
            raw = sys.stdin.buffer if name == STDIN else closing.enter_context(Path(name).open("rb"))  # noqa: SIM115
        except OSError as error:
            raise InvalidBill(f"{name}: {error.strerror or error}") from error
        source = raw if isinstance(raw, io.BufferedReader) else io.BufferedReader(cast(io.RawIOBase, raw))
        magic = source.peek(4)[:4]
        for start, why in _NOT_CSV.items():
            if magic.startswith(start):
                raise InvalidBill(f"{name}: {why.format(name)}")
        plain = gzip.GzipFile(fileobj=source) if magic.startswith(b"\x1f\x8b") else source
        self._text = io.TextIOWrapper(cast(gzip.GzipFile, plain), encoding="utf-8", newline="")
        closing.callback(self._text.detach if name == STDIN else self._text.close)

    def __iter__(self) -> Iterator[str]:
        while line := self._text.readline(LONGEST_LINE):
            self.number += 1
            if len(line) == LONGEST_LINE:
                raise InvalidBill(f"{self._name}: line {self.number} is longer than {LONGEST_LINE:,} characters")
            if "\0" in line:
                raise InvalidBill(f"{self._name}: line {self.number} holds a null byte")
            # Azure has put one before the header and one before the first line (azure-sdk-for-net, issue 34129).
            yield line.lstrip("\ufeff")


def _form(name: str, header: Sequence[str]) -> Callable[[Sequence[str], int], Charge]:
    """How a line under this header is read. Columns in any order and, since query engines fold them, in any case."""
    places = _places(name, header)
    words = [places[title.lower()] for title in (*_WORDS, "PricingUnit") if title.lower() in places]

    def cell(row: Sequence[str], title: str) -> str:
        place = places.get(title)
        value = "" if place is None else row[place].strip()
        return "" if value in NULLS else value

    def charge(row: Sequence[str], line: int) -> Charge:
        def at(title: str) -> str:
            return cell(row, title)

        try:
            provider_name = at("providername")
            return Charge(
                file=name,
                line=line,
                provider=_provider(provider_name.lower()),
                provider_name=provider_name,
                category=at("chargecategory").capitalize(),
                is_correction=at("chargeclass") == "Correction",
                start=moment(at("chargeperiodstart")),
                end=moment(at("chargeperiodend")),
                money=_money(at("billedcost"), at("effectivecost"), at("listcost")),
                currency=at("billingcurrency").upper(),
                service=at("servicename"),
                region=at("regionid") or at("regionname"),
                resource=at("resourceid"),
                resource_name=at("resourcename"),
                words=" ".join([row[place] for place in words]).lower(),
                tags=at("tags"),
                cells=row,
            )
        except ValueError as error:
            raise InvalidBill(f"{name}: line {line}: {error}") from error

    return charge


def _places(name: str, header: Sequence[str]) -> Mapping[str, int]:
    """Where each column is, by its title in small letters."""
    if len(header) == 1 and ";" in header[0]:
        raise InvalidBill(f"{name}: has semicolons between its columns, FOCUS has commas")
    places = dict[str, int]()
    for place, title in enumerate(header):
        if title and places.setdefault(title.strip().lower(), place) != place:
            raise InvalidBill(f"{name}: has two columns {title.strip()[:80]}")
    for old, new in _SYNONYMS.items():
        if old not in places and new in places:
            places[old] = places[new]
    missing = [title for title in REQUIRED if title.lower() not in places]
    if missing:
        raise InvalidBill(f"{name}: is no FOCUS file, or not whole: it has no {', '.join(missing)}")
    return places


def _provider(name: str) -> Provider | None:
    """By how its name begins: AWS alone has several legal entities."""
    return next((provider for starts, provider in _PROVIDERS.items() if name.startswith(starts)), None)


def _money(billed: str, effective: str, listed: str) -> Money:
    """`ValueError` where neither is there. Exports have left out one of them; the other is then the better guess."""
    if not billed and not effective:
        raise ValueError("has neither BilledCost nor EffectiveCost")
    return Money(_amount(billed or effective), _amount(effective or billed), _amount(listed or "0"))


def _amount(text: str) -> Decimal:
    """A number as the specification spells it: a point, no commas, `E` for powers. Exact."""
    value = Decimal(text) if _AMOUNT.fullmatch(text) else None
    if value is None or abs(value) >= LARGEST_AMOUNT:
        raise ValueError(f"{text[:40]!a} is no amount")
    return value


@lru_cache(maxsize=65_536)
def moment(text: str) -> int:
    """A point in time, in seconds since 1970: ISO 8601, also without seconds, without a zone (UTC), or with ` UTC` at
    its end as BigQuery writes. `ValueError` for anything else, `09/01/2026` first of all: nobody knows its month."""
    try:
        found = datetime.fromisoformat(text.removesuffix(" UTC"))
        known = found if found.tzinfo else found.replace(tzinfo=UTC)
        return int(known.timestamp())
    except (ValueError, OverflowError):
        raise ValueError(f"{text[:40]!a} is no time in ISO 8601") from None


def converted(charge: Charge, currency: str, rates: Mapping[str, Decimal]) -> Money:
    """The charge's money in one currency; `InvalidBill` where no rate is known."""
    if charge.currency == currency:
        return charge.money
    rate = rates.get(charge.currency)
    if rate is None:
        raise InvalidBill(
            f"{charge.file}: line {charge.line} is in {charge.currency or 'no currency'!a}, prices are in {currency}: "
            f"--rate {charge.currency or 'EUR'}=1.08 says what one of it is worth"
        )
    return charge.money.times(rate)
