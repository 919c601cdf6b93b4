"""What the services need from the outside, as plain nouns. Adapters implement these; services import nothing else.

Every write survives being repeated. Stores raise `StoreUnavailable` or `WriteConflict`, callers raise `ProviderError`.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING, NamedTuple, Protocol

from fiso.domain.access import Claims, SigningKey
from fiso.domain.catalog import CatalogEntry, Snapshot
from fiso.domain.endpoint import Endpoint, EndpointId, FunctionName, Provider
from fiso.domain.errors import InvalidRecord
from fiso.domain.model import ModelPointer, RetrainingRun
from fiso.domain.record import InvocationRecord, OpenRecord
from fiso.domain.request import InvocationId, InvocationRequest, TenantId
from fiso.domain.signed import SignedText
from fiso.domain.stage_rules import NO_RULES, StageRules
from fiso.domain.state import EndpointState
from fiso.routing.breaker_notices import Notice, SlowCall
from fiso.routing.quota import Seen, Use
from fiso_client.core.answers import FunctionAnswer

if TYPE_CHECKING:  # leases, keys and archives are imported where one is asked for, not at each cold start
    from fiso.codecs.lease_token import Keyring
    from fiso.domain.archive import Extent
    from fiso.domain.drift import DriftReport
    from fiso.domain.idempotency import Entry, EntryId
    from fiso.domain.rollup import Rollup


class Clock(Protocol):
    """The time of day, aware and UTC."""

    def __call__(self) -> datetime: ...


class FunctionCaller(Protocol):
    """The transport seam: one request to one endpoint, once, inside a timeout. Never retries by itself."""

    def call(self, endpoint: Endpoint, request: InvocationRequest, *, timeout_ms: float) -> FunctionAnswer:
        """The function's answer, its own errors included; `ProviderError` when there is none."""
        ...


class EndpointTokens(Protocol):
    """Tokens that identify FISO at endpoints."""

    def due(self, endpoints: Iterable[Endpoint]) -> Sequence[Callable[[], object]]:
        """What is to be fetched or renewed for these endpoints now, each by itself; without endpoints, what comes
        before every token. They raise `ProviderError`."""
        ...

    def forget(self) -> None:
        """Keep none."""
        ...


class InvocationLog(Protocol):
    """The log of invocations. A record only moves up: open, unknown, final; repeating a write changes nothing."""

    def open(self, record: OpenRecord) -> None:
        """Write the intent. Repeating it changes nothing, also after the record was closed."""
        ...

    def close(self, record: InvocationRecord) -> bool:
        """Write the closed record over the intent, or without one; False when exactly this record stood there already.

        A final record also replaces an unknown one, which says only that nobody could tell. `WriteConflict` if already
        closed otherwise.
        """
        ...

    def find(self, invocation_id: InvocationId) -> InvocationRecord | OpenRecord | None: ...

    def latest(
        self, limit: int, *, after: datetime | None = None, tenant: TenantId | None = None
    ) -> Sequence[InvocationRecord]:
        """The newest closed records, newest first; only those after `after`, and of one tenant, when given."""
        ...

    def overdue(self, before: datetime, limit: int) -> Sequence[OpenRecord]:
        """Open records whose deadline lies before `before`, of those that are watched; never by scan."""
        ...


class RecordLists(Protocol):
    """What whoever reads the log's stream tells of it: which records are the newest, which intents may be overdue."""

    def note(self, records: Sequence[InvocationRecord]) -> None:
        """They are closed, and in the lists from now on. Repeating it changes nothing."""
        ...

    def watch(self, intents: Sequence[OpenRecord]) -> None:
        """They are still open long after they were written: to be looked at when their deadline is past."""
        ...


class RecordKey(NamedTuple):
    """Where the log keeps a record; `timestamp` as it is written there."""

    invocation_id: str
    timestamp: str


