"""The ports in memory, for tests, benchmarks and replays. They keep the same promises as the stores do."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, time
from threading import Lock
from typing import TYPE_CHECKING

from fiso.adapters.aws.models import names_same
from fiso.codecs.record import instant
from fiso.domain.archive import Extent
from fiso.domain.catalog import CatalogEntry, Snapshot, stamped
from fiso.domain.endpoint import Endpoint, EndpointId, FunctionName
from fiso.domain.errors import (
    InvalidCatalog,
    InvalidRecord,
    LeasingNotSetUp,
    ModelRefused,
    StoreUnavailable,
    WriteConflict,
)
from fiso.domain.model import ModelPointer, RetrainingRun
from fiso.domain.record import Admits, InvocationRecord, OpenRecord, RecordStatus, trouble_of
from fiso.domain.request import InvocationId, InvocationRequest, TenantId
from fiso.domain.signed import SignedText
from fiso.domain.stage_rules import StageRules
from fiso.domain.state import EndpointState
from fiso.ports import CatalogVersion, Clock, ModelFiles, PolicyChange, RecordKey, SpilledLine
from fiso.routing.breaker_notices import Notice, SlowCall
from fiso.routing.quota import Seen, Use
from fiso_client.core.answers import FunctionAnswer
from fiso_client.core.failures import ProviderError

if TYPE_CHECKING:
    from fiso.codecs.lease_token import Keyring

Respond = Callable[[Endpoint, InvocationRequest, float], FunctionAnswer | ProviderError]


class InMemoryStore:
    """What every store in memory has: `operations` counts them by name, and `before` is called with that name ahead
    of each one. It may raise what the store would (see `away`), wait, or do what somebody else does meanwhile."""

    def __init__(self) -> None:
        self.operations = Counter[str]()
        self.before: Callable[[str], None] = answering

    def used(self, operation: str) -> None:
        """An operation begins."""
        self.operations[operation] += 1
        self.before(operation)


def answering(operation: str) -> None:
    """As `before`: a store that is well."""


def away(message: str = "away", *operations: str) -> Callable[[str], None]:
    """As `before`: a store that does not answer, or not these operations."""

    def fail(operation: str) -> None:
        if not operations or operation in operations:
            raise StoreUnavailable(message)

    return fail


class InMemoryFunctionCaller:
    """Answers by a function of endpoint, request and timeout; a returned `ProviderError` is raised. Keeps the calls."""

    def __init__(self, respond: Respond) -> None:
        self._respond = respond
        self.calls: list[tuple[EndpointId, InvocationRequest]] = []

    def call(self, endpoint: Endpoint, request: InvocationRequest, *, timeout_ms: float) -> FunctionAnswer:
        """One call."""
        self.calls.append((endpoint.id, request))
        answer = self._respond(endpoint, request, timeout_ms)
        if isinstance(answer, ProviderError):
            raise answer
        return answer


class InMemoryInvocationLog(InMemoryStore):
    """Records by id."""

    def __init__(self) -> None:
        super().__init__()
        self.records: dict[InvocationId, InvocationRecord | OpenRecord] = {}

    def open(self, record: OpenRecord) -> None:
        self.used("open")
        self.records.setdefault(record.invocation_id, record)

    def close(self, record: InvocationRecord) -> bool:
        self.used("close")
        stored = self.records.get(record.invocation_id)
        if stored == record:
            return False
        corrects = record.status is RecordStatus.FINAL
        if isinstance(stored, InvocationRecord) and not (corrects and stored.status is RecordStatus.UNKNOWN):
            raise WriteConflict(f"record {record.invocation_id} is closed already")
        self.records[record.invocation_id] = record
        return True

    def find(self, invocation_id: InvocationId) -> InvocationRecord | OpenRecord | None:
        self.used("find")
        return self.records.get(invocation_id)

    def latest(
        self, limit: int, *, after: datetime | None = None, tenant: TenantId | None = None
    ) -> Sequence[InvocationRecord]:
        self.used("latest")
        closed = [r for r in self.records.values() if isinstance(r, InvocationRecord)]
        wanted = [r for r in closed if (after is None or r.timestamp > after) and tenant in (None, r.request.tenant)]
        return sorted(wanted, key=lambda r: (r.timestamp, r.invocation_id), reverse=True)[:limit]

    def troubled(
        self, limit: int, *, after: datetime | None = None, tenant: TenantId | None = None, admits: Admits = bool
    ) -> Sequence[InvocationRecord]:
        found = ((record, trouble_of(record)) for record in self.latest(len(self.records), after=after, tenant=tenant))
        return [record for record, trouble in found if trouble is not None and admits(trouble)][:limit]

    def recorded(self, keys: Iterable[RecordKey]) -> Mapping[RecordKey, InvocationRecord | OpenRecord | InvalidRecord]:
        self.used("recorded")
        stored = {RecordKey(id, instant(record.timestamp)): record for id, record in self.records.items()}
        return {key: stored[key] for key in keys if key in stored}

    def overdue(self, before: datetime, limit: int) -> Sequence[OpenRecord]:
        self.used("overdue")
        still_open = [r for r in self.records.values() if isinstance(r, OpenRecord)]
        return [r for r in still_open if r.deadline_at < before][:limit]


class InMemoryRecordLists(InMemoryStore):
    """What was told, by id. `InMemoryInvocationLog` has its lists by itself."""

    def __init__(self) -> None:
        super().__init__()
        self.noted: set[InvocationId] = set()
        self.open: set[InvocationId] = set()

    def note(self, records: Sequence[InvocationRecord]) -> None:
        self.used("note")
        self.noted.update(record.invocation_id for record in records)

    def watch(self, intents: Sequence[OpenRecord]) -> None:
        self.used("watch")
        self.open.update(intent.invocation_id for intent in intents)


class InMemorySpilledRecords(InMemoryStore):
    """Lines that a test adds."""

    def __init__(self, *lines: SpilledLine) -> None:
        super().__init__()
        self.lines = list(lines)

    def pages(self, start: datetime, end: datetime) -> Iterable[Sequence[SpilledLine]]:
        self.used("pages")
        return [[line for line in self.lines if start <= line.written_at < end]]


class InMemoryWatermark(InMemoryStore):
    """One moment."""

    def __init__(self) -> None:
        super().__init__()
        self.moment: datetime | None = None

    def read(self) -> datetime | None:
        self.used("read")
        return self.moment

    def move(self, to: datetime) -> None:
        self.used("move")
        self.moment = to


class InMemoryEndpointStates(InMemoryStore):
    """States by function and endpoint, with the ids already folded."""

    def __init__(self) -> None:
        super().__init__()
        self.states: dict[tuple[FunctionName, EndpointId], EndpointState] = {}
        self.folded: set[InvocationId] = set()

    def of_function(self, function: FunctionName) -> Mapping[EndpointId, EndpointState]:
        self.used("of_function")
        return {endpoint: state for (owner, endpoint), state in self.states.items() if owner == function}

    def folded_among(self, function: FunctionName, records: Sequence[InvocationRecord]) -> frozenset[InvocationId]:
        self.used("folded_among")
        return frozenset(record.invocation_id for record in records) & self.folded

    def items_of(self, record: InvocationRecord) -> frozenset[str]:
        return frozenset([str(int(record.timestamp.timestamp()) // 5)])

    def commit(
        self, function: FunctionName, states: Sequence[EndpointState], records: Sequence[InvocationRecord]
    ) -> None:
        self.used("commit")
        for state in states:
            stored = self.states.get((state.function, state.endpoint))
            if (stored.version if stored else 0) != state.version - 1:
                raise WriteConflict(f"state of {state.endpoint} changed meanwhile")
        self.states.update({(state.function, state.endpoint): state for state in states})
        self.folded.update(record.invocation_id for record in records)


class InMemorySharedBreakers(InMemoryStore):
    """The latest notice of each breaker, and of each teller and endpoint."""

    def __init__(self) -> None:
        super().__init__()
        self.latest: dict[tuple[object, ...], Notice] = {}

    def read(self) -> Sequence[Notice]:
        self.used("read")
        return list(self.latest.values())

    def write(self, notice: Notice) -> None:
        self.used("write")
        known = self.latest.get(_key(notice))
        if known is None or known.changed_at < notice.changed_at:
            self.latest[_key(notice)] = notice

    def retract(self, late: SlowCall) -> None:
        """Unless a later call took its place."""
        self.used("retract")
        if self.latest.get(_key(late)) == late:
            del self.latest[_key(late)]


def _key(notice: Notice) -> tuple[object, ...]:
    last = notice.teller if isinstance(notice, SlowCall) else notice.domain
    return (type(notice), notice.function, notice.endpoint, last)


class InMemorySnapshots(InMemoryStore):
    """Snapshots by version."""

    def __init__(self, *snapshots: Snapshot) -> None:
        super().__init__()
        self.versions = {snapshot.version: snapshot for snapshot in snapshots}

    def current(self, *, unless_version: int | None = None) -> Snapshot | None:
        self.used("current")
        newest = max(self.versions, default=None)
        return None if newest is None or newest == unless_version else self.versions[newest]

    def attested(self) -> int | None:
        self.used("attested")
        return max(self.versions, default=None)

    def of_version(self, version: int) -> Snapshot | None:
        return self.versions.get(version)

    def publish(self, snapshot: Snapshot) -> None:
        self.used("publish")
        if self.versions.setdefault(snapshot.version, snapshot) != snapshot:
            raise WriteConflict(f"version {snapshot.version} is published with other content")


class InMemoryModelStore(InMemoryStore):
    """Models by version and a pointer."""

    def __init__(self, *models: ModelFiles) -> None:
        super().__init__()
        self.models: dict[str, ModelFiles] = {}
        self.pointer: ModelPointer | None = None
        for files in models:
            self.publish(files, replaces=self.pointer)

    def champion(self) -> ModelPointer | None:
        self.used("champion")
        return self.pointer

    def artifact(self, pointer: ModelPointer) -> bytes:
        self.used("artifact")
        files = self.models.get(pointer.version)
        if files is None:
            raise ModelRefused(f"model {pointer.version} has no artifact")
        return files.artifact

    def publish(self, files: ModelFiles, *, replaces: ModelPointer | None) -> None:
        self.used("publish")
        self.models[files.pointer.version] = files
        self._point(files.pointer, replaces)

    def store(self, files: ModelFiles) -> None:
        self.used("store")
        self.models[files.pointer.version] = files

    def point(self, pointer: ModelPointer, *, replaces: ModelPointer | None) -> None:
        self.used("point")
        self._point(pointer, replaces)

    def promoted(self, version: str) -> ModelPointer | None:
        self.used("promoted")
        files = self.models.get(version)
        return None if files is None else files.pointer

    def keep_newest(self, count: int) -> None:
        self.used("keep_newest")
        now = self.pointer
        kept = {each.version for each in (now, now and now.previous, now and now.trial) if each is not None}
        for version in sorted(set(self.models) - kept, reverse=True)[max(0, count - len(kept)) :]:
            del self.models[version]

    def _point(self, pointer: ModelPointer, replaces: ModelPointer | None) -> None:
        if not names_same(self.pointer, replaces):
            raise WriteConflict("another model was published meanwhile")
        self.pointer = pointer


class InMemoryPromotionWitness(InMemoryStore):
    """One signed promotion."""

    def __init__(self, kept: SignedText | None = None) -> None:
        super().__init__()
        self.kept = kept

    def read(self) -> SignedText | None:
        self.used("read")
        return self.kept

    def keep(self, stated: SignedText, *, replaces: SignedText | None) -> None:
        self.used("keep")
        if self.kept != replaces:
            raise WriteConflict("another model was promoted meanwhile")
        self.kept = stated


class InMemoryArchive(InMemoryStore):
    """Batches of records by batch id."""

    def __init__(self) -> None:
        super().__init__()
        self.batches: dict[str, tuple[InvocationRecord, ...]] = {}

    def append(self, records: Sequence[InvocationRecord], *, batch_id: str) -> None:
        self.used("append")
        self.batches[batch_id] = tuple(records)

    def since(
        self,
        first: date,
        *,
        most: int | None = None,
        ends_at: datetime | None = None,
        extent: Extent | None = None,
    ) -> Iterable[InvocationRecord]:
        self.used("since")
        start = first if isinstance(first, datetime) else datetime.combine(first, time(), UTC)
        every = [record for batch in self.batches.values() for record in batch]
        every.sort(key=lambda record: record.status is RecordStatus.FINAL)
        records = {record.invocation_id: record for record in every if record.timestamp >= start}
        found = list(records.values())[:most]
        if extent is not None:
            extent.records, extent.standing = len(found), len(records)
        return found


class InMemoryDeadLetters(InMemoryStore):
    """What was set aside, with why."""

    def __init__(self) -> None:
        super().__init__()
        self.letters: list[tuple[Mapping[str, object], str]] = []

    def set_aside(self, stream_record: Mapping[str, object], why: str) -> None:
        self.used("set_aside")
        if (stream_record, why) not in self.letters:
            self.letters.append((stream_record, why))


class InMemoryRetrainingRuns(InMemoryStore):
    """Runs in the order they came."""

    def __init__(self) -> None:
        super().__init__()
        self.runs: list[RetrainingRun] = []

    def append(self, run: RetrainingRun) -> None:
        self.used("append")
        self.runs = [known for known in self.runs if known.started_at != run.started_at] + [run]

    def latest(self, limit: int) -> Sequence[RetrainingRun]:
        self.used("latest")
        return sorted(self.runs, key=lambda run: run.started_at, reverse=True)[:limit]


class InMemoryMetrics:
    """What was counted, as (name, value, dimensions)."""

    def __init__(self) -> None:
        self.values: list[tuple[str, float, dict[str, str]]] = []

    def add(self, name: str, value: float, unit: str, **dimensions: str) -> None:
        self.values.append((name, value, dimensions))

    def total(self, name: str) -> float:
        """The sum of a metric over all dimensions."""
        return sum(value for known, value, _ in self.values if known == name)


class InMemoryLeaseKeys(InMemoryStore):
    """Keys that a test sets; None stands for a parameter that does not exist."""

    def __init__(self, keys: "Keyring | None") -> None:
        super().__init__()
        self.keys = keys

    def read(self) -> "Keyring":
        self.used("read")
        if self.keys is None:
            raise LeasingNotSetUp("no keys")
        return self.keys


class InMemoryTenantUse(InMemoryStore):
    """Counts by tenant."""

    def __init__(self) -> None:
        super().__init__()
        self.uses: dict[TenantId, Use] = {}
        self.writes = 0

    def add(self, tenant: TenantId, spent: float, seen: Seen | None) -> Use:
        self.used("add")
        before = self.uses.get(tenant, Use(total=0.0))
        self.writes += 1
        self.uses[tenant] = Use(total=before.total + spent, seen=seen or before.seen)
        return self.uses[tenant]


NOTHING_APPLIED = CatalogVersion(version=0, changed_at=datetime(1970, 1, 1, tzinfo=UTC), entries={})


def _utc_now() -> datetime:
    return datetime.now(UTC)


class InMemoryCatalogStore(InMemoryStore):
    """`CatalogStore` with the same promises as PostgreSQL's."""

    def __init__(self, clock: Clock = _utc_now) -> None:
        super().__init__()
        self._clock = clock
        self._lock = Lock()
        self._versions = [NOTHING_APPLIED]
        self.authors: list[str] = []

    def load(self, version: int | None = None) -> CatalogVersion:
        self.used("load")
        if version is None:
            return self._versions[-1]
        found = next((made for made in self._versions if made.version == version), None)
        if found is None:
            raise InvalidCatalog(f"the catalog has no version {version}")
        return found

    def history(self, function: FunctionName) -> Sequence[PolicyChange]:
        self.used("history")
        return [
            PolicyChange(version=made.version, changed_at=made.changed_at, author=author)
            for made, author in reversed([*zip(self._versions, ["", *self.authors], strict=True)])
            if function in made.entries and made.entries[function].policy.version == made.version
        ]

    def replace(
        self,
        entries: Sequence[CatalogEntry],
        *,
        based_on: int,
        author: str,
        at_least: int = 0,
        rules: StageRules | None = None,
    ) -> CatalogVersion:
        self.used("replace")
        with self._lock:
            newest = self._versions[-1]
            if based_on != newest.version:
                raise WriteConflict(f"the catalog is at version {newest.version}, not {based_on}")
            version = max(newest.version + 1, at_least)
            stamped_entries = stamped(entries, replaced=newest.entries, version=version)
            made = CatalogVersion(
                version=version,
                changed_at=self._clock(),
                entries=stamped_entries,
                rules=newest.rules if rules is None else rules,
            )
            self._versions.append(made)
            self.authors.append(author)
            return made
