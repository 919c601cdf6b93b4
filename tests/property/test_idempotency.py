"""Laws of idempotency keys, over interleavings of requests, crashes at each step, store failures and passing time.

Every request is a thread that stops before each thing it does: a call of the store, the run of the function. The
machine lets one of them do one thing, lets it fail, or ends the thread there: a crash.
"""

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from threading import Semaphore, Thread
from typing import TypeVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from fiso.domain.errors import IdempotencyUnavailable, KeyInUse, KeyReused, StoreUnavailable
from fiso.domain.idempotency import GRACE, Entry, EntryId, KeptAnswer, entry_id
from fiso.domain.policy import Idempotent, OnKeyStoreLoss
from fiso.domain.request import InvocationId, InvocationRequest, TenantId
from fiso.ports import IdempotencyKeys
from fiso.services.request.idempotency import IdempotentRouting, KeyedAnswer, RunResult
from fiso.services.request.key_quorum import STORES, KeyQuorum
from fiso.testing.clock import ManualClock
from fiso.testing.memory import InMemoryMetrics, answering, away
from fiso.testing.memory_idempotency import InMemoryIdempotencyKeys
from fiso_cli.inline_executor import Inline
from tests.builders import NOW, a_policy, a_request, invocation_id

T = TypeVar("T")
KEYS = ("k1", "k2")
PAYLOADS = (b"a", b"b")
DEAD_S = (a_request().deadline_at - NOW + GRACE).total_seconds()


class Order(StrEnum):
    """What becomes of the thing that a request does next."""

    GO = "go"
    FAIL = "fail"  # not done, and the request is told so
    DEAF = "deaf"  # done, and the request is told that it failed
    CRASH = "crash"  # not done, and nothing after it
    CRASH_AFTER = "crash_after"  # done, and nothing after it


class Crash(BaseException):
    """The end of an execution environment."""


class Failed(StoreUnavailable):
    """A step failed; `was_done` is what only the world knows."""

    def __init__(self, *, was_done: bool) -> None:
        super().__init__("failed")
        self.was_done = was_done


class Stepped:
    """One request on a thread of its own, which stands still between two steps."""

    def __init__(self, request: InvocationRequest, answer: "Callable[[Stepped], KeyedAnswer]") -> None:
        self.request, self.metrics = request, InMemoryMetrics()
        self.given: KeyedAnswer | None = None
        self.is_over = False
        self.broken: AssertionError | None = None
        self._answer, self._order = answer, Order.GO
        self._go, self._still = Semaphore(0), Semaphore(0)
        Thread(target=self._run, daemon=True).start()
        self._still.acquire()

    def do(self, act: Callable[[], T]) -> T:
        """Stand still, then do as ordered. Called on the request's own thread."""
        self._still.release()
        self._go.acquire()
        order = self._order
        if order in (Order.CRASH, Order.FAIL):
            raise Crash if order is Order.CRASH else Failed(was_done=False)
        done = act()
        if order in (Order.CRASH_AFTER, Order.DEAF):
            raise Crash if order is Order.CRASH_AFTER else Failed(was_done=True)
        return done

    def step(self, order: Order = Order.GO) -> None:
        """Let it do one thing."""
        assert not self.is_over
        self._order = order
        self._go.release()
        self._still.acquire()

    def _run(self) -> None:
        try:
            self.given = self._answer(self)
        except (Crash, KeyInUse, KeyReused, IdempotencyUnavailable):
            self.given = None
        except AssertionError as broken:
            self.broken = broken
        finally:
            self.is_over = True
            self._still.release()


class WatchedKeys(InMemoryIdempotencyKeys):
    """Holds that a claim is made where none is held: none was made, it was given back, or its holder is dead."""

    def __init__(self, clock: ManualClock) -> None:
        super().__init__(clock=clock)
        self._held: dict[EntryId, Entry] = {}

    def claim(self, entry: Entry, *, over: InvocationId | None = None) -> Entry | None:
        standing = super().claim(entry, over=over)
        if standing is None:
            held = self._held.get(entry.id)
            is_free = held is None or held.invocation_id == entry.invocation_id or held.abandoned_at <= self._clock()
            assert is_free
            self._held[entry.id] = entry
        return standing

    def release(self, entry: Entry) -> None:
        super().release(entry)
        held = self._held.get(entry.id)
        if held is not None and held.invocation_id == entry.invocation_id:
            del self._held[entry.id]


