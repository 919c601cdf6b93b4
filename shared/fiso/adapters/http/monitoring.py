"""Other clouds' monitoring: rows of attempts to Azure Monitor (Logs Ingestion API, 2023-01-01), entries and points to
Google Cloud (logging v2, monitoring v3). In batches within the clouds' limits, for a while and no longer.

learn.microsoft.com/azure/azure-monitor/logs/logs-ingestion-api-overview; cloud.google.com/logging/quotas, and
cloud.google.com/monitoring/quotas. Tried against local servers that keep these limits, not against the clouds.
"""

import gzip
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from time import monotonic, sleep
from typing import Any, TypeAlias

from fiso.codecs import google_monitoring
from fiso.domain.endpoint import Provider
from fiso.domain.errors import StoreUnavailable
from fiso.domain.state import EndpointState
from fiso.ports import Clock
from fiso_client.core.answers import HttpAnswer
from fiso_client.core.failures import ProviderError
from fiso_client.core.transport import HttpTransport

Row: TypeAlias = Mapping[str, object]
Bearer: TypeAlias = Callable[[], str]

BUDGET_S, TIMEOUT_S, FIRST_PAUSE_S = 10.0, 5.0, 0.5
"""For one batch of the stream: what is not taken by then is lost."""
AWAY_S = 60.0
AZURE_BYTES = 1_000_000
"""Of a call, before it is compressed: the API takes 1 MB."""
GOOGLE_ENTRIES, GOOGLE_ENTRY_BYTES, GOOGLE_SERIES = 1_000, 4_000_000, 200
AGAIN = frozenset({408, 429, 500, 502, 503, 504})
_TOO_OFTEN = ("written more frequently than", "must be written in order", "older start time", "older end time")
"""What Google says of a point that somebody else was quicker with."""


@dataclass(kw_only=True)
class _Sender:
    """Requests to one cloud, within what is left of the budget."""

    transport: HttpTransport
    bearer: Bearer
    stopwatch: Callable[[], float] = monotonic
    pause: Callable[[float], object] = sleep
    until: float = 0.0
    failed_at: float = float("-inf")

    def begin(self) -> None:
        """A batch. While the cloud is away it gets one try: batches of an hour's outage must not queue for it."""
        now = self.stopwatch()
        self.until = now + (BUDGET_S if now - self.failed_at > AWAY_S else FIRST_PAUSE_S)

    def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> HttpAnswer:
        """The answer; a passing refusal is waited for as long as the cloud says. `StoreUnavailable` in the end."""
        pause_s = FIRST_PAUSE_S
        while True:
            try:
                answer = self._sent(url, body, headers)
                why = f"status {answer.status}"
                if answer.status not in AGAIN:
                    return answer
                pause_s = max(pause_s, _seconds(answer.headers.get("retry-after")))
            except ProviderError as error:
                why = f"{type(error).__name__} {error.failure}"
            if self.stopwatch() + pause_s >= self.until:
                self.failed_at = self.stopwatch()
                raise StoreUnavailable(f"{url.partition('/')[2].strip('/').partition('/')[0]}: {why}")
            self.pause(pause_s)
            pause_s *= 2

    def _sent(self, url: str, body: bytes, headers: Mapping[str, str]) -> HttpAnswer:
        told = {"authorization": f"Bearer {self.bearer()}", "content-type": "application/json", **headers}
        left_s = max(FIRST_PAUSE_S, min(TIMEOUT_S, self.until - self.stopwatch()))
        return self.transport.send("POST", url, headers=told, body=body, timeout_s=left_s, may_repeat=True)


