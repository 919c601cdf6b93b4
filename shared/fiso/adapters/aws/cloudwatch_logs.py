"""CloudWatch Logs: what the orchestrator spilled is read, lines of one kind are written. Imports no SDK."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

from fiso.adapters.aws.client import AwsError
from fiso.adapters.aws.errors import code_of, store_errors
from fiso.ports import Clock, SpilledLine

LOGS = "Logs_20140328"
"""The service's name in `JsonClient`."""
PAGE = 10_000
"""The most that the API gives at once, and takes."""
MOST_BYTES, EVENT_BYTES = 1_048_576, 26
"""Of one PutLogEvents, which counts so much beside each line (its reference)."""


class CloudWatchSpilledRecords:
    """In one group or several. `client` is boto3's logs client."""

    def __init__(self, client: Any, *groups: str, mark: str, page: int = PAGE) -> None:
        self._client, self._groups, self._pattern, self._page = client, groups, f'"{mark}"', page

    def pages(self, start: datetime, end: datetime) -> Iterator[Sequence[SpilledLine]]:
        """Every matching line of a time, each once. Pages may be empty and go on all the same."""
        for group in self._groups:
            yield from self._of_group(group, start, end)

    def _of_group(self, group: str, start: datetime, end: datetime) -> Iterator[Sequence[SpilledLine]]:
        seen: set[str] = set()
        position: dict[str, Any] = {"startTime": _ms(start)}
        while True:
            with store_errors(f"read spilled lines of {group}"):
                page = self._client.filter_log_events(
                    logGroupName=group,
                    filterPattern=self._pattern,
                    endTime=_ms(end) - 1,
                    limit=self._page,
                    **position,
                )
                fresh = [event for event in page["events"] if event["eventId"] not in seen]
                seen.update(event["eventId"] for event in fresh)
                lines = [_line(event) for event in fresh]
                following = _following(page, position, is_full=len(page["events"]) >= self._page and bool(fresh))
            yield lines
            if following is None:
                return
            position = following


def _following(page: dict[str, Any], position: dict[str, Any], *, is_full: bool) -> dict[str, Any] | None:
    """Where the next page begins: at the token, or where there is none after a full page, at that one's last line."""
    if page.get("nextToken"):
        return {"startTime": position["startTime"], "nextToken": page["nextToken"]}
    return {"startTime": page["events"][-1]["timestamp"]} if is_full else None


def _line(event: dict[str, Any]) -> SpilledLine:
    written_at = datetime.fromtimestamp(0, UTC) + timedelta(milliseconds=event["timestamp"])
    return SpilledLine(id=str(event["eventId"]), written_at=written_at, text=str(event["message"]))


def _ms(moment: datetime) -> int:
    return (moment - datetime.fromtimestamp(0, UTC)) // timedelta(milliseconds=1)


class CloudWatchLines:
    """One environment's lines, in a stream of its own. `client` is a `JsonClient` of LOGS."""

    def __init__(self, client: Any, group: str, *, clock: Clock) -> None:
        self._client, self._group, self._clock = client, group, clock
        self._stream = f"lines/{uuid4().hex}"
        self._is_there = False

    def put(self, lines: Sequence[str]) -> None:
        if not lines:
            return
        named, now_ms = {"logGroupName": self._group, "logStreamName": self._stream}, _ms(self._clock())
        with store_errors(f"write lines to {self._group}"):
            if not self._is_there:
                self._create(named)
            for some in _batches(lines):
                events = [{"timestamp": now_ms, "message": line} for line in some]
                self._client.put_log_events(**named, logEvents=events)
            self._is_there = True

    def _create(self, named: dict[str, str]) -> None:
        """Nothing is answered where it was done; where it was not, the first lines are refused."""
        try:
            self._client.create_log_stream(**named)
        except AwsError as error:
            if code_of(error) not in {"NotJson", "ResourceAlreadyExistsException"}:
                raise


def _batches(lines: Sequence[str]) -> Iterator[Sequence[str]]:
    """As many as one call takes."""
    batch, size = list[str](), 0
    for line in lines:
        size += len(line.encode()) + EVENT_BYTES
        if batch and (size > MOST_BYTES or len(batch) == PAGE):
            yield batch
            batch, size = [], len(line.encode()) + EVENT_BYTES
        batch.append(line)
    yield batch