@dataclass(frozen=True)
class SteppedKeys:
    """The shared store as one request sees it."""

    keys: InMemoryIdempotencyKeys
    request: Stepped

    def claim(self, entry: Entry, *, over: InvocationId | None = None) -> Entry | None:
        return self.request.do(lambda: self.keys.claim(entry, over=over))

    def complete(self, entry: Entry) -> None:
        self.request.do(lambda: self.keys.complete(entry))

    def find(self, id: EntryId) -> Entry | None:
        return self.request.do(lambda: self.keys.find(id))

    def release(self, entry: Entry) -> None:
        self.request.do(lambda: self.keys.release(entry))


@dataclass
class Seen:
    """What happened under one key."""

    executions: int = 0
    answers: list[KeptAnswer] = field(default_factory=list)
    is_unkept: bool = False
    """The store failed when an answer was to be kept: who comes later may be told that nobody knows."""


class Keyed(RuleBasedStateMachine):
    """Requests under two keys with two payloads, at one function."""

    idempotent = Idempotent.NO
    on_key_store_loss = OnKeyStoreLoss.REFUSE

    def __init__(self) -> None:
        super().__init__()
        self.clock = ManualClock()
        self.keys = WatchedKeys(self.clock)
        self.seen: defaultdict[str, Seen] = defaultdict(Seen)
        self.payloads: dict[InvocationId, bytes] = {}
        self.running: list[Stepped] = []

    @initialize()
    def begin(self) -> None:
        self.arrive(KEYS[0], PAYLOADS[0])

    @rule(key=st.sampled_from(KEYS), payload=st.sampled_from(PAYLOADS))
    def arrive(self, key: str, payload: bytes) -> None:
        self._started(key, payload)

    @precondition(lambda self: self.running)
    @rule(which=st.integers(0, 99), order=st.sampled_from([*Order, *[Order.GO] * 5]))
    def step(self, which: int, order: Order) -> None:
        self._step(self.running[which % len(self.running)], order)

    @rule(seconds=st.sampled_from([1.0, DEAD_S / 2, DEAD_S]))
    def wait(self, seconds: float) -> None:
        self.clock.advance(seconds)

    @rule(key=st.sampled_from(KEYS))
    def die_and_be_asked_for(self, key: str) -> None:
        """What chance finds seldom: a crash while the function runs, and two who come when it is known to be one."""
        dying = self._started(key, PAYLOADS[0])
        for order in (Order.GO, Order.CRASH_AFTER):
            if not dying.is_over:
                self._step(dying, order)
        self.clock.advance(DEAD_S)
        for _ in range(2):
            self._step(self._started(key, PAYLOADS[0]))

    def teardown(self) -> None:
        """Whatever happened: once all is quiet and the store is back, every key gives one and the same answer."""
        while self.running:
            self._step(self.running[0], Order.CRASH)
        self.clock.advance(DEAD_S)
        for key in KEYS:
            for payload in PAYLOADS * 2:
                self._served(key, payload)

    def _served(self, key: str, payload: bytes) -> None:
        """A request that goes through undisturbed is answered; or it is told that the payload is another one."""
        standing = self.keys.find(entry_id(TenantId("local"), key))
        request = self._started(key, payload)
        while not request.is_over:
            self._step(request)
        is_others = standing is not None and self.payloads[standing.invocation_id] != payload
        assert (request.given is None) == is_others

    def _started(self, key: str, payload: bytes) -> Stepped:
        id = invocation_id(len(self.payloads) + 1)
        now = self.clock()
        request = a_request(
            invocation_id=id,
            idempotency_key=key,
            body=payload,
            received_at=now,
            deadline_at=now + (a_request().deadline_at - NOW),
        )
        self.payloads[id] = payload
        stepped = Stepped(request, self._answer)
        self.running.append(stepped)
        return stepped

    def _answer(self, stepped: Stepped) -> KeyedAnswer:
        routing = IdempotentRouting(
            keys=self._keys_of(stepped),
            policy_of=lambda _: a_policy(idempotent=self.idempotent, on_key_store_loss=self.on_key_store_loss),
            clock=self.clock,
            metrics=stepped.metrics,
        )
        return routing.answer(stepped.request, run=lambda request: self._ran(stepped, request), unknown=_unknown)

    def _keys_of(self, stepped: Stepped) -> IdempotencyKeys:
        return SteppedKeys(self.keys, stepped)

    def _ran(self, stepped: Stepped, request: InvocationRequest) -> RunResult:
        try:
            stepped.do(lambda: self._execute(request))
        except Failed as failed:
            status = 504 if failed.was_done else 503
            return RunResult(answer=_answer(status, request.invocation_id), may_have_run=failed.was_done)
        return RunResult(answer=_answer(200, request.invocation_id), may_have_run=True)

    def _execute(self, request: InvocationRequest) -> None:
        self.seen[request.idempotency_key or ""].executions += 1

    def _step(self, request: Stepped, order: Order = Order.GO) -> None:
        request.step(order)
        if request.is_over:
            self._ended(request)

    def _ended(self, request: Stepped) -> None:
        self.running.remove(request)
        assert request.broken is None
        seen, given = self.seen[request.request.idempotency_key or ""], request.given
        seen.is_unkept = seen.is_unkept or request.metrics.total("IdempotentAnswerNotKept") > 0
        if self.idempotent is Idempotent.NO:
            assert seen.executions <= 1
        if given is not None and given.answer.status != 503:
            seen.answers.append(given.answer)
            assert self.payloads[given.invocation_id] == request.request.body
            assert given.answer.body == given.invocation_id.encode()
            assert seen.is_unkept or seen.answers.count(given.answer) == len(seen.answers)


