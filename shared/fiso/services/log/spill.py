"""Spilling: what the log's table does not take goes whole to standard output, from where the keeper replays it.

A request waits for the log at most once, and for LONGEST_WAIT_S. One line of JSON carries the intent or the record as
`log_spill`, marked by a key of FISO's own, a second one where the key came later; CloudWatch keeps them, and
`services.log.reconcile` writes what is marked under the same conditions. A write whose answer was lost may have
succeeded: every write is conditional, so a repeated one changes nothing.

closed   every write is tried, a quick failure twice.
open     after FAILURES failures in a row, or one that took the whole wait: writes are spilled at once, for a time that
         doubles with every failed probe, up to LONGEST_OPEN_S.
probing  the time is over: one write tries; its success closes, its failure opens again. The others are spilled.
"""

import logging
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from threading import Lock
from time import monotonic
from typing import TYPE_CHECKING

from fiso.codecs.record import open_to_document, to_document
from fiso.codecs.typed import Json
from fiso.domain.errors import StoreError, StoreUnavailable, WriteConflict
from fiso.domain.record import InvocationRecord, OpenRecord
from fiso.domain.request import InvocationId
from fiso.ports import InvocationLog, Metrics
from fiso.services.freshness.cached import CachedValue
from fiso_client.core.redaction import redact_document

if TYPE_CHECKING:
    from fiso.codecs.lease_token import Keyring

MARK = "log_spill"
"""The message of a spilled line, and the name under which it carries its document."""
LONGEST_WAIT_S = 0.2
"""The time limit of one write. A refresh of what is known may add 50 ms twice: together 300 ms."""
QUICK_S = 0.02
"""A failure that came sooner is tried once more: two tries then still end within the limit and this."""
FAILURES = 3
KEYS_FRESH_S, KEYS_AGAIN_S = 300.0, 30.0
"""When the key is read again, and when once more where there is none yet."""
LONGEST_KEY_WAIT_S = 0.3
"""For the key, once in an environment that spills before it has read one: after the function's answer, which it is read
beside where the intent was spilled already."""
MOST_UNMARKED = 100
"""Lines that an environment keeps, to write them again with a mark."""
FIRST_OPEN_S = 1.0
LONGEST_OPEN_S = 8.0

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class LogBreaker:
    """Whether the next write may be tried. Safe to use from several threads; times in seconds, monotonic."""

    failures_in_row: int = 0
    trips_in_row: int = 0
    retry_at: float | None = None

    def admits(self, now: float) -> bool:
        """Whether a write may be tried now; one that may is the probe when the breaker was open."""
        if self.retry_at is None:
            return True
        if now < self.retry_at:
            return False
        self.retry_at = now + FIRST_OPEN_S  # the probe's turn: nobody else tries, and one that is never heard of ends
        return True

    def succeeded(self) -> None:
        self.failures_in_row, self.trips_in_row, self.retry_at = 0, 0, None

    def failed(self, now: float, *, took_s: float) -> None:
        self.failures_in_row += 1
        if self.failures_in_row >= FAILURES or took_s > LONGEST_WAIT_S / 2 or self.retry_at is not None:
            self.retry_at = now + min(LONGEST_OPEN_S, FIRST_OPEN_S * 2**self.trips_in_row)
            self.trips_in_row = min(self.trips_in_row + 1, 10)


