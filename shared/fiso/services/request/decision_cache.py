"""DecisionCache: requests that are decided alike: what was worked out for one serves the next for five minutes. Pure.

Two requests share a context when function, catalog, model, hour, user region, wishes and the model's step of their size
are the same, and for every endpoint the octave of its load, the class of its idle time and what is known of it (levels
within 5 %, counts within their octave). Health is never cached: while an endpoint of the function has failed lately
there is no context, and breakers are read at every decision.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import count
from math import log
from typing import Generic, TypeAlias, TypeVar

from fiso.domain.catalog import CatalogEntry
from fiso.domain.endpoint import EndpointId, FunctionName
from fiso.domain.request import UNSTEERED, InvocationRequest
from fiso.domain.state import EndpointState, LoadLevel
from fiso.prediction import features
from fiso.prediction.artifact import Model
from fiso.routing import levels

TTL = timedelta(minutes=5)
MOST = 1_024
MOST_FINGERPRINTS = 16_384
LEAST_ERROR_RATE = 0.02
"""An endpoint with a lower recent error rate, and no failure since its last answer, is well."""

K = TypeVar("K")
V = TypeVar("V")
T = TypeVar("T")
B = TypeVar("B")
Key: TypeAlias = tuple[object, ...]
StateFingerprint: TypeAlias = tuple[object, ...]


class TtlCache(Generic[K, V]):
    """Values in two generations. When `span` is over, or the younger one holds `most`, the older one is dropped and
    the younger one takes its place; what is asked for is young again. Nothing unused outlives two spans."""

    def __init__(self, *, span: timedelta, most: int) -> None:
        self._span, self._most = span, most
        self._young: dict[K, V] = {}
        self._old: dict[K, V] = {}
        self._begun: datetime | None = None

    def __len__(self) -> int:
        return len(self._young.keys() | self._old.keys())

    def get(self, key: K, now: datetime) -> V | None:
        begun = self._begun
        if begun is None or not begun <= now < begun + self._span:
            self._turn(now)
        value = self._young.get(key)
        if value is None and (value := self._old.get(key)) is not None:
            self._young[key] = value
        return value

    def put(self, key: K, value: V, now: datetime) -> None:
        if len(self._young) >= self._most:
            self._turn(now)
        self._young[key] = value

    def _turn(self, now: datetime) -> None:
        self._old, self._young, self._begun = self._young, {}, now


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheKeyInputs:
    """What a context is made of, beside the request."""

    entry: CatalogEntry
    snapshot_version: int
    states: Mapping[EndpointId, EndpointState]
    model: Model | None
    in_flight: float | None
    strategies: tuple[bool, ...] = ()
    held: EndpointId | None = None


@dataclass(frozen=True, slots=True)
class _Fingerprinted:
    """A state as it was last seen, with the number of its fingerprint."""

    state: EndpointState
    number: int
    load: int
    is_healthy: bool


@dataclass(slots=True)
class _CacheEntry(Generic[T]):
    value: T
    until: datetime
    entry: CatalogEntry  # kept alive, so that no other one gets its id

    def holds(self, now: datetime) -> bool:
        """Neither too old nor, after the clock was set back, from the future."""
        return self.until - TTL <= now < self.until


class DecisionCache(Generic[T, B]):
    """What was worked out per context, and what is believed of the endpoints, which many contexts share.

    Bounded, and forgets what was not used lately. Belongs to one execution environment.
    """

    def __init__(self, *, most_fingerprints: int = MOST_FINGERPRINTS) -> None:
        self._next_number = count()
        self._values: TtlCache[Key, _CacheEntry[T]] = TtlCache(span=TTL, most=MOST)
        self._believed: TtlCache[Key, _CacheEntry[B]] = TtlCache(span=TTL, most=MOST)
        self._seen: dict[tuple[FunctionName, EndpointId], _Fingerprinted] = {}
        self._numbers: TtlCache[StateFingerprint, int] = TtlCache(span=TTL, most=most_fingerprints)
        self.hits = 0
        self.misses = 0

    def get(self, request: InvocationRequest, key_inputs: CacheKeyInputs, now: datetime, make: Callable[[], T]) -> T:
        key = self._key(request, key_inputs, now)
        if key is None:
            return make()
        kept = self._values.get(key, now)
        if kept is not None and kept.holds(now):
            self.hits += 1
            return kept.value
        self.misses += 1
        value = make()
        self._values.put(key, _CacheEntry(value, now + TTL, key_inputs.entry), now)
        return value

    def beliefs(
        self,
        entry: CatalogEntry,
        states: Mapping[EndpointId, EndpointState],
        loads: Sequence[float],
        now: datetime,
        make: Callable[[], B],
    ) -> B:
        """What is believed of the endpoints at these loads; `make` when what is known of one has changed."""
        fingerprints = [
            None if state is None else self._fingerprinted(entry.name, state, now).number
            for state in (states.get(endpoint.id) for endpoint in entry.endpoints)
        ]
        key = (id(entry), *fingerprints, *map(levels.load_bucket, loads))
        kept = self._believed.get(key, now)
        if kept is not None and kept.holds(now):
            return kept.value
        value = make()
        self._believed.put(key, _CacheEntry(value, now + TTL, entry), now)
        return value

    def _key(self, request: InvocationRequest, key_inputs: CacheKeyInputs, now: datetime) -> Key | None:
        tokens = []
        name = key_inputs.entry.name
        for endpoint in key_inputs.entry.endpoints:
            state = key_inputs.states.get(endpoint.id)
            if state is None:
                tokens.append(-1)
                continue
            fingerprinted = self._fingerprinted(name, state, now)
            if not fingerprinted.is_healthy:
                return None  # a failure must change the very next decision
            idle_s = features.idle_seconds(now, state)
            # a silence shorter than the stream's lag is none: the load is then that of the last call
            load = (
                fingerprinted.load
                if idle_s <= features.STATE_LAG_S
                else levels.load_bucket(features.in_flight(now, state))
            )
            # One number for state, octave of load (13) and class of idle time (7): a tuple of three is slower to hash.
            tokens.append((fingerprinted.number * 16 + load) * 8 + levels.idle_bin(idle_s))
        model = key_inputs.model
        return (
            id(key_inputs.entry),  # an entry is never changed: another policy is another object, and hashing it is slow
            key_inputs.snapshot_version,
            model.version if model else None,
            model.size_step(len(request.body)) if model else 0,
            _size_step(len(request.body)),
            now.hour,
            now.weekday(),
            request.user_region,
            key_inputs.strategies,
            key_inputs.held if request.steering is UNSTEERED else (request.steering, key_inputs.held),
            None if key_inputs.in_flight is None else levels.load_bucket(key_inputs.in_flight),
            *tokens,
        )

    def _fingerprinted(self, function: FunctionName, state: EndpointState, now: datetime) -> _Fingerprinted:
        # a state read anew without a change gets the number that it had: 60 s of freshness must not empty the cache
        known = self._seen.get((function, state.endpoint))
        # States are read as new objects and kept as they are: the same object is the same state, without comparing it.
        if known is not None and known.state is state:
            return known
        fingerprint = _fingerprint_of(state)
        number = self._numbers.get(fingerprint, now)
        if number is None:  # never one that was given before, so what is kept under forgotten ones stays true
            number = next(self._next_number)
            self._numbers.put(fingerprint, number, now)
        fingerprinted = _Fingerprinted(state, number, levels.load_bucket(_steady_load(state)), _is_healthy(state))
        self._seen[function, state.endpoint] = fingerprinted
        return fingerprinted


def _is_healthy(state: EndpointState) -> bool:
    return not state.consecutive_failures and state.error_rate < LEAST_ERROR_RATE


def _steady_load(state: EndpointState) -> float:
    """The load while calls keep coming: Little's law, the silence left out."""
    return 0.0 if state.last_called_at is None else features.in_flight(state.last_called_at, state)


