"""Sharing out: money over copies and hours, by what the log says was used there.

Any number of charges of any length takes one pass over the hours in the end: a charge adds what it comes to per unit of
use at its first hour and takes it away behind its last. No digit is lost: what rounding leaves goes to one hour.
"""

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import accumulate

from fiso_cli.reports.bills.focus import NOTHING, Money
from fiso_cli.reports.bills.usage import Copy, Use


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """What one copy was charged in one hour."""

    copy: Copy
    hour: int
    money: Money


class Sharing:
    """What is charged to the same copies for one thing: by their computing where there was some, else by calls."""

    def __init__(self, uses: Mapping[Copy, Mapping[int, Use]], *, by_compute: bool) -> None:
        self.hours: Sequence[int] = sorted({hour for of in uses.values() for hour in of})
        cells = [[(copy, of[hour]) for copy, of in uses.items() if hour in of] for hour in self.hours]
        calls = [[(copy, Decimal(use.calls)) for copy, use in cell] for cell in cells]
        compute = [[(copy, use.compute) for copy, use in cell] for cell in cells] if by_compute else []
        self._ways = [_Way(cells) for cells in (compute, calls) if cells]

    def add(self, hours: range, money: Money) -> range | None:
        """From the first to the last hour of use that it is shared out over; None where there is none."""
        first, end = bisect_left(self.hours, hours.start), bisect_left(self.hours, hours.stop)
        for way in self._ways:
            if way.used(first, end):
                way.add(first, end, money)
                return range(self.hours[first], self.hours[end - 1] + 1)
        return None

    def shares(self) -> Iterator[Share]:
        """All that was added, once each."""
        for way in self._ways:
            yield from way.shares(self.hours)


class _Way:
    """By one measure of use. `steps` is how the charge for a unit of it changes from hour to hour."""

    def __init__(self, cells: Sequence[Sequence[tuple[Copy, Decimal]]]) -> None:
        self._cells = cells
        self._until = [Decimal(0), *accumulate(sum((used for _, used in cell), Decimal(0)) for cell in cells)]
        self._steps = [NOTHING] * (len(cells) + 1)
        self._total = NOTHING
        self._last = 0

    def used(self, first: int, end: int) -> Decimal:
        return self._until[end] - self._until[first]

    def add(self, first: int, end: int, money: Money) -> None:
        each = money.over(self.used(first, end))
        self._steps[first] = self._steps[first].plus(each)
        self._steps[end] = self._steps[end].less(each)
        self._total = self._total.plus(money)
        self._last = max(self._last, end)

    def shares(self, hours: Sequence[int]) -> Iterator[Share]:
        rest, each = self._total, NOTHING
        last: tuple[Copy, int] | None = None
        for place in range(self._last):
            each = each.plus(self._steps[place])
            for copy, used in self._cells[place]:
                money = each.times(used).rounded()
                if any(money):
                    rest = rest.less(money)
                    last = copy, hours[place]
                    yield Share(copy=copy, hour=hours[place], money=money)
        if any(rest):
            copy, hour = last or (self._cells[self._last - 1][0][0], hours[self._last - 1])
            yield Share(copy=copy, hour=hour, money=rest)


def summed(amounts: Iterable[Money]) -> Money:
    """All of them."""
    total = NOTHING
    for money in amounts:
        total = total.plus(money)
    return total