class SpillingLog:
    """The log as the request path writes it: `open` and `close` never raise. `keys` marks what is spilled; it is made
    when it is first asked for. `as_before`: each line stands there once more, as keepers of before read it."""

    def __init__(
        self,
        log: InvocationLog,
        *,
        metrics: Metrics,
        stopwatch: Callable[[], float] = monotonic,
        keys: "Callable[[], CachedValue[Keyring]] | None" = None,
        as_before: bool = False,
    ) -> None:
        self._log, self._metrics, self._stopwatch, self._keys = log, metrics, stopwatch, keys
        self._as_before = as_before
        self._keys_asked_at_s: float | None = None
        self._key_wait_s = LONGEST_KEY_WAIT_S
        self._breaker, self._lock = LogBreaker(), Lock()
        self._spilled: set[InvocationId] = set()
        self._unmarked: deque[tuple[object, str]] = deque(maxlen=MOST_UNMARKED)

    @property
    def is_spilling(self) -> bool:
        return self._breaker.failures_in_row > 0 or self._breaker.retry_at is not None

    def refresh_in_background(self) -> None:
        """Read the key ahead of need: where the table is away, what keeps the key may be away too."""
        if self._keys is None:
            return
        now_s = self._stopwatch()
        if self._keys_asked_at_s is None:  # not in an environment's first request, which pays for its start
            self._keys_asked_at_s = now_s - KEYS_FRESH_S
            return
        waited_s = now_s - self._keys_asked_at_s
        if waited_s >= KEYS_FRESH_S or (waited_s >= KEYS_AGAIN_S and self._keys().value is None):
            self._keys_asked_at_s = now_s
            self._keys().refresh_in_background()
        self._mark_late()

    def open(self, intent: OpenRecord) -> None:
        cause = self._try(lambda: self._log.open(intent))
        if cause is not None:
            self._spilled.add(intent.invocation_id)
            self._spill(open_to_document(intent), cause, key_wait_s=0.0)

    def close(self, record: InvocationRecord) -> None:
        """Write or spill the record. A request that waited for its intent in vain does not wait again."""
        waited = record.invocation_id in self._spilled
        self._spilled.discard(record.invocation_id)
        # One wait a request, for intent and record together (docs/decisions/0015-a-record-only-moves-up.md).
        if waited and self._breaker.retry_at is not None:
            cause: str | None = "its intent was spilled"
        else:
            cause = self._try(lambda: self._log.close(record))
        if cause is not None:
            self._spill(to_document(record), cause, key_wait_s=self._key_wait_s)
            self._key_wait_s = 0.0
        self._mark_late()

    def _try(self, write: Callable[[], object]) -> str | None:
        start = self._stopwatch()
        with self._lock:
            if not self._breaker.admits(start):
                return "the log was unavailable a moment ago"
        error = _attempt(write)
        # It may be a connection that died while the environment was frozen; two tries still end within the limit.
        if isinstance(error, StoreUnavailable) and self._stopwatch() - start < QUICK_S:
            error = _attempt(write)
        with self._lock:
            if isinstance(error, StoreUnavailable):
                now = self._stopwatch()
                self._breaker.failed(now, took_s=now - start)
            else:
                self._breaker.succeeded()
        return str(error) if error is not None else None

    def _spill(self, document: Mapping[str, Json], cause: str, *, key_wait_s: float) -> None:
        # Redacted before it is marked: nothing may change in a marked text.
        text, keyring = redact_document(document), self._keyring(key_wait_s)
        if keyring is None and self._keys is not None:
            self._unmarked.append((text, cause))
        self._put(text, cause, keyring)
        if self._as_before:
            logger.error(MARK, extra={MARK: text, "cause": cause})
        self._metrics.add("LogSpill", 1, "Count")

    def _mark_late(self) -> None:
        """What was spilled before there was a key is written again, with its mark: the keeper takes no other line."""
        if not self._unmarked or (keyring := self._keyring(0.0)) is None:
            return
        while self._unmarked:
            self._put(*self._unmarked.popleft(), keyring)

    def _keyring(self, at_most_s: float) -> "Keyring | None":
        return self._keys().get_or_wait(at_most_s=at_most_s) if self._keys else None

    def _put(self, text: object, cause: str, keyring: "Keyring | None") -> None:
        from fiso.codecs import spilled_line

        logger.error(MARK, extra={MARK: spilled_line.written(text, keyring), "cause": cause})


def _attempt(write: Callable[[], object]) -> StoreError | None:
    try:
        write()
    except (StoreUnavailable, WriteConflict) as error:
        return error
    return None
