"""What a front door without tables keeps in its own process: states, breakers and tenants' use, lost with it.

Its environments share them as those of a region share a table (`adapters.aws.dynamodb_states` and its siblings).
"""

from collections.abc import Mapping, Sequence
from threading import Lock

from fiso.codecs.lease_token import Keyring
from fiso.domain.endpoint import EndpointId, FunctionName
from fiso.domain.errors import LeasingNotSetUp, StoreUnavailable
from fiso.domain.idempotency import Entry, EntryId
from fiso.domain.record import InvocationRecord, RecordStatus
from fiso.domain.request import InvocationId, TenantId
from fiso.domain.state import EndpointState
from fiso.routing.breaker_notices import Notice, SlowCall
from fiso.routing.fold import fold
from fiso.routing.quota import Seen, Use

MOST_NOTICES, MOST_TENANTS = 1_000, 10_000


class ProcessStates:
    """The port `EndpointStates`, folded as records are closed here: each once, so none is marked."""

    def __init__(self) -> None:
        self._by_function: dict[FunctionName, Mapping[EndpointId, EndpointState]] = {}
        self._lock = Lock()

    def learn(self, record: InvocationRecord) -> None:
        if record.status is RecordStatus.FINAL:
            function = record.request.function_name
            with self._lock:
                self._by_function[function] = fold(self._by_function.get(function, {}), record)

    def of_function(self, function: FunctionName) -> Mapping[EndpointId, EndpointState]:
        return self._by_function.get(function, {})

    def folded_among(self, function: FunctionName, records: Sequence[InvocationRecord]) -> frozenset[InvocationId]:
        return frozenset()

    def items_of(self, record: InvocationRecord) -> frozenset[str]:
        return frozenset()

    def commit(
        self, function: FunctionName, states: Sequence[EndpointState], records: Sequence[InvocationRecord]
    ) -> None:
        raise StoreUnavailable("the states of a process are folded by `learn`")


class ProcessBreakers:
    """The port `SharedBreakers`: the latest notice of each breaker, and of each teller and endpoint."""

    def __init__(self) -> None:
        self._latest: dict[tuple[object, ...], Notice] = {}
        self._lock = Lock()

    def read(self) -> Sequence[Notice]:
        with self._lock:
            return list(self._latest.values())

    def write(self, notice: Notice) -> None:
        key = _key(notice)
        with self._lock:
            known = self._latest.pop(key, None)
            self._latest[key] = known if known is not None and known.changed_at >= notice.changed_at else notice
            while len(self._latest) > MOST_NOTICES:
                self._latest.pop(next(iter(self._latest)))

    def retract(self, late: SlowCall) -> None:
        with self._lock:
            if self._latest.get(_key(late)) == late:
                del self._latest[_key(late)]


class ProcessTenantUse:
    """The port `TenantUse`: a quota holds for each process of a door."""

    def __init__(self) -> None:
        self._uses: dict[TenantId, Use] = {}
        self._lock = Lock()

    def add(self, tenant: TenantId, spent: float, seen: Seen | None) -> Use:
        with self._lock:
            before = self._uses.pop(tenant, Use(total=0.0))
            used = self._uses[tenant] = Use(total=before.total + spent, seen=seen or before.seen)
            while len(self._uses) > MOST_TENANTS:
                self._uses.pop(next(iter(self._uses)))
            return used


class GivenLeaseKeys:
    """The port `LeaseKeys` over the text of a secret that the container was given; the same words at every door, so
    that each takes the other's leases."""

    def __init__(self, text: str) -> None:
        self._text = text

    def read(self) -> Keyring:
        if not self._text:
            raise LeasingNotSetUp("no key to sign leases with: set FISO_LEASE_KEYS")
        return Keyring.parsed(self._text)


class AbsentIdempotencyKeys:
    """The port `IdempotencyKeys` where no table is: what a policy's `on_key_store_loss` says holds."""

    def claim(self, entry: Entry, *, over: InvocationId | None = None) -> Entry | None:
        raise StoreUnavailable(_NO_TABLE)

    def complete(self, entry: Entry) -> None:
        raise StoreUnavailable(_NO_TABLE)

    def find(self, id: EntryId) -> Entry | None:
        raise StoreUnavailable(_NO_TABLE)

    def release(self, entry: Entry) -> None:
        raise StoreUnavailable(_NO_TABLE)


_NO_TABLE = "this front door holds no idempotency keys: they are in the tables on AWS"


def _key(notice: Notice) -> tuple[object, ...]:
    last = notice.teller if isinstance(notice, SlowCall) else notice.domain
    return (type(notice), notice.function, notice.endpoint, last)
