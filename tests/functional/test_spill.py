import logging
from itertools import pairwise

import pytest

from fiso.codecs.record import from_document
from fiso.domain.errors import StoreUnavailable
from fiso.domain.record import InvocationRecord, OpenRecord
from fiso.services.log.spill import FAILURES, FIRST_OPEN_S, LONGEST_OPEN_S, LONGEST_WAIT_S, SpillingLog
from fiso.testing.memory import InMemoryInvocationLog, InMemoryMetrics
from tests.builders import NOW, a_record, an_open_record, invocation_id


class Stopwatch:
    """Seconds that pass only when told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class FailingLog(InMemoryInvocationLog):
    """A table that fails as long as `fails`; every failing write takes `takes_s`. Counts the tries."""

    def __init__(self, stopwatch: Stopwatch, *, takes_s: float = 0.0) -> None:
        super().__init__()
        self.stopwatch, self.takes_s, self.fails, self.tries = stopwatch, takes_s, True, 0

    def open(self, record: OpenRecord) -> None:
        self._fail()
        super().open(record)

    def close(self, record: InvocationRecord) -> bool:
        self._fail()
        return super().close(record)

    def _fail(self) -> None:
        self.tries += 1
        if self.fails:
            self.stopwatch.now += self.takes_s
            raise StoreUnavailable("throttled")


def spilling(log: FailingLog) -> SpillingLog:
    return SpillingLog(log, metrics=InMemoryMetrics(), stopwatch=log.stopwatch)


def request(spill: SpillingLog, number: int) -> None:
    spill.open(an_open_record(number))
    spill.close(a_record(number, timestamp=NOW))


def spilled(caplog: pytest.LogCaptureFixture) -> list[InvocationRecord | OpenRecord]:
    return [from_document(line.log_spill) for line in caplog.records if line.message == "log_spill"]  # type: ignore[attr-defined]


def test_what_is_written_is_not_spilled(caplog: pytest.LogCaptureFixture) -> None:
    log = FailingLog(Stopwatch())
    log.fails = False
    request(spilling(log), 1)
    assert isinstance(log.find(invocation_id(1)), InvocationRecord)
    assert spilled(caplog) == []


def test_a_quick_failure_is_tried_once_more_and_then_spilled_whole(caplog: pytest.LogCaptureFixture) -> None:
    log = FailingLog(Stopwatch())
    spilling(log).close(a_record(1))
    assert log.tries == 2
    assert spilled(caplog) == [a_record(1)]


def test_a_write_that_took_the_whole_wait_is_not_repeated_and_its_request_waits_no_more() -> None:
    log = FailingLog(Stopwatch(), takes_s=LONGEST_WAIT_S)
    request(spilling(log), 1)
    assert log.tries == 1
    assert log.stopwatch.now == LONGEST_WAIT_S


def test_a_store_that_was_away_a_moment_ago_is_not_waited_for_by_each_request(
    caplog: pytest.LogCaptureFixture,
) -> None:
    log = FailingLog(Stopwatch(), takes_s=LONGEST_WAIT_S)
    spill = spilling(log)
    for number in range(50):
        request(spill, number)
    assert log.stopwatch.now == LONGEST_WAIT_S
    assert len(spilled(caplog)) == 100


def test_quick_failures_open_the_breaker_too() -> None:
    log = FailingLog(Stopwatch())
    spill = spilling(log)
    for number in range(50):
        spill.close(a_record(number))
    assert log.tries == 2 * FAILURES


def test_one_probe_closes_the_breaker() -> None:
    log = FailingLog(Stopwatch(), takes_s=LONGEST_WAIT_S)
    spill = spilling(log)
    spill.close(a_record(1))
    log.fails = False
    log.stopwatch.now += FIRST_OPEN_S
    request(spill, 2)
    request(spill, 3)
    assert {invocation_id(2), invocation_id(3)} == set(log.records)


def test_failed_probes_come_ever_more_rarely_up_to_a_limit() -> None:
    log = FailingLog(Stopwatch(), takes_s=LONGEST_WAIT_S)
    spill = spilling(log)
    times: list[float] = []
    for number in range(2_000):
        before = log.tries
        spill.close(a_record(number))
        times.extend([log.stopwatch.now] * (log.tries - before))
        log.stopwatch.now += 0.05
    waits = [round(later - earlier) for earlier, later in pairwise(times)]
    assert waits[:4] == [1, 2, 4, 8]
    assert set(waits[4:]) == {LONGEST_OPEN_S}


def test_a_probe_that_is_never_heard_of_does_not_keep_the_breaker_open() -> None:
    class Broken(FailingLog):
        def close(self, record: InvocationRecord) -> bool:
            raise RuntimeError("a defect")

    log = FailingLog(Stopwatch(), takes_s=LONGEST_WAIT_S)
    spill = spilling(log)
    spill.close(a_record(1))
    log.stopwatch.now += FIRST_OPEN_S
    log.fails = False
    broken, spill._log = spill._log, Broken(log.stopwatch)
    with pytest.raises(RuntimeError):
        spill.close(a_record(2))
    spill._log = broken
    log.stopwatch.now += FIRST_OPEN_S
    spill.close(a_record(3))
    assert invocation_id(3) in log.records


def test_a_record_that_contradicts_the_log_is_spilled_and_the_store_counts_as_there(
    caplog: pytest.LogCaptureFixture,
) -> None:
    log = FailingLog(Stopwatch())
    log.fails = False
    spill = spilling(log)
    spill.close(a_record(1))
    for _ in range(2 * FAILURES):
        spill.close(a_record(1, response_status=500))
    spill.close(a_record(2))
    assert len(spilled(caplog)) == 2 * FAILURES
    assert invocation_id(2) in log.records


def test_the_spilled_line_is_one_line_within_cloudwatchs_limit(
    caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    from aws_lambda_powertools import Logger

    structured = Logger(service="spill-test")
    plain = logging.getLogger("fiso.services.log.spill")
    plain.addHandler(structured.handlers[0])
    try:
        spilling(FailingLog(Stopwatch())).close(a_record(1, function_name="naïve\nname"))
    finally:
        plain.removeHandler(structured.handlers[0])
    written = [text for text in capsys.readouterr().out.splitlines() if "log_spill" in text]
    assert len(written) == 1
    assert len(written[0].encode()) < 256_000