def _fingerprint_of(state: EndpointState) -> StateFingerprint:
    """All of a state that a decision depends on, in steps too small to change one."""
    slope = round(10 * state.shape_xy / (state.shape_xx + 0.25)) if state.shape_xx else 0
    return (
        *(part for bucket in sorted(state.levels) for part in (bucket, *_level_fingerprint(state.levels[bucket]))),
        _step(state.cold_latency_ms),
        _step(state.cold_cost_usd),
        state.cold_starts.bit_length(),
        tuple(calls.bit_length() for calls in state.idle_calls),
        tuple(colds.bit_length() for colds in state.idle_colds),
        state.shape_model_version,
        slope,
        _rival_fingerprint(state),
        None if state.answer_bytes is None else _size_step(int(state.answer_bytes)),
        state.attempts.bit_length(),
    )


def _rival_fingerprint(state: EndpointState) -> StateFingerprint | None:
    """Of a model on trial, so that what it shows counts for its own decisions at once."""
    rival = state.rival
    if rival is None:
        return None
    raw_logs = (part for bucket in sorted(rival.raw_logs) for part in (bucket, round(rival.raw_logs[bucket] * 10)))
    return (rival.model_version, round(10 * rival.xy / (rival.xx + 0.25)), *raw_logs)


def _level_fingerprint(level: LoadLevel) -> StateFingerprint:
    return (
        _count_step(level.answers),
        _count_step(level.warm),
        level.tries,
        _step(level.latency_ms),
        _step(level.cost_usd),
        round(level.cold_share * 20),
        None if level.raw_log is None else round(level.raw_log * 10),
        level.changed_at,
    )


def _size_step(size_bytes: int) -> int:
    """The octave of a size; below 1 KB sending it costs nothing that counts."""
    return (size_bytes >> 10).bit_length()


def sized_bytes(size_bytes: int) -> int:
    """What requests of one step are priced by."""
    step = _size_step(size_bytes)
    return 768 << step if step else 512


def _count_step(count: int) -> int:
    """Within a fifth: what tries may cost grows with the calls that were seen."""
    return round(4 * log(count + 1))


def _step(value: float | None) -> int | None:
    """Within 5 %."""
    return round(20 * log(value)) if value else None