class RecordedRecords(Protocol):
    """What the log holds under keys that somebody names."""

    def recorded(self, keys: Iterable[RecordKey]) -> Mapping[RecordKey, InvocationRecord | OpenRecord | InvalidRecord]:
        """Those that there are, as they are now; of one that does not parse, why."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class SpilledLine:
    """One spilled line: where it is known by, when it was written, and what it carries, not yet parsed."""

    id: str
    written_at: datetime
    text: str


class LineLog(Protocol):
    """A log that holds lines of one kind."""

    def put(self, lines: Sequence[str]) -> None:
        """Append them. `StoreUnavailable` when it takes none."""
        ...


class DeadLetters(Protocol):
    """Where the stream consumer keeps what it cannot fold, for a person to look at and to replay."""

    def set_aside(self, stream_record: Mapping[str, object], why: str) -> None:
        """Keep a stream record whole; again, the same one stays one. `StoreUnavailable` when that fails."""
        ...


class SpanSink(Protocol):
    """Where spans go."""

    def export(self, body: Mapping[str, object]) -> None:
        """One `ExportTraceServiceRequest` of OTLP. `StoreUnavailable` when it is not taken."""
        ...


class CloudMonitor(Protocol):
    """One cloud's own monitoring, which is told of its copies."""

    @property
    def provider(self) -> Provider: ...

    def put(self, rows: Sequence[Mapping[str, object]], states: Iterable[EndpointState]) -> None:
        """Rows of attempts, and the states of the copies that they are of. `StoreUnavailable` for what is not taken."""
        ...


class SpilledRecords(Protocol):
    """The lines of the orchestrator's output that carry what the log's table did not take."""

    def pages(self, start: datetime, end: datetime) -> Iterable[Sequence[SpilledLine]]:
        """Those written from `start` on and before `end`, in no particular order. They may appear some seconds late."""
        ...


class Watermark(Protocol):
    """Up to when spilled lines were read and replayed."""

    def read(self) -> datetime | None:
        """None when none ever was."""
        ...

    def move(self, to: datetime) -> None: ...


class EndpointStates(Protocol):
    """The folded state per function and endpoint."""

    def of_function(self, function: FunctionName) -> Mapping[EndpointId, EndpointState]: ...

    def folded_among(self, function: FunctionName, records: Sequence[InvocationRecord]) -> frozenset[InvocationId]:
        """Which of these records of one function are folded. Asked after the states are read: what was committed in
        between is known then, or makes the commit fail."""
        ...

    def items_of(self, record: InvocationRecord) -> frozenset[str]:
        """What marking a record takes of a transaction's items, by names that records may have in common."""
        ...

    def commit(
        self, function: FunctionName, states: Sequence[EndpointState], records: Sequence[InvocationRecord]
    ) -> None:
        """Write new states and mark the records that they were folded from, all or nothing.

        `WriteConflict` if a state's version is no longer `version - 1`.
        """
        ...


class Rollups(Protocol):
    """What was counted of each function when its minutes ended: of a day by the minute, of 90 days by the hour."""

    def keep(self, function: FunctionName, rollups: "Sequence[Rollup]") -> None:
        """Each under its minute, and its hour, unless one of more records stands there. Survives repetition."""
        ...

    def between(
        self, function: FunctionName, start: datetime, end: datetime, *, by_hour: bool, step_s: int = 60
    ) -> "Sequence[Rollup]":
        """Those whose minute (hour) begins within [start, end), the oldest first, after the newest one before `start`,
        if any; of each `step_s` seconds the last, which tells of all of them."""
        ...

    def newest_before(self, function: FunctionName, moment: datetime) -> "Rollup | None":
        """The newest whose minute begins before that."""
        ...


class SharedBreakers(Protocol):
    """What environments tell each other: breakers that opened and closed, calls that are late. Nobody depends on it."""

    def read(self) -> Sequence[Notice]:
        """The latest transition of each breaker that changed lately, and the calls that were late lately."""
        ...

    def write(self, notice: Notice) -> None:
        """Keep one, unless a newer one of the same breaker, or of the same teller and endpoint, is there."""
        ...

    def retract(self, late: SlowCall) -> None:
        """A late call was answered after all. Repeating it changes nothing."""
        ...


