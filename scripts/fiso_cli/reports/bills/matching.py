"""Matching: every charge of a bill goes to a function's copies and hours, or is told of with why it does not.

Nothing is dropped: what is matched and what is not add up to the bill, digit by digit. A charge for more than an hour,
or for a resource that several copies share, is apportioned by the log's own use. Where a charge begins before the log
or ends after it, the log is taken to have its share of the time, and the rest is outside.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal, localcontext
from enum import StrEnum

from fiso.domain.endpoint import Provider
from fiso_cli.errors import BadInput
from fiso_cli.reports.bills.focus import NOTHING, Charge, Money
from fiso_cli.reports.bills.resources import Resources, Why
from fiso_cli.reports.bills.sharing import Sharing, summed
from fiso_cli.reports.bills.usage import HOUR_S, Copy, Usage, Use

PRECISION = 100
"""Digits of every sum: more than an amount can have, so that nothing is rounded."""


class Part(StrEnum):
    """What a charge of a copy is for. Only the first two are what the log estimates."""

    REQUESTS = "requests"
    COMPUTE = "compute"
    OTHER = "other"
    CREDIT = "credits"
    TAX = "tax"
    PURCHASE = "purchases"
    ADJUSTMENT = "adjustments"


ESTIMATED = (Part.REQUESTS, Part.COMPUTE)
_CATEGORIES = {"Tax": Part.TAX, "Credit": Part.CREDIT, "Purchase": Part.PURCHASE, "Adjustment": Part.ADJUSTMENT}
_METERS = (
    (Part.OTHER, re.compile("provisioned.concurrency|always ready|min instance|idle|storage|snapstart|stream")),
    (Part.OTHER, re.compile("transfer|egress|network|bytes(?!.?second)")),
    (Part.REQUESTS, re.compile("requests?(?!.?based)|executions|invocation")),
    (Part.COMPUTE, re.compile("second|execution time|compute|cpu|memory|duration")),
)
"""The first row that is found in what a charge says was metered. Google's processor time is `request-based`."""


def part_of(charge: Charge) -> Part:
    """By category, then by what was metered."""
    if charge.category in _CATEGORIES:
        return _CATEGORIES[charge.category]
    return next((part for part, words in _METERS if words.search(charge.words)), Part.OTHER)


@dataclass(slots=True)
class Group:
    """Charges that fit nothing for one reason, of one service."""

    lines: int = 0
    money: Money = NOTHING

    def add(self, money: Money) -> None:
        self.lines += 1
        self.money = self.money.plus(money)


@dataclass(slots=True)
class Compared:
    """One copy's estimate and bill, by part; and by hour, where the two parts that are estimated stand together."""

    parts: defaultdict[Part, Money] = field(default_factory=lambda: defaultdict(Money))
    hours: defaultdict[int, Money] = field(default_factory=lambda: defaultdict(Money))


@dataclass(slots=True)
class Found:
    """What came of a bill. `billed_hours`, per provider, from its first matched hour to its last: only there is there
    something to compare."""

    usage: Usage
    copies: defaultdict[Copy, Compared] = field(default_factory=lambda: defaultdict(Compared))
    unmatched: defaultdict[tuple[Why, str, str], Group] = field(default_factory=lambda: defaultdict(Group))
    billed_hours: dict[Provider, range] = field(default_factory=dict)
    lines: int = 0
    total: Money = NOTHING
    span: tuple[int, int] | None = None
    corrections: Group = field(default_factory=Group)
    apportioned: int = 0
    partly: Counter[Provider] = field(default_factory=Counter)
    zero: int = 0
    matched_lines: int = 0
    accounts: defaultdict[Copy, set[str]] = field(default_factory=lambda: defaultdict(set))

    @property
    def matched(self) -> Money:
        return summed(money for compared in self.copies.values() for money in compared.parts.values())

    @property
    def left(self) -> Money:
        return summed(group.money for group in self.unmatched.values())

    def estimated_hours(self, copy: Copy) -> Mapping[int, Use]:
        """What the log says of a copy, in the hours that its provider has billed."""
        endpoint = self.usage.endpoints.get(copy)
        hours = self.billed_hours.get(endpoint.provider, range(0)) if endpoint else range(0)
        return {hour: use for hour, use in self.usage.by_copy.get(copy, {}).items() if hour in hours}


Convert = Callable[[Charge], Money]
Told = Callable[[Charge, Why, Money], None]


