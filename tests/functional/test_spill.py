import logging
from itertools import pairwise

import pytest

from fiso.codecs import spilled_line
from fiso.domain.errors import StoreUnavailable
from fiso.domain.record import InvocationRecord, OpenRecord
from fiso.services.freshness.cached import CachedValue, StoreWaitBudget
from fiso.services.log.spill import FAILURES, FIRST_OPEN_S, KEYS_AGAIN_S, LONGEST_OPEN_S, LONGEST_WAIT_S, SpillingLog
from fiso.testing.clock import ManualClock
from fiso.testing.memory import InMemoryInvocationLog, InMemoryLeaseKeys, InMemoryMetrics, answering, away
from tests.builders import KEYRING, NOW, a_record, an_open_record, invocation_id
from tests.held_executor import HeldExecutor


class Rig:
    """A log over a table that is away; each write that fails takes `takes_s`."""

    def __init__(self, takes_s: float = 0.0) -> None:
        self.clock, self.table, self.takes_s = ManualClock(), InMemoryInvocationLog(), takes_s
        self.table.before = self._away
        self.store = InMemoryLeaseKeys(KEYRING)
        self.reads = HeldExecutor()
        budget = StoreWaitBudget(self.reads, stopwatch=self.clock.ticks)
        keys = CachedValue("keys", lambda _: self.store.read(), budget=budget)
        self.log = SpillingLog(self.table, metrics=InMemoryMetrics(), stopwatch=self.clock.ticks, keys=lambda: keys)

    def request(self, number: int) -> None:
        self.log.open(an_open_record(number))
        self.log.close(a_record(number, timestamp=NOW))

    @property
    def tries(self) -> int:
        return self.table.operations.total()

    def _away(self, operation: str) -> None:
        self.clock.advance(self.takes_s)
        raise StoreUnavailable("throttled")