class Snapshots(Protocol):
    """Published catalog snapshots: immutable by version, with a pointer to the current one."""

    def current(self, *, unless_version: int | None = None) -> Snapshot | None:
        """The current snapshot, verified; None when it still has `unless_version`, or none was published.
        `InvalidCatalog` for one that is damaged, or that nobody trusted has signed for this stage."""
        ...

    def attested(self) -> int | None:
        """The version that its signature alone attests as published; None when there is none."""
        ...

    def publish(self, snapshot: Snapshot) -> None:
        """Store a version, signed, and point to it. An older version never replaces a newer one. `WriteConflict` when
        somebody else publishes at the same time, or has published something else under its number."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogVersion:
    """The catalog as PostgreSQL has it: the newest row version and every entry."""

    version: int
    changed_at: datetime
    entries: Mapping[FunctionName, CatalogEntry]
    rules: StageRules = NO_RULES


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyChange:
    """A version at which a function's policy changed: when, and by whom."""

    version: int
    changed_at: datetime
    author: str


class CatalogStore(Protocol):
    """The source of catalog and policies (PostgreSQL). Never on the request path."""

    def load(self, version: int | None = None) -> CatalogVersion:
        """The newest version (0 without entries when nothing was ever applied), or another one: `InvalidCatalog` when
        there is none such."""
        ...

    def history(self, function: FunctionName) -> Sequence[PolicyChange]:
        """The versions at which a function's policy changed, the newest first."""
        ...

    def replace(
        self,
        entries: Sequence[CatalogEntry],
        *,
        based_on: int,
        author: str,
        at_least: int = 0,
        rules: StageRules | None = None,
    ) -> CatalogVersion:
        """Write a new version of the whole catalog, numbered from `at_least` on; without `rules` they stay.
        `WriteConflict` if `based_on` is no longer the newest."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFiles:
    """A model as it is stored: the artifact's bytes and its card (JSON-able)."""

    pointer: ModelPointer
    artifact: bytes
    card: Mapping[str, object]


class ModelStore(Protocol):
    """Where models are published. The pointer moves last, so it always names a complete version, and remembers the one
    before it."""

    def champion(self) -> ModelPointer | None:
        """The pointer, or None when nothing was published."""
        ...

    def artifact(self, pointer: ModelPointer) -> bytes:
        """The artifact's bytes, unverified; `prediction.manifest.read` verifies. `ModelRefused` when missing."""
        ...

    def publish(self, files: ModelFiles, *, replaces: ModelPointer | None) -> None:
        """Store a version, then point to it.

        `WriteConflict` when the pointer no longer names `replaces`: somebody published meanwhile, and this version was
        compared with another champion. A pointer that does not parse counts as none.
        """
        ...

    def store(self, files: ModelFiles) -> None:
        """Store a version that nothing points to yet."""
        ...

    def point(self, pointer: ModelPointer, *, replaces: ModelPointer | None) -> None:
        """Point to a version that is stored already; otherwise as `publish`."""
        ...

    def promoted(self, version: str) -> ModelPointer | None:
        """A version that was the champion once, as its promotion was signed; None when it is not kept."""
        ...

    def keep_newest(self, count: int) -> None:
        """Drop all versions but the newest, the champion and the one before it."""
        ...


class PromotionWitness(Protocol):
    """The newest promotion of a model as it was signed, kept where whoever writes models cannot put back an old one."""

    def read(self) -> SignedText | None:
        """None when there is none. Its signature is not verified here."""
        ...

    def keep(self, stated: SignedText, *, replaces: SignedText | None) -> None:
        """Keep it. `WriteConflict` when what is kept is no longer `replaces`: somebody promoted meanwhile."""
        ...


class Signer(Protocol):
    """Who may say that a model or a catalog is ours. Retrainer and keeper have one; who reads knows the public half."""

    def sign(self, message: bytes) -> tuple[str, bytes]:
        """The key's id and the signature (RSASSA-PKCS1-v1_5, SHA-256). `StoreUnavailable` when it cannot sign now."""
        ...