class _Matcher:
    def __init__(self, usage: Usage, span: tuple[int, int], resources: Resources, convert: Convert, told: Told) -> None:
        self.found = Found(usage)
        self._usage, self._resources, self._convert, self._told = usage, resources, convert, told
        self._log = span
        self._sharings: dict[tuple[tuple[Copy, ...], Part], Sharing] = {}

    def add(self, charge: Charge) -> None:
        money = self._convert(charge)
        found, start, end = self.found, charge.start, max(charge.end, charge.start + 1)
        found.lines += 1
        found.total = found.total.plus(money)
        found.zero += not (money.billed or money.effective)
        if charge.provider is not None and charge.end >= charge.start:
            low, high = found.span or (start, end)
            found.span = min(low, start), max(high, end)
        copies = Why.BACKWARDS if charge.end < charge.start else self._resources.of(charge)
        if isinstance(copies, Why):
            self._leave(charge, copies, money)
            return
        inside = max(start, self._log[0]), min(end, self._log[1])
        if inside[0] >= inside[1]:
            self._leave(charge, Why.OUTSIDE, money)
            return
        mine = money
        if inside[1] - inside[0] < end - start:
            mine = money.times(Decimal(inside[1] - inside[0])).over(Decimal(end - start)).rounded()
        hours = range(inside[0] // HOUR_S, -(-inside[1] // HOUR_S))
        charged = self._sharing(copies, part_of(charge)).add(hours, mine)
        if charged is None:
            self._leave(charge, Why.NO_CALL, money)
        else:
            self._matched(charge, copies, mine, charged)
            if inside != (start, end):
                found.partly[self._usage.endpoints[copies[0]].provider] += 1
                self._leave(charge, Why.OUTSIDE, money.less(mine))

    def _matched(self, charge: Charge, copies: tuple[Copy, ...], money: Money, hours: range) -> None:
        found = self.found
        found.matched_lines += 1
        found.apportioned += charge.end - charge.start > HOUR_S or len(copies) > 1
        if charge.is_correction:
            found.corrections.add(money)
        if charge.provider is Provider.AWS and charge.resource.count(":") > 4:
            for copy in copies:
                found.accounts[copy].add(charge.resource.split(":")[4])
        if part_of(charge) in ESTIMATED:
            provider = self._usage.endpoints[copies[0]].provider
            known = found.billed_hours.get(provider, hours)
            found.billed_hours[provider] = range(min(known.start, hours.start), max(known.stop, hours.stop))

    def _sharing(self, copies: tuple[Copy, ...], part: Part) -> Sharing:
        if (copies, part) not in self._sharings:
            uses = {copy: self._usage.by_copy.get(copy, {}) for copy in copies}
            self._sharings[copies, part] = Sharing(uses, by_compute=part is Part.COMPUTE)
        return self._sharings[copies, part]

    def _leave(self, charge: Charge, why: Why, money: Money) -> None:
        kind = charge.category if charge.category in _CATEGORIES else "Usage"
        self.found.unmatched[why, charge.service or charge.provider_name or "-", kind].add(money)
        self._told(charge, why, money)

    def close(self) -> Found:
        for (_, part), sharing in self._sharings.items():
            for share in sharing.shares():
                compared = self.found.copies[share.copy]
                compared.parts[part] = compared.parts[part].plus(share.money)
                if part in ESTIMATED:
                    compared.hours[share.hour] = compared.hours[share.hour].plus(share.money)
        return self.found


def match(usage: Usage, resources: Resources, charges: Iterable[Charge], *, convert: Convert, told: Told) -> Found:
    """All of a bill beside all of a log. `told` hears of every charge that fits nothing, as it comes. `BadInput` when
    the log has no calls, the bill no lines, or the two no hour in common."""
    log = usage.span
    if log is None:
        raise BadInput("the log has no calls to set beside the bill")
    with localcontext(prec=PRECISION):
        matcher = _Matcher(usage, log, resources, convert, told)
        for charge in charges:
            matcher.add(charge)
        found = matcher.close()
    if not found.lines:
        raise BadInput("the bill has no lines")
    if found.span is not None and (found.span[1] <= log[0] or found.span[0] >= log[1]):
        raise BadInput(f"the bill is of {_period(found.span)}, the log of {_period(log)}: no hour is in both")
    return found


def _period(bounds: tuple[int, int]) -> str:
    start, end = (datetime.fromtimestamp(each, UTC) for each in bounds)
    return f"{start:%Y-%m-%d %H:%M} to {end:%Y-%m-%d %H:%M} UTC"
