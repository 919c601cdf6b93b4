"""Spilled lines, in memory and in CloudWatch Logs as the emulator speaks it."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from fiso.adapters.aws.cloudwatch_logs import CloudWatchLines, CloudWatchSpilledRecords
from fiso.domain.errors import StoreUnavailable
from fiso.ports import SpilledLine, SpilledRecords
from fiso.services.log.reconcile import parse
from fiso.services.log.spill import MARK
from fiso.testing.memory import InMemorySpilledRecords
from tests.builders import KEYRING, a_record, a_spilled_line
from tests.emulator import aws

PAGE = 300
NOW = datetime.now(UTC).replace(microsecond=0)
Write = Callable[[list[SpilledLine]], SpilledRecords]


@pytest.fixture(params=["memory", "cloudwatch"])
def write(request: pytest.FixtureRequest) -> Iterator[Write]:
    """Gives the port over these lines."""
    if request.param == "memory":
        yield lambda lines: InMemorySpilledRecords(*lines)
        return
    client = aws("logs", request.getfixturevalue("emulator_url"))
    group = f"/fiso/{request.node.name}"

    def put(lines: list[SpilledLine]) -> SpilledRecords:
        client.create_log_group(logGroupName=group)
        client.create_log_stream(logGroupName=group, logStreamName="s")
        events = [{"timestamp": int(of.written_at.timestamp() * 1000), "message": of.text} for of in lines]
        for start in range(0, len(events), PAGE):
            client.put_log_events(logGroupName=group, logStreamName="s", logEvents=events[start : start + PAGE])
        noise = [{"timestamp": int(NOW.timestamp() * 1000), "message": "REPORT Duration: 1 ms"}]
        client.put_log_events(logGroupName=group, logStreamName="s", logEvents=noise)
        return CloudWatchSpilledRecords(client, group, mark=MARK, page=PAGE)

    yield put
    client.close()


def test_lines_come_back_with_their_records_and_times(write: Write) -> None:
    ((found,),) = write([a_spilled_line(a_record(1), NOW)]).pages(NOW, NOW + timedelta(seconds=1))
    assert (parse(found.text, KEYRING), found.written_at) == (a_record(1), NOW)


def test_a_time_includes_its_start_and_not_its_end(write: Write) -> None:
    spilled = write([a_spilled_line(a_record(second), NOW + timedelta(seconds=second)) for second in range(4)])
    found = [line for page in spilled.pages(NOW + timedelta(seconds=1), NOW + timedelta(seconds=3)) for line in page]
    records = [parse(each.text, KEYRING) for each in found]
    assert sorted(each.invocation_id for each in records if each) == [a_record(n).invocation_id for n in (1, 2)]


def test_more_lines_than_a_page_holds_come_all_and_once(write: Write) -> None:
    lines = [a_spilled_line(a_record(n), NOW + timedelta(milliseconds=n)) for n in range(2 * PAGE + 7)]
    found = [line for page in write(lines).pages(NOW, NOW + timedelta(minutes=1)) for line in page]
    assert len({each.id for each in found}) == len(found) == len(lines)


def test_a_group_that_is_not_there_is_unavailable(emulator_url: str) -> None:
    client = aws("logs", emulator_url)
    with pytest.raises(StoreUnavailable):
        list(CloudWatchSpilledRecords(client, "/nowhere", mark=MARK).pages(NOW, NOW + timedelta(minutes=1)))
    client.close()


def test_an_empty_page_with_a_token_is_not_the_end() -> None:
    """CloudWatch looks through so much and no more at once: what it finds may stand pages later."""
    event = {"eventId": "1", "timestamp": int(NOW.timestamp() * 1000), "message": "{}"}
    answers = iter([{"events": [], "nextToken": "a"}, {"events": [], "nextToken": "b"}, {"events": [event]}])

    class Client:
        def filter_log_events(self, **asked: Any) -> Any:
            return next(answers)

    pages = CloudWatchSpilledRecords(Client(), "g", mark=MARK).pages(NOW, NOW + timedelta(minutes=1))
    assert [[line.id for line in page] for page in pages] == [[], [], ["1"]]


@pytest.mark.parametrize(
    ("lines", "sizes"),
    [
        (["x" * 1_022] * 2_001, [1_000, 1_000, 1]),  # 1,048 bytes each with CloudWatch's own 26
        (["x"] * 20_001, [10_000, 10_000, 1]),
        (["\u00fc" * 524_000, "x" * 600_000, "x"], [1, 2]),
        (["x" * 2_000_000, "x"], [1, 1]),
        ([], []),
    ],
    ids=["bytes", "events", "letters of two bytes", "one that is too long", "none"],
)
def test_lines_are_put_in_batches_that_cloudwatch_takes(lines: list[str], sizes: list[int]) -> None:
    put: list[list[dict[str, Any]]] = []

    class Client:
        def create_log_stream(self, **_: str) -> None: ...

        def put_log_events(self, **asked: Any) -> None:
            put.append(asked["logEvents"])

    CloudWatchLines(Client(), "g", clock=lambda: NOW).put(lines)
    assert [len(batch) for batch in put] == sizes
    assert [event["message"] for batch in put for event in batch] == lines