class ArchiveSink(Protocol):
    """Where finished records go, by the hour."""

    def append(self, records: Sequence[InvocationRecord], *, batch_id: str) -> None:
        """Store a batch under its id. Repeating it changes nothing."""
        ...


class Archive(ArchiveSink, Protocol):
    """Finished records by the hour, in S3. Training reads this, never the table."""

    def since(
        self,
        first: date,
        *,
        most: int | None = None,
        ends_at: datetime | None = None,
        extent: "Extent | None" = None,
    ) -> Iterable[InvocationRecord]:
        """The records from a day, or a moment, on: once by id, in no particular order; a final one in place of an
        unknown one.

        `most` records, all when it is None: each hour has the same share, what it does not need goes to others, and
        within an hour each function's first few come before another's many. Nothing more after `ends_at`, for which
        newer hours come first. `extent` is told what is read. `StoreUnavailable` when it cannot be read at all; a few
        objects that cannot are left out.
        """
        ...


class RetrainingRuns(Protocol):
    def append(self, run: RetrainingRun) -> None:
        """Record a run, in place of what was recorded of the one that began at the same moment."""
        ...

    def latest(self, limit: int) -> Sequence[RetrainingRun]:
        """The newest runs, newest first."""
        ...


class DriftReports(Protocol):
    def append(self, report: "DriftReport") -> None:
        """Keep a report, in place of one of the same moment."""
        ...

    def latest(self, limit: int) -> Sequence["DriftReport"]:
        """The newest reports, newest first."""
        ...


class LeaseKeys(Protocol):
    def read(self) -> "Keyring":
        """The keys as they are now. `LeasingNotSetUp` when there are none, `StoreUnavailable` when nobody can tell."""
        ...


class IdempotencyKeys(Protocol):
    """What stands under idempotency keys. An entry past its `expires_at` counts as absent."""

    def claim(self, entry: "Entry", *, over: InvocationId | None = None) -> "Entry | None":
        """Write a claim where none stands, or only the unanswered one of `over`: None, also when it is repeated.

        Otherwise nothing is written and the entry that stands there comes back. `StoreUnavailable`, whether it was
        written or not.
        """
        ...

    def complete(self, entry: "Entry") -> None:
        """Add the answer to the claim of the same invocation; repeating it changes nothing.

        `WriteConflict` when that claim does not stand there any more, `AllowanceSpent` when the tenant's larger answers
        come to more than `domain.idempotency.MOST_KEPT_BYTES` in a day.
        """
        ...

    def find(self, id: "EntryId") -> "Entry | None":
        """The entry, read consistently."""
        ...

    def release(self, entry: "Entry") -> None:
        """Remove the claim of this invocation while it has no answer; another one's is left alone."""
        ...


class Metrics(Protocol):
    """Counters and gauges that reach the operator's dashboards and alarms."""

    def add(self, name: str, value: float, unit: str, **dimensions: str) -> None:
        """Count one value of a metric (units as CloudWatch names them)."""
        ...


class IssuerKeys(Protocol):
    def read(self) -> Mapping[str, SigningKey]:
        """The usable keys by id, as they are now. `StoreUnavailable` when nobody can tell."""
        ...


class SigningKeys(Protocol):
    def find(self, id: str) -> SigningKey | None:
        """The key of an id, or None. `StoreUnavailable` while none could ever be read."""
        ...


class TokenVerifier(Protocol):
    """Turns a token into its verified claims."""

    def verify(self, token: str) -> Claims:
        """The claims. `NotAuthenticated` for a token that is not to be trusted, whatever the reason;
        `StoreUnavailable` while the issuer's keys could never be read."""
        ...


class TenantUse(Protocol):
    """What tenants have spent of their quotas, counted in one place. Losing it harms nobody."""

    def add(self, tenant: TenantId, spent: float, seen: Seen | None) -> Use:
        """Add to a tenant's count, and leave what was seen of its bucket here (None leaves what is there).

        Returns the count after, with what was seen last. `StoreError` when it cannot be done.
        """
        ...
