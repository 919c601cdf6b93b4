"""The routing that a model implies, valued off policy: had it alone said which copy is fastest, what would first calls
have taken, by the log's propensities?

A record has the features of the copy that was called. Those of the others are as last seen when they were called for
the same function, with this request's size and hour; a decision of which one is not known yet is left out. So this is a
figure to look at beside the others, not a verdict: it stops nothing.
"""

import heapq
from collections.abc import Iterable, Iterator, Mapping
from itertools import count

from fiso.domain.endpoint import EndpointId
from fiso.domain.record import InvocationRecord
from fiso.learning import logged, ope
from fiso.learning.logged import Loss
from fiso.prediction.artifact import Model
from fiso.prediction.features import NAMES

MOST = 3_000
"""Newest decisions that are kept while a log is read: about 20 MB."""
_OF_REQUEST = tuple(NAMES.index(name) for name in ("request_size_bytes", "day_of_week", "hour_of_day"))


class Newest:
    """The newest usable decisions of a log that passes by, in whatever order."""

    def __init__(self, most: int = MOST) -> None:
        self._most, self._numbers = most, count()
        self._kept: list[tuple[float, int, InvocationRecord]] = []

    def passing(self, records: Iterable[InvocationRecord]) -> Iterator[InvocationRecord]:
        for record in records:
            if len(record.decision.candidates) > 1 and logged.is_usable(record):
                entry = (record.timestamp.timestamp(), next(self._numbers), record)
                (heapq.heappush if len(self._kept) < self._most else heapq.heappushpop)(self._kept, entry)
            yield record

    def records(self) -> list[InvocationRecord]:
        """Oldest first."""
        return [record for _, _, record in sorted(self._kept, key=lambda entry: entry[:2])]


def value(records: Iterable[InvocationRecord], model: Model) -> Mapping[str, float]:
    """The figures; that there are none where the log is too thin is one, too: `implied_decisions` says how many it had.
    Differences below 0: it would lose less than what was done."""
    pairs = list(_pairs(records, model))
    found = ope.evaluate(pairs)
    if isinstance(found, ope.Refusal):
        return {"implied_decisions": float(len(pairs))}
    return {
        "implied_decisions": float(len(pairs)),
        "logged_ms": round(found.logged.value, 3),
        "implied_ms": round(found.dr.value, 3),
        "implied_difference_ms": round(found.dr_difference.value, 3),
        "implied_difference_low_ms": round(found.dr_difference.low, 3),
        "implied_difference_high_ms": round(found.dr_difference.high, 3),
    }


def _pairs(records: Iterable[InvocationRecord], model: Model) -> Iterator[tuple[ope.LoggedDecision, ope.Probabilities]]:
    seen: dict[tuple[str, EndpointId], tuple[float, ...]] = {}
    for record in records:
        own = tuple(record.decision.features.get(name, 0.0) for name in NAMES)
        function, called = record.request.function_name, record.attempts[0].endpoint
        decision = logged.decision_of(record, Loss.LATENCY)
        last = record.attempts[-1].endpoint  # whose features the record has
        rows = [
            own if each.endpoint == last else _as_seen(seen.get((function, each.endpoint)), own)
            for each in record.decision.candidates
        ]
        seen[function, last] = own
        whole = [row for row in rows if row is not None]
        if decision is None or called != last or len(whole) < len(rows):
            continue
        said = [output.latency_ms for output in model.predict_all(whole)]
        best = record.decision.candidates[said.index(min(said))].endpoint
        yield decision, {best: 1.0}


def _as_seen(row: tuple[float, ...] | None, own: tuple[float, ...]) -> tuple[float, ...] | None:
    if row is None:
        return None
    return tuple(own[place] if place in _OF_REQUEST else number for place, number in enumerate(row))
