"""Rollups as the stream's consumer leaves them: every record in one minute, however it comes."""

import random
from datetime import datetime, timedelta
from itertools import pairwise

import pytest

from fiso.domain.endpoint import EndpointId, FunctionName
from fiso.domain.errors import StoreUnavailable
from fiso.domain.record import InvocationRecord
from fiso.domain.rollup import Counts, Rollup, rollup_of
from fiso.services.log.ingest import ingest
from fiso.testing.memory import InMemoryEndpointStates, answering, away
from fiso.testing.memory_rollups import InMemoryRollups
from fiso_client.core.failures import Fault
from tests.builders import NOW, a_record, an_attempt

FUNCTION = FunctionName("word-count")
START = NOW.replace(minute=0, second=0, microsecond=0)


def at(minute: float, number: int) -> InvocationRecord:
    moment = START + timedelta(minutes=minute)
    is_bad = number % 5 == 0
    attempt = an_attempt(started_at=moment, status=500 if is_bad else 200, verdict=Fault.COPY if is_bad else None)
    return a_record(number, timestamp=moment, error_occurred=is_bad, attempts=(attempt,))


def told(states: InMemoryEndpointStates, rollups: InMemoryRollups) -> dict[datetime, Counts]:
    """What happened in each minute, the present one too."""
    present = rollup_of(states.of_function(FUNCTION))
    assert present is not None
    kept = rollups.between(FUNCTION, START - timedelta(days=1), START + timedelta(days=1), by_hour=False)
    every = [*kept, present]
    return {
        later.at: sum_of(later).since(sum_of(before)) for before, later in pairwise(every) if sum_of(later) is not None
    }


def sum_of(rollup: Rollup) -> Counts:
    return rollup.counts.get(EndpointId("aws"), Counts())


def test_each_minute_tells_what_happened_in_it_though_batches_come_again() -> None:
    rng = random.Random(3)
    records = [at(number / 4, number) for number in range(200)]
    states, rollups, waiting = InMemoryEndpointStates(), InMemoryRollups(), list(records)
    while waiting:
        batch = waiting[: rng.randrange(1, 30)]
        waiting = waiting[rng.randrange(0, len(batch) + 1) :]
        ingest(batch, states=states, batch_id="", rollups=rollups)
    ingest(records, states=states, batch_id="", rollups=rollups)
    found = told(states, rollups)
    assert {moment: counts.requests for moment, counts in found.items()} == {
        START + timedelta(minutes=minute): 4 for minute in range(50)
    }
    assert sum(counts.errors for counts in found.values()) == 40
    assert all(counts.verdicts == ({"copy": counts.errors} if counts.errors else {}) for counts in found.values())


def test_a_quiet_time_has_no_items_and_an_hour_that_ended_has_one() -> None:
    states, rollups = InMemoryEndpointStates(), InMemoryRollups()
    for number, minute in enumerate((0, 1, 58, 200, 201)):
        ingest([at(minute, number)], states=states, batch_id="", rollups=rollups)
    minutes = [(moment - START) // timedelta(minutes=1) for moment in rollups.minutes[FUNCTION]]
    assert minutes == [-1, 0, 1, 58, 200]
    assert [rollup.folded for rollup in rollups.hours[FUNCTION].values()] == [0, 3]


def test_states_are_folded_while_no_minute_can_be_kept() -> None:
    states, rollups = InMemoryEndpointStates(), InMemoryRollups()
    rollups.before = away()
    for number in range(3):
        ingest([at(number, number)], states=states, batch_id="", rollups=rollups)
    assert sum(state.folded for state in states.states.values()) == 3
    with pytest.raises(StoreUnavailable):
        rollups.newest_before(FUNCTION, START)
    rollups.before = answering
    ingest([at(9, 9)], states=states, batch_id="", rollups=rollups)
    assert [rollup.folded for rollup in rollups.minutes[FUNCTION].values()] == [3]


def test_a_function_of_which_no_request_is_called_has_minutes_too() -> None:
    states, rollups = InMemoryEndpointStates(), InMemoryRollups()
    for number in range(3):
        moment = START + timedelta(minutes=number)
        refused = a_record(number, timestamp=moment, error_occurred=True, endpoint=None, attempts=())
        ingest([refused], states=states, batch_id="", rollups=rollups)
    assert [rollup.folded for rollup in rollups.minutes[FUNCTION].values()] == [0, 1, 2]


def test_counts_of_a_state_that_was_begun_anew_are_all_its_own() -> None:
    before, after = Counts(requests=9, attempts=9, errors=2), Counts(requests=3, attempts=3, errors=1)
    assert after.since(before) == after
    assert before.since(after) == Counts(requests=6, attempts=6, errors=1)
    assert before.since(None) == before
    assert after.plus(before).requests == 12
