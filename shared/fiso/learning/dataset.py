"""Data sets: records as arrays to learn from, oldest first.

Features are the ones logged when the decision was made, so nothing that was known later can leak in. A record counts
when an attempt ended it. A failure is a row of success 0 without latency and cost: how long a failure took says nothing
about how long an answer takes. A cold start has neither, too: what it adds is predicted apart from warm calls. Attempts
that were failed over are not rows, since the record has no features of them; the endpoint's state counts those.

What a tenant reports of calls that it made itself is its word. Where there are several tenants, no more than a third of
the rows are such, and what a model is judged by is what FISO saw (docs/decisions/0020-whose-word-counts.md).
"""

import sys
from array import array
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from math import inf, isfinite, nan
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from fiso.domain.record import InvocationRecord, RecordStatus
from fiso.domain.request import TenantId
from fiso.prediction.features import NAMES

Floats: TypeAlias = NDArray[np.float64]

LARGEST_HELD_OUT = 20_000
HELD_OUT_SHARE = 0.2
MOST_REPORTED = 3
"""What several tenants report is at most one in so many of all rows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DataSet:
    """Rows, oldest first. `latency_ms` and `cost_usd` are NaN where there is none; `at` is seconds since the epoch.

    `served_latency_ms` and `served_by` are the raw prediction that was made for the row and the version that made it.
    `tenant` numbers the tenants, `reported` is 1 for what one of them said, 0 for what FISO saw.
    `skipped` counts records that no row could be made of; of those `quarantined` counts the ones that cannot be true,
    by what is wrong with them.
    """

    feature_names: tuple[str, ...]
    features: Floats
    latency_ms: Floats
    cost_usd: Floats
    success: Floats
    at: Floats
    served_latency_ms: Floats
    served_by: tuple[str, ...]
    tenant: Floats
    reported: Floats
    is_synthetic: bool = False
    skipped: int = 0
    quarantined: Mapping[str, int] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.success)

    def part(self, first: int, end: int) -> "DataSet":
        """The rows from `first` up to (excluding) `end`."""
        return self.rows(np.arange(first, min(end, len(self))))

    def rows(self, positions: NDArray[np.intp]) -> "DataSet":
        """These rows, in this order; none of those counts as skipped."""
        columns = {name: getattr(self, name)[positions] for name in _TARGETS}
        return replace(
            self,
            features=self.features[positions],
            served_by=tuple(self.served_by[position] for position in positions),
            skipped=0,
            quarantined={},
            **columns,
        )

    @property
    def seen_by_fiso(self) -> "DataSet":
        rows = self.rows(np.flatnonzero(self.reported == 0))
        return replace(rows, skipped=self.skipped, quarantined=self.quarantined)

    @property
    def has_one_tenant(self) -> bool:
        return len(np.unique(self.tenant)) <= 1

    def after(self, moment: float) -> int:
        return int(np.count_nonzero(self.at > moment))


@dataclass(frozen=True, slots=True, kw_only=True)
class Halves:
    """What a model learns from, and the newer rows it is judged by and never sees."""

    train: DataSet
    held_out: DataSet

    @property
    def all_rows(self) -> DataSet:
        """What was learned from, then what judged."""
        both = (self.train, self.held_out)
        table = np.concatenate([np.column_stack([getattr(half, name) for name in _TARGETS]) for half in both])
        columns = dict(zip(_TARGETS, table.T, strict=True))
        return replace(
            self.train,
            features=np.concatenate([half.features for half in both]),
            served_by=self.train.served_by + self.held_out.served_by,
            **columns,
        )


def build(records: Iterable[InvocationRecord], *, now: datetime | None = None) -> DataSet:
    """The data set of a log, in time order whatever order the records come in. About 150 bytes a row. What cannot be
    true, or is from after `now`, is counted and left out, and so is what stands there twice."""
    numbers = array("d")
    versions: list[str] = []
    tenants: dict[TenantId, int] = {}
    skipped, quarantined = 0, Counter[str]()
    latest = inf if now is None else now.timestamp() + LATEST_AHEAD_S
    for record in records:
        tenant = tenants.setdefault(record.request.tenant, len(tenants))
        row = _row(record, tenant, latest)
        if isinstance(row, Wrong):
            quarantined[row.value] += 1
        elif row is None:
            skipped += 1
        else:
            numbers.extend(row)
            versions.append(sys.intern(record.decision.model_version or ""))
    table = np.frombuffer(numbers, dtype=np.float64).reshape(len(versions), len(_TARGETS) + len(NAMES))
    order = np.argsort(table[:, 0], kind="stable")
    once = _once(table[order])
    quarantined[Wrong.TWICE.value] += len(order) - len(once)
    order = order[once]
    columns = dict(zip(_TARGETS, table[order, : len(_TARGETS)].T, strict=True))
    return DataSet(
        feature_names=NAMES,
        features=table[order, len(_TARGETS) :],
        served_by=tuple(versions[position] for position in order),
        skipped=skipped + sum(quarantined.values()),
        quarantined={name: count for name, count in sorted(quarantined.items()) if count},
        **columns,
    )


class Wrong(StrEnum):
    """Why a record is quarantined."""

    FEATURES = "features"
    LATENCY = "latency"
    COST = "cost"
    CALENDAR = "calendar"
    AHEAD = "ahead of the clock"
    TWICE = "twice"


LATEST_AHEAD_S = 300.0
"""Clocks of two machines may differ by so much."""
LONGEST_MS = 3_600_000.0
"""Four attempts of a function's 15 minutes each."""
_CALENDAR = ("day_of_week", "hour_of_day")


