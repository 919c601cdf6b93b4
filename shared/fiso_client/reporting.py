"""Reporting: outcomes wait in a bounded queue and go to FISO in batches, from a thread of their own or by `flush`.

A batch that got no answer is sent again: FISO keeps each outcome once. When the queue is full the oldest go first, and
are counted: a client must not run out of memory because FISO is unavailable.
"""

import logging
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from threading import Condition, Lock, Thread
from typing import Any

from fiso_client.api import FisoApi, FisoAway, FisoDeclined, FisoRefused

MOST_AT_ONCE = 100
LONGEST_PAUSE_S = 30.0

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """One outcome under a token, as it is sent, and when it was queued."""

    token: str
    outcome: Mapping[str, Any]
    queued_at: float


@dataclass(slots=True)
class Tally:
    """What became of outcomes so far. `dropped` never reached FISO, `rejected` did and were not believed."""

    accepted: int = 0
    repeated: int = 0
    rejected: int = 0
    dropped: int = 0

    def __add__(self, other: "Tally") -> "Tally":
        return Tally(*(getattr(self, own.name) + getattr(other, own.name) for own in fields(Tally)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """A batch goes when `batch` outcomes wait, or the oldest waits for `age_s`; at most `capacity` wait."""

    batch: int = 50
    age_s: float = 5.0
    capacity: int = 10_000
    retry_s: float = 1.0

    def __post_init__(self) -> None:
        if not (1 <= self.batch <= MOST_AT_ONCE <= self.capacity and self.age_s > 0 and self.retry_s > 0):
            raise ValueError(f"batch must be from 1 to {MOST_AT_ONCE}, capacity at least that, times above 0")


class Reporter:
    """Safe to use from several threads. The thread starts with the first outcome and is a daemon."""

    def __init__(self, api: FisoApi, *, pace: Pace, stopwatch: Callable[[], float], background: bool) -> None:
        self._api, self._pace, self._stopwatch, self._background = api, pace, stopwatch, background
        self._waiting: deque[Report] = deque()
        self._changed = Condition()
        self._sending = Lock()
        self._thread: Thread | None = None
        self._closed = False
        self.tally = Tally()

    @property
    def waiting(self) -> int:
        """Outcomes that were not sent yet."""
        return len(self._waiting)

    def add(self, token: str, outcome: Mapping[str, Any]) -> None:
        """Queue one outcome."""
        with self._changed:
            self._waiting.append(Report(token=token, outcome=outcome, queued_at=self._stopwatch()))
            self._drop_oldest()
            if self._background and self._thread is None and not self._closed:
                self._thread = Thread(target=self._run, name="fiso-outcomes", daemon=True)
                self._thread.start()
            self._changed.notify()

    def flush(self) -> bool:
        """Send everything that waits; False if FISO did not take it, which then waits on."""
        while self._waiting:
            if not self._send_batch():
                return False
        return True

    def close(self) -> None:
        """Stop the thread and flush once."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        if self._thread is not None:
            self._thread.join()
        if not self.flush():
            self.tally.dropped += len(self._waiting)
            logger.warning("%d outcomes were not reported", len(self._waiting))

    def _run(self) -> None:
        pause_s = self._pace.retry_s
        while self._await_batch():
            if self._send_batch():
                pause_s = self._pace.retry_s
                continue
            with self._changed:
                if not self._closed:
                    self._changed.wait_for(lambda: self._closed, timeout=pause_s)
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)

    def _await_batch(self) -> bool:
        """Wait until a batch is due; False once closed."""
        with self._changed:
            while not self._closed:
                if len(self._waiting) >= self._pace.batch:
                    return True
                left_s = None
                if self._waiting:
                    left_s = self._waiting[0].queued_at + self._pace.age_s - self._stopwatch()
                    if left_s <= 0:
                        return True
                self._changed.wait(left_s)
            return False

    def _send_batch(self) -> bool:
        """Send the oldest batch; False if FISO is unavailable, the batch then waits at its old place."""
        with self._sending:
            with self._changed:
                batch = [self._waiting.popleft() for _ in range(min(MOST_AT_ONCE, len(self._waiting)))]
            if not batch:
                return True
            try:
                verdict = self._api.report(_grouped(batch))
            except (FisoAway, FisoDeclined) as error:
                logger.warning("%d outcomes wait, FISO is unavailable: %s", len(batch), error)
                with self._changed:
                    self._waiting.extendleft(reversed(batch))
                    self._drop_oldest()
                return False
            except FisoRefused as error:
                logger.error("FISO does not take the report: %s", error)
                self.tally.dropped += len(batch)
                return True
            self._count(verdict)
            return True

    def _count(self, verdict: Mapping[str, Any]) -> None:
        self.tally.accepted += int(verdict.get("accepted", 0))
        self.tally.repeated += int(verdict.get("repeated", 0))
        self.tally.rejected += int(verdict.get("rejected", 0))
        for problem in verdict.get("problems", ())[:3]:
            logger.warning("an outcome was rejected: %s", problem)

    def _drop_oldest(self) -> None:
        while len(self._waiting) > self._pace.capacity:
            self._waiting.popleft()
            self.tally.dropped += 1


def _grouped(batch: Sequence[Report]) -> list[dict[str, Any]]:
    by_token: dict[str, list[Mapping[str, Any]]] = {}
    for report in batch:
        by_token.setdefault(report.token, []).append(report.outcome)
    return [{"token": token, "outcomes": outcomes} for token, outcomes in by_token.items()]
