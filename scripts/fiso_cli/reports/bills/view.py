"""What a bill came to beside the log, in words and tables and as JSON. Amounts in JSON are strings: they are exact."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum

from fiso.billing.tariff import NO_TERMS
from fiso.domain.endpoint import Provider
from fiso_cli.rendering import Part as Shown
from fiso_cli.rendering import Table, decimals, figure, text
from fiso_cli.reports.bills.focus import Charge, Money
from fiso_cli.reports.bills.matching import ESTIMATED, Compared, Found, Part
from fiso_cli.reports.bills.resources import ENDPOINT_TAG, FUNCTION_TAG, Why
from fiso_cli.reports.bills.usage import HOUR_S, Use

Document = dict[str, object]
MOST_GROUPS = 40
NEAR = Decimal("0.01")
"""Estimates nearer than this to the bill are called right."""


class Cost(StrEnum):
    """Which of a charge's costs is compared."""

    EFFECTIVE = "effective"
    BILLED = "billed"
    LIST = "list"

    def of(self, money: Money) -> Decimal:
        return {"effective": money.effective, "billed": money.billed, "list": money.listed}[self]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of the comparison, in USD: a copy, or all of them."""

    function: str
    endpoint: str
    provider: Provider | None
    region: str
    calls: int
    estimate: Decimal
    bill: Decimal
    parts: Mapping[Part, Mapping[str, Decimal]]

    @property
    def difference(self) -> Decimal:
        return self.bill - self.estimate

    @property
    def factor(self) -> Decimal | None:
        """Bill over estimate; None without an estimate."""
        return self.bill / self.estimate if self.estimate else None


def rows(found: Found, cost: Cost) -> list[Row]:
    """Each copy with calls or charges in the hours that its provider billed."""
    result = []
    for copy, endpoint in sorted(found.usage.endpoints.items()):
        uses, compared = found.estimated_hours(copy), found.copies.get(copy, Compared())
        if not uses and not compared.parts:
            continue
        estimates = {
            Part.REQUESTS: _total(use.requests for use in uses.values()),
            Part.COMPUTE: _total(use.compute for use in uses.values()),
        }
        bills = {part: cost.of(compared.parts.get(part, Money())) for part in ESTIMATED}
        result.append(
            Row(
                function=copy.function,
                endpoint=copy.endpoint,
                provider=endpoint.provider,
                region=endpoint.region,
                calls=sum(use.calls for use in uses.values()),
                estimate=_total(estimates.values()),
                bill=_total(bills.values()),
                parts={part: {"estimate": estimates[part], "bill": bills[part]} for part in ESTIMATED},
            )
        )
    return result


def _total(amounts: Iterable[Decimal]) -> Decimal:
    return sum(amounts, Decimal(0))


def _all(known: Sequence[Row], provider: Provider | None = None) -> Row:
    chosen = [row for row in known if provider in (None, row.provider)]
    parts = {
        part: {side: _total(row.parts[part][side] for row in chosen) for side in ("estimate", "bill")}
        for part in ESTIMATED
    }
    return Row(
        function="all",
        endpoint="",
        provider=provider,
        region="",
        calls=sum(row.calls for row in chosen),
        estimate=_total(row.estimate for row in chosen),
        bill=_total(row.bill for row in chosen),
        parts=parts,
    )


def shown(found: Found, cost: Cost) -> list[Shown]:
    """Tables and sentences for a terminal of 80 columns."""
    known = rows(found, cost)
    return [*_compared(found, known, cost), *_left_over(found, cost), *_sums(found, cost), *_meaning(found, known)]


def _compared(found: Found, known: Sequence[Row], cost: Cost) -> Iterator[Shown]:
    if not known:
        yield "nothing in the bill is of the log's functions in the log's time"
        return
    every = [*known, _all(known)]
    amount = _amount([side for row in every for side in (row.estimate, row.bill)])
    yield Table(
        title=f"Estimate beside bill ({cost} cost), USD, {_billed_time(found)}",
        columns=[
            text("function"),
            text("endpoint"),
            figure("calls", spare=1),
            figure("estimate", "estimate", amount),
            figure("bill", "bill", amount),
            figure("difference", "difference", amount),
            figure("bill/est.", "factor", lambda factor: "-" if factor is None else f"{factor:.3f}"),
            *(
                figure(f"{part}: {side}", _part(part, side), amount, spare=number)
                for number, (part, side) in enumerate(
                    [(p, s) for p in ESTIMATED for s in ("estimate", "bill")], start=2
                )
            ),
        ],
        rows=every,
        style=lambda row: "bold" if row.function == "all" else "",
    )
    others = [(part, cost.of(money)) for part, money in _by_part(found).items() if part not in ESTIMATED]
    if others:
        yield Table(
            title="Of the same copies, and in no estimate",
            columns=[
                text("part", lambda row: row[0]),
                figure("USD", lambda row: row[1], _amount([usd for _, usd in others])),
            ],
            rows=others,
        )


def _left_over(found: Found, cost: Cost) -> Iterator[Shown]:
    if found.unmatched:
        groups = sorted(found.unmatched.items(), key=lambda item: (item[0][0], -item[1].lines))
        more = len(groups) - MOST_GROUPS
        yield Table(
            title="Lines that fit nothing (--unmatched FILE has them whole)",
            columns=[
                text("why", lambda item: item[0][0]),
                text("service", lambda item: item[0][1]),
                text("category", lambda item: item[0][2], spare=1),
                figure("lines", lambda item: item[1].lines),
                figure(
                    "USD",
                    lambda item: cost.of(item[1].money),
                    _amount([cost.of(group.money) for group in found.unmatched.values()]),
                ),
            ],
            rows=groups[:MOST_GROUPS],
            notes=[f"and {more:,} more groups (--json has all)"] if more > 0 else [],
        )


def _sums(found: Found, cost: Cost) -> Iterator[str]:
    matched, left, total = (cost.of(money) for money in (found.matched, found.left, found.total))
    yield (
        f"matched {_said(matched)} + fits nothing {_said(left)} = {_said(total)}, all of {_lines(found.lines)} "
        f"(billed {_said(found.total.billed)}, effective {_said(found.total.effective)})"
    )
    if found.apportioned:
        yield f"shared out by the log's own use (more than an hour, or one copy): {_lines(found.apportioned)}"
    if found.partly:
        yield f"beyond the log (it got its share of their time, the rest is outside): {_lines(found.partly.total())}"
    if found.corrections.lines:
        yield f"corrections among them: {_lines(found.corrections.lines)}, {_said(cost.of(found.corrections.money))}"
    if found.zero:
        yield f"at no cost (a free tier, or paid ahead): {_lines(found.zero)}"


def _lines(count: int) -> str:
    return f"{count:,} line{'' if count == 1 else 's'}"


def _meaning(found: Found, known: Sequence[Row]) -> Iterator[str]:
    """What the estimates are off by, for each cloud, and what would set them right."""
    for provider in Provider:
        of = _all(known, provider)
        if of.factor is not None and found.billed_hours.get(provider):
            yield f"{provider}: {_advice(of, _discount(found, provider), is_whole=not found.partly[provider])}"
    for copy, accounts in sorted(found.accounts.items()):
        if len(accounts) > 1:
            yield f"{copy.function}/{copy.endpoint} is billed in accounts {', '.join(sorted(accounts))}: give its ARN"
    unpriced = sum(use.unpriced for uses in found.usage.by_copy.values() for use in uses.values())
    if unpriced:
        yield f"without a price in the log, and in no estimate: {unpriced:,} of its calls"
    guessed = [copy for copy in found.usage.by_copy if copy not in found.usage.terms]
    if guessed:
        yield "not in a catalog, and taken to be called like their functions: " + ", ".join(
            map("/".join, sorted(guessed))
        )
    waiting = _not_billed(found)
    if waiting:
        yield f"not billed yet, and not compared: {_said(waiting)} USD of estimates outside the bill's hours"
    if any(why in (Why.NO_FUNCTION, Why.NOT_IN_CATALOG) for why, _, _ in found.unmatched):
        yield f"tags {FUNCTION_TAG} and {ENDPOINT_TAG} on a resource name its place in the catalog outright"


def _discount(found: Found, provider: Provider) -> float | None:
    """What the estimates have been lowered by; None where functions differ in it."""
    terms = (found.usage.terms.get(copy) for copy, known in found.usage.endpoints.items() if known.provider is provider)
    known = {(each or NO_TERMS).account(provider).discount for each in terms}
    return known.pop() if len(known) == 1 else None


def _advice(of: Row, discount: float | None, *, is_whole: bool) -> str:
    factor = of.factor or Decimal(0)
    parts = ", ".join(
        f"{part} {sides['bill'] / sides['estimate']:.3f}" for part, sides in of.parts.items() if sides["estimate"]
    )
    if of.bill <= 0:
        return "nothing was charged: within a free tier, paid ahead, or given back"
    if abs(factor - 1) < NEAR:
        return f"the estimates are right within 1 % (bill / estimate = {factor:.3f})"
    said = f"the bill is {factor:.3f} of the estimates ({parts})"
    if not is_whole:
        return f"{said}, partly by lines that reach beyond the log: take a longer one"
    if factor > 1:
        return f"{said}: are all calls in the log, and are plan and memory in the catalog as they are?"
    if discount is None:
        return f"{said}: its functions differ in their discounts"
    fitting = min(0.99, 1 - (1 - discount) * float(factor))
    return (
        f"{said}: in fiso.yaml, defaults: {{prices: {{{of.provider}: {{discount: {fitting:.3f}}}}}}} would explain it"
    )


def _not_billed(found: Found) -> Decimal:
    everything = _total(use.usd for copy in found.usage.endpoints for use in found.usage.by_copy.get(copy, {}).values())
    return everything - _total(
        use.usd for copy in found.usage.endpoints for use in found.estimated_hours(copy).values()
    )


def _by_part(found: Found) -> dict[Part, Money]:
    sums: defaultdict[Part, Money] = defaultdict(Money)
    for compared in found.copies.values():
        for part, money in compared.parts.items():
            sums[part] = sums[part].plus(money)
    return {part: sums[part] for part in Part if part in sums}


def _billed_time(found: Found) -> str:
    if not found.billed_hours:
        return "no hour"
    start = min(hours.start for hours in found.billed_hours.values())
    end = max(hours.stop for hours in found.billed_hours.values())
    return f"{_instant(start)[:13]}h to {_instant(end)[:13]}h".replace("T", " ")


def _instant(hour: int) -> str:
    return f"{datetime.fromtimestamp(hour * HOUR_S, UTC):%Y-%m-%dT%H:%M:%SZ}"


def document(found: Found, cost: Cost, lines: Sequence[Document]) -> Document:
    """For machines. `lines` are the charges that fit nothing, one by one."""
    known = rows(found, cost)
    return {
        "cost": cost.value,
        "currency": "USD",
        "lines": found.lines,
        "matched_lines": found.matched_lines,
        "apportioned_lines": found.apportioned,
        "partly_outside_lines": found.partly.total(),
        "total": _money(found.total),
        "matched": _money(found.matched),
        "unmatched": _money(found.left),
        "corrections": {"lines": found.corrections.lines, **_money(found.corrections.money)},
        "billed_hours": {
            provider: [_instant(hours.start), _instant(hours.stop)] for provider, hours in found.billed_hours.items()
        },
        "overall": _row(_all(known)),
        "providers": {provider: _row(_all(known, provider)) for provider in found.billed_hours},
        "endpoints": [_row(row) | {"hours": _hours(found, row, cost)} for row in known],
        "not_estimated": {part: _money(money) for part, money in _by_part(found).items() if part not in ESTIMATED},
        "not_billed_usd": _exact(_not_billed(found)),
        "unmatched_groups": [
            {"why": why, "service": service, "category": category, "lines": group.lines, **_money(group.money)}
            for (why, service, category), group in sorted(found.unmatched.items())
        ],
        "unmatched_lines": list(lines),
    }


def line(charge: Charge, why: Why, money: Money) -> Document:
    """A charge that fits nothing, for machines."""
    return {
        "file": charge.file,
        "line": charge.line,
        "why": why.value,
        "category": charge.category,
        "service": charge.service,
        "resource": charge.resource or charge.resource_name,
        "region": charge.region,
        **_money(money),
    }


def _row(row: Row) -> Document:
    return {
        "function": row.function,
        "endpoint": row.endpoint,
        "provider": row.provider,
        "region": row.region,
        "calls": row.calls,
        "estimate": _exact(row.estimate),
        "bill": _exact(row.bill),
        "difference": _exact(row.difference),
        "factor": None if row.factor is None else float(row.factor),
        "parts": {part: {side: _exact(value) for side, value in sides.items()} for part, sides in row.parts.items()},
    }


def _hours(found: Found, row: Row, cost: Cost) -> list[Document]:
    copy = next(each for each in found.usage.endpoints if each == (row.function, row.endpoint))
    uses, bills = found.estimated_hours(copy), found.copies.get(copy, Compared()).hours
    return [
        {
            "hour": _instant(hour),
            "estimate": _exact(uses.get(hour, Use()).usd),
            "bill": _exact(cost.of(bills.get(hour, Money()))),
        }
        for hour in sorted({*uses, *bills})
    ]


def _money(money: Money) -> dict[str, str]:
    return {"billed": _exact(money.billed), "effective": _exact(money.effective), "list": _exact(money.listed)}


def _exact(amount: Decimal) -> str:
    return format(amount.normalize(), "f") if amount else "0"


def _part(part: Part, side: str) -> Callable[[Row], Decimal]:
    return lambda row: row.parts[part][side]


def _amount(amounts: Sequence[Decimal]) -> Callable[[object], str]:
    """One form for a column: as many decimals as give the largest amount four digits, and cents at least."""
    largest = max(map(abs, amounts), default=Decimal(0))
    return decimals(min(12, max(2, 3 - largest.adjusted())) if largest else 2)


def _said(amount: Decimal) -> str:
    return _amount([amount])(amount)