def _once(table: Floats) -> NDArray[np.intp]:
    """Where the rows stand that are not the same again, the oldest of each: all numbers and the time of the day, as a
    day that was copied has them."""
    columns = [column for column in range(1, table.shape[1]) if column - len(_TARGETS) not in _CALENDAR_AT]
    seen = np.column_stack([np.round(table[:, 0] % 86_400, 3), table[:, columns]])
    rows = np.ascontiguousarray(seen).view(np.dtype((np.void, seen.dtype.itemsize * seen.shape[1]))).ravel()
    return np.sort(np.unique(rows, return_index=True)[1])


_CALENDAR_AT = frozenset(NAMES.index(name) for name in _CALENDAR)


def split(data: DataSet, *, newest: int | None = None) -> Halves:
    """Hold out the newest fifth of the rows that may judge, or fewer: none but of the `newest` rows, so that a champion
    has seen none of them. Of several tenants' rows only those that FISO saw judge, and those reported meanwhile are
    left out: whoever reports much, late, keeps nobody from being judged."""
    judging = np.arange(len(data)) if data.has_one_tenant else np.flatnonzero(data.reported == 0)
    unseen = len(judging) if newest is None else int(np.count_nonzero(judging >= len(data) - newest))
    held_out = min(int(len(judging) * HELD_OUT_SHARE), LARGEST_HELD_OUT, unseen)
    positions = judging[len(judging) - held_out :]
    cut = int(positions[0]) if held_out else len(data)
    train = replace(data.part(0, cut), skipped=data.skipped, quarantined=data.quarantined)
    return Halves(train=train, held_out=data.rows(positions))


def capped(data: DataSet) -> DataSet:
    """Without the oldest of what was reported beyond its share of all rows, of which each tenant has as much as any
    other; all, where there is one tenant."""
    if data.has_one_tenant:
        return data
    reported = data.reported > 0
    tenants, counts = np.unique(data.tenant[reported], return_counts=True)
    cap = _even_share(counts.tolist(), int(np.count_nonzero(~reported)) // (MOST_REPORTED - 1))
    kept = ~reported
    for tenant in tenants:
        own = np.flatnonzero(reported & (data.tenant == tenant))
        kept[own[max(0, len(own) - cap) :]] = True
    return replace(data.rows(np.flatnonzero(kept)), skipped=data.skipped, quarantined=data.quarantined)


def _even_share(counts: list[int], total: int) -> int:
    """The most that each may have so that all together have no more than `total`; who has less leaves it to others."""
    left = total
    for others, count in enumerate(sorted(counts)):
        share = left // (len(counts) - others)
        if count > share:
            return share
        left -= count
    return total


_TARGETS = ("at", "latency_ms", "cost_usd", "success", "served_latency_ms", "tenant", "reported")


def _row(record: InvocationRecord, tenant: int, latest: float) -> "tuple[float, ...] | Wrong | None":
    """The numbers of _TARGETS, then the features; None for a record that teaches nothing."""
    if record.status is not RecordStatus.FINAL or record.result.execution_time_ms is None:
        return None
    seen = tuple(record.decision.features.get(name, nan) for name in NAMES)
    latency_ms = record.result.execution_time_ms
    answered = not record.result.error_occurred
    # A cold start is predicted apart from warm calls: as a label it would teach the model the traffic's idleness. What
    # a function refuses at once for its caller's fault says nothing of how long its work takes.
    is_warm = answered and not record.result.cold_start and record.result.response_status < 400
    wrong = _wrong(record, seen, latest)
    if wrong is not None:
        return wrong
    return (
        record.timestamp.timestamp(),
        latency_ms if is_warm else nan,
        _last_attempts_cost(record) if is_warm else nan,
        float(answered),
        nan if record.decision.raw_latency_ms is None else record.decision.raw_latency_ms,
        float(tenant),
        float(record.decision.lease_id is not None),
        *seen,
    )


def _wrong(record: InvocationRecord, seen: tuple[float, ...], latest: float) -> Wrong | None:
    latency_ms, cost_usd = record.result.execution_time_ms, record.result.cost_usd
    weekday, hour = (seen[NAMES.index(name)] for name in _CALENDAR)
    found = {
        Wrong.FEATURES: not all(isfinite(value) for value in seen) or seen[NAMES.index("request_size_bytes")] < 0,
        Wrong.LATENCY: latency_ms is None or not (record.result.error_occurred or 0 < latency_ms <= LONGEST_MS),
        Wrong.COST: cost_usd is not None and cost_usd < 0,
        Wrong.CALENDAR: not (1 <= weekday <= 7 and 0 <= hour < 24),
        Wrong.AHEAD: record.timestamp.timestamp() > latest,
    }
    return next((wrong for wrong, is_so in found.items() if is_so), None)


def _last_attempts_cost(record: InvocationRecord) -> float:
    """The cost of the attempt that the features belong to; the record's own sums up all attempts."""
    cost_usd = record.attempts[-1].cost_usd if record.attempts else record.result.cost_usd
    return nan if cost_usd is None or not isfinite(cost_usd) or cost_usd <= 0 else cost_usd