@dataclass(kw_only=True)
class AzureMonitor:
    """The stream of a data collection rule. `url` is its whole address, below the rule's own ingestion endpoint.

    The API knows no repetition: a row that was sent twice is there twice, and queries take one of each
    `invocation_id` and `attempt`.
    """

    sender: _Sender
    url: str
    provider: Provider = Provider.AZURE

    def put(self, rows: Sequence[Row], states: Iterable[EndpointState]) -> None:
        """Rows alone; Azure's queries make sums of them. `StoreUnavailable` for what was not taken."""
        self.sender.begin()
        for chunk in chunks((_compact(row) for row in rows), most=len(rows), most_bytes=AZURE_BYTES):
            body = gzip.compress(b"[" + b",".join(chunk) + b"]", compresslevel=6)
            answer = self.sender.post(self.url, body, {"content-encoding": "gzip"})
            if answer.status >= 300:
                raise StoreUnavailable(f"Azure Monitor: status {answer.status} {_code(answer)}")


@dataclass(kw_only=True)
class GoogleMonitoring:
    """A project's logs and metrics. A repeated entry is the same one; a point that is not newer is refused, and was
    written by somebody else."""

    sender: _Sender
    project: str
    stage: str
    clock: Clock
    hosts: str
    provider: Provider = Provider.GCP

    def put(self, rows: Sequence[Row], states: Iterable[EndpointState]) -> None:
        """Entries of the rows, and a point of each of the states' series. `StoreUnavailable` for what was not taken."""
        self.sender.begin()
        made = (_compact(google_monitoring.entry(row, self.project)) for row in rows)
        for chunk in chunks(made, most=GOOGLE_ENTRIES, most_bytes=GOOGLE_ENTRY_BYTES):
            body = b'{"partialSuccess":true,"entries":[' + b",".join(chunk) + b"]}"
            answer = self.sender.post(f"{self.hosts}/logging.googleapis.com/v2/entries:write", body, {})
            if answer.status >= 300:
                raise StoreUnavailable(f"Google Cloud Logging: status {answer.status} {_code(answer)}")
        points = google_monitoring.series(states, project=self.project, stage=self.stage, now=self.clock())
        for first in range(0, len(points), GOOGLE_SERIES):
            self._write(points[first : first + GOOGLE_SERIES])

    def _write(self, points: Sequence[Mapping[str, Any]]) -> None:
        body = _compact({"timeSeries": points})
        url = f"{self.hosts}/monitoring.googleapis.com/v3/projects/{self.project}/timeSeries"
        answer = self.sender.post(url, body, {})
        said = answer.body.decode("utf-8", "replace")
        if answer.status >= 300 and not any(words in said for words in _TOO_OFTEN):
            raise StoreUnavailable(f"Google Cloud Monitoring: status {answer.status} {_code(answer)}")


def chunks(parts: Iterable[bytes], *, most: int, most_bytes: int) -> Iterator[list[bytes]]:
    """Parts in their order, so many and so large together at most, separators and brackets counted."""
    held, size = list[bytes](), 2
    for part in parts:
        if held and (len(held) >= most or size + len(part) + 1 > most_bytes - 64):
            yield held
            held, size = [], 2
        held.append(part)
        size += len(part) + 1
    if held:
        yield held


def azure_monitor(transport: HttpTransport, bearer: Bearer, url: str, **given: Any) -> AzureMonitor:
    """`url`: `https://….ingest.monitor.azure.com/dataCollectionRules/dcr-…/streams/Custom-…`."""
    sender = _Sender(transport=transport, bearer=bearer, **given)
    return AzureMonitor(sender=sender, url=f"{url}?api-version=2023-01-01")


def google_monitor(
    transport: HttpTransport, bearer: Bearer, *, project: str, stage: str, clock: Clock, url: str = "", **given: Any
) -> GoogleMonitoring:
    """`url` stands for all of Google's hosts, each below its name: a local server."""
    sender = _Sender(transport=transport, bearer=bearer, **given)
    return GoogleMonitoring(sender=sender, project=project, stage=stage, clock=clock, hosts=url or "https:/")


def _compact(document: object) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode()


def _code(answer: HttpAnswer) -> str:
    """The error's code: neither cloud's own words are told on."""
    try:
        error = json.loads(answer.body)["error"]
        return str(error.get("status") or error.get("code"))[:60]
    except (ValueError, LookupError, TypeError, AttributeError):
        return ""


def _seconds(text: str | None) -> float:
    return float(text) if text is not None and text.isascii() and text.isdigit() else 0.0