def texts(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [line.log_spill for line in caplog.records if line.message == "log_spill"]  # type: ignore[attr-defined]


def spilled(caplog: pytest.LogCaptureFixture) -> list[InvocationRecord | OpenRecord]:
    return [spilled_line.read(text, KEYRING) for text in texts(caplog)]


def test_what_is_written_is_not_spilled(caplog: pytest.LogCaptureFixture) -> None:
    rig = Rig()
    rig.table.before = answering
    rig.request(1)
    assert isinstance(rig.table.find(invocation_id(1)), InvocationRecord)
    assert spilled(caplog) == []


def test_a_quick_failure_is_tried_once_more_and_then_spilled_whole(caplog: pytest.LogCaptureFixture) -> None:
    rig = Rig()
    rig.log.close(a_record(1))
    assert rig.tries == 2
    assert spilled(caplog) == [a_record(1)]


def test_a_write_that_took_the_whole_wait_is_not_repeated_and_its_request_waits_no_more() -> None:
    rig = Rig(LONGEST_WAIT_S)
    rig.request(1)
    assert rig.tries == 1
    assert rig.clock.ticks() == LONGEST_WAIT_S


def test_a_store_that_was_away_a_moment_ago_is_not_waited_for_by_each_request(
    caplog: pytest.LogCaptureFixture,
) -> None:
    rig = Rig(LONGEST_WAIT_S)
    for number in range(50):
        rig.request(number)
    assert rig.clock.ticks() == LONGEST_WAIT_S
    assert len(spilled(caplog)) == 100


def test_quick_failures_open_the_breaker_too() -> None:
    rig = Rig()
    for number in range(50):
        rig.log.close(a_record(number))
    assert rig.tries == 2 * FAILURES


def test_one_probe_closes_the_breaker() -> None:
    rig = Rig(LONGEST_WAIT_S)
    rig.log.close(a_record(1))
    rig.table.before = answering
    rig.clock.advance(FIRST_OPEN_S)
    rig.request(2)
    rig.request(3)
    assert {invocation_id(2), invocation_id(3)} == set(rig.table.records)


def test_failed_probes_come_ever_more_rarely_up_to_a_limit() -> None:
    rig = Rig(LONGEST_WAIT_S)
    times: list[float] = []
    for number in range(400):
        before = rig.tries
        rig.log.close(a_record(number))
        times.extend([rig.clock.ticks()] * (rig.tries - before))
        rig.clock.advance(0.25)
    waits = [round(later - earlier) for earlier, later in pairwise(times)]
    assert waits[:4] == [1, 2, 4, 8]
    assert set(waits[4:]) == {LONGEST_OPEN_S}


def test_a_probe_that_is_never_heard_of_does_not_keep_the_breaker_open() -> None:
    def broken(operation: str) -> None:
        raise RuntimeError("a defect")

    rig = Rig(LONGEST_WAIT_S)
    rig.log.close(a_record(1))
    rig.clock.advance(FIRST_OPEN_S)
    rig.table.before = broken
    with pytest.raises(RuntimeError):
        rig.log.close(a_record(2))
    rig.table.before = answering
    rig.clock.advance(FIRST_OPEN_S)
    rig.log.close(a_record(3))
    assert invocation_id(3) in rig.table.records


def test_a_record_that_contradicts_the_log_is_spilled_and_the_store_counts_as_there(
    caplog: pytest.LogCaptureFixture,
) -> None:
    rig = Rig()
    rig.table.before = answering
    rig.log.close(a_record(1))
    for _ in range(2 * FAILURES):
        rig.log.close(a_record(1, response_status=500))
    rig.log.close(a_record(2))
    assert len(spilled(caplog)) == 2 * FAILURES
    assert invocation_id(2) in rig.table.records


def test_the_spilled_line_is_one_line_within_cloudwatchs_limit(
    caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    from aws_lambda_powertools import Logger

    structured = Logger(service="spill-test")
    plain = logging.getLogger("fiso.services.log.spill")
    plain.addHandler(structured.handlers[0])
    try:
        Rig().log.close(a_record(1, function_name="naïve\nname"))
    finally:
        plain.removeHandler(structured.handlers[0])
    written = [text for text in capsys.readouterr().out.splitlines() if "log_spill" in text]
    assert len(written) == 1
    assert len(written[0].encode()) < 256_000


def test_an_intent_that_is_spilled_before_there_is_a_key_is_marked_when_the_function_has_answered(
    caplog: pytest.LogCaptureFixture,
) -> None:
    rig = Rig(LONGEST_WAIT_S)
    rig.reads.is_held = True  # the store of keys takes its time, as on a busy machine
    rig.log.open(an_open_record(1))
    rig.reads.let_go()
    rig.log.close(a_record(1, timestamp=NOW))
    unmarked, *marked = texts(caplog)
    assert [spilled_line.read(text, KEYRING) for text in marked] == [a_record(1, timestamp=NOW), an_open_record(1)]
    assert marked[1].endswith(unmarked)


def test_what_never_got_a_mark_in_its_request_gets_it_in_the_next(caplog: pytest.LogCaptureFixture) -> None:
    rig = Rig(LONGEST_WAIT_S)
    rig.reads.is_held = True
    rig.request(1)
    rig.table.before = answering
    rig.reads.let_go()
    rig.log.refresh_in_background()
    rig.log.refresh_in_background()
    marked = [spilled_line.read(text, KEYRING) for text in texts(caplog)[2:]]
    assert marked == [an_open_record(1), a_record(1, timestamp=NOW)]


def test_a_key_that_could_not_be_read_is_asked_for_again_soon() -> None:
    rig = Rig()
    rig.store.before = away()
    for _ in range(2):
        rig.log.refresh_in_background()
    rig.store.before = answering
    rig.clock.advance(KEYS_AGAIN_S)
    rig.log.refresh_in_background()
    assert rig.store.operations.total() == 2
    rig.clock.advance(KEYS_AGAIN_S)
    rig.log.refresh_in_background()
    assert rig.store.operations.total() == 2, "it is fresh now"