def _answer(status: int, id: InvocationId) -> KeptAnswer:
    return KeptAnswer(status=status, body=id.encode(), is_text=True)


def _unknown(id: InvocationId) -> KeptAnswer:
    return KeptAnswer(status=504, body=id.encode(), is_text=True, headers={"unknown": "1"})


@pytest.mark.parametrize("idempotent", list(Idempotent))
def test_one_execution_and_one_answer_per_key(idempotent: Idempotent) -> None:
    machine = type("Keyed", (Keyed,), {"idempotent": idempotent})
    run_state_machine_as_test(machine, settings=settings(deadline=None, max_examples=80, stateful_step_count=40))


TABLES = ("home", "second", "third")
assert len(TABLES) == STORES


class KeyedInThree(Keyed):
    """The same with keys in three tables, that are lost and come back whenever it suits least."""

    on_key_store_loss = OnKeyStoreLoss.SECOND_STORE

    def __init__(self) -> None:
        super().__init__()
        self.tables = {name: WatchedKeys(self.clock) for name in TABLES}

    @rule(lost=st.sets(st.sampled_from(TABLES)))
    def lose(self, lost: set[str]) -> None:
        for name, table in self.tables.items():
            table.before = away() if name in lost else answering

    @rule(first=st.sampled_from(TABLES), then=st.sampled_from(TABLES))
    def switch_back_and_forth(self, first: str, then: str) -> None:
        """A request while one table is away, its repetition while another is."""
        for lost in (first, then, first):
            self.lose({lost})
            request = self._started(KEYS[0], PAYLOADS[0])
            while not request.is_over:
                self._step(request)

    def teardown(self) -> None:
        """With every table back, no key gives a second execution either."""
        while self.running:
            self._step(self.running[0], Order.CRASH)
        self.lose(set())
        for _ in range(2):
            self.clock.advance(DEAD_S)
            for key in KEYS:
                request = self._started(key, PAYLOADS[0])
                while not request.is_over:
                    self._step(request)

    def _keys_of(self, stepped: Stepped) -> IdempotencyKeys:
        tables = [SteppedKeys(keys, stepped) for keys in self.tables.values()]
        return KeyQuorum(tables, executor=Inline())


@pytest.mark.parametrize("idempotent", list(Idempotent))
def test_no_second_execution_whichever_tables_are_lost_and_return(idempotent: Idempotent) -> None:
    machine = type("KeyedInThree", (KeyedInThree,), {"idempotent": idempotent})
    run_state_machine_as_test(machine, settings=settings(deadline=None, max_examples=80, stateful_step_count=40))
