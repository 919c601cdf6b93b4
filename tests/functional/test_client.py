"""Both clients against FISO's own handler and endpoints, over genuine HTTP on loopback."""

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from time import monotonic
from typing import Any, Self, TypeVar

import pytest

from fiso.domain.decision import Reason
from fiso.domain.endpoint import Provider
from fiso.domain.policy import Idempotent
from fiso_client import (
    Answer,
    AsyncClient,
    Client,
    Failure,
    FisoRefused,
    NoAnswer,
    NoLease,
    Options,
    ProviderError,
    Request,
    Target,
)
from fiso_client.core.failures import Fault
from fiso_client.core.scoping import scoped_key
from fiso_client.core.stopwatch import Stopwatch
from fiso_client.reporting import Pace, Tally
from tests.builders import a_snapshot, an_endpoint, an_entry
from tests.functional.lease_servers import World

T = TypeVar("T")
REQUEST = Request(body=b"one two", content_type="text/plain")


class SkippingWatch:
    """The monotonic clock, with a lever to let time pass."""

    def __init__(self) -> None:
        self.skipped_s = 0.0

    def __call__(self) -> float:
        return monotonic() + self.skipped_s


class Awaited:
    """`AsyncClient` for tests that are written for both: what it gives is awaited on a loop in a thread of its own."""

    def __init__(self, url: str, **given: Any) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self._client = AsyncClient(url, **given)
        self._reporters = self._client._client._reporters

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def tally(self) -> Tally:
        return self._client.tally

    @property
    def waiting(self) -> int:
        return self._client.waiting

    def call(self, function: str, request: Request, *, timeout_s: float | None = None) -> Answer:
        return self._done(self._client.call(function, request, timeout_s=timeout_s))

    def flush(self) -> bool:
        return self._done(self._client.flush())

    def close(self) -> None:
        self._done(self._client.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _done(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(30)


@pytest.fixture(params=[Client, Awaited], ids=["sync", "async"])
def kind(request: pytest.FixtureRequest) -> type[Client | Awaited]:
    chosen: type[Client | Awaited] = request.param
    return chosen


@pytest.fixture
def world(kind: type[Client | Awaited]) -> Iterator[World]:
    world = World()
    world.client = kind
    yield world
    world.close()


def a_client(
    world: World, *, watch: Callable[[], float] | None = None, given: dict[str, Any] | None = None, **options: Any
) -> Client | Awaited:
    chosen = Options(**({"background": False, "retry_s": 0.001} | options))
    client: Client | Awaited = world.client(
        world.url, options=chosen, stopwatch=watch or SkippingWatch(), **given or {}
    )
    return client


def eventually(look: Any) -> None:
    """Wait for another thread, at most 10 s."""
    waiting, ends_at = threading.Event(), monotonic() + 10
    while not look():
        assert monotonic() < ends_at
        waiting.wait(0.01)


def test_one_lease_serves_many_calls_and_each_is_recorded(world: World) -> None:
    with a_client(world) as client:
        answers = [client.call("word-count", REQUEST) for _ in range(5)]
        assert client.flush()
    assert {answer.body for answer in answers} == {b"ONE TWO"}
    assert world.decided() == 1
    assert [record.decision.lease_id for record in world.records] == [world.records[0].decision.lease_id] * 5
    assert world.records[0].decision.reason is Reason.SCORE
    assert 0 < (world.records[0].result.billed_ms or 0) <= 1.5, "as the server says, and no more than the call took"
    assert world.records[0].result.cold_start is False
    assert [record.decision.features["request_size_bytes"] for record in world.records] == [7.0] * 5
    assert client.tally.accepted == 5
    assert world.rig.caller.calls == []


def test_a_function_sees_the_request_and_its_deadline(world: World) -> None:
    request = Request(body=b"x", query="a=1", path_suffix="/b c", idempotency_key="k", headers={"traceparent": "t"})
    with a_client(world) as client:
        client.call("word-count", request, timeout_s=2)
    ((_, headers, body),) = world.calls
    assert (body, headers["idempotency-key"], headers["traceparent"]) == (
        b"x",
        scoped_key("local", "word-count", "k"),
        "t",
    )
    assert 0 < int(headers["x-fiso-deadline-ms"]) <= 2000


def test_fails_over_when_the_first_endpoint_fails(world: World) -> None:
    with a_client(world) as client:
        first = client.call("word-count", REQUEST).endpoint
        world.statuses[first] = 503
        answer = client.call("word-count", REQUEST)
    assert answer.endpoint != first
    assert answer.attempts == 2
    last = world.records[-1]
    assert [attempt.failure for attempt in last.attempts] == [Failure.PROVIDER_FAULT, None]
    assert last.decision.reason is Reason.FAILOVER


def test_an_endpoint_that_keeps_failing_is_passed_over(world: World) -> None:
    with a_client(world) as client:
        first = client.call("word-count", REQUEST).endpoint
        world.statuses[first] = 503
        tried = [client.call("word-count", REQUEST).attempts for _ in range(8)]
    assert tried[0] == 2
    assert tried[-1] == 1
    assert [
        c.propensity for c in world.records[-1].decision.candidates if c.endpoint == world.records[-1].result.endpoint
    ] == [1.0]


@pytest.mark.parametrize(
    ("idempotent", "key", "status", "attempts"),
    [
        ("no", None, 503, 1),  # it may have run
        ("no", None, 429, 3),  # it cannot have run
        ("deduplicates_on_key", None, 503, 1),
        ("deduplicates_on_key", "k", 503, 3),
        ("yes", None, 503, 3),
    ],
)
def test_what_may_have_run_is_repeated_only_where_that_is_declared_safe(
    kind: type[Client | Awaited], idempotent: str, key: str | None, status: int, attempts: int
) -> None:
    world = World(idempotent=Idempotent(idempotent))
    world.client = kind
    world.statuses = dict.fromkeys(Provider, status)
    try:
        with a_client(world) as client, pytest.raises(NoAnswer) as caught:
            client.call("word-count", Request(body=b"x", idempotency_key=key))
        assert caught.value.may_have_run == (status == 503)
        assert len(world.calls) == attempts
        assert [len(record.attempts) for record in world.records] == [attempts]
        assert world.records[0].result.response_status == (502 if status == 503 else 503)
    finally:
        world.close()


def test_a_functions_own_error_is_an_answer(world: World) -> None:
    world.statuses = dict.fromkeys(Provider, 500)
    with a_client(world) as client:
        assert client.call("word-count", REQUEST).status == 500
    assert world.records[0].result.error_occurred
    assert {attempt.verdict for attempt in world.records[0].attempts} == {Fault.FUNCTION}


def test_an_error_that_one_target_alone_shows_is_asked_of_another_by_the_routers_rule(world: World) -> None:
    world.statuses = {Provider.AZURE: 500, Provider.GCP: 200, Provider.AWS: 200}
    with a_client(world) as client:
        answers = [client.call("word-count", REQUEST) for _ in range(5)]
    assert {answer.status for answer in answers} == {200}


def test_goes_on_by_a_stale_lease_while_fiso_is_away_and_reports_when_it_is_back(world: World) -> None:
    watch = SkippingWatch()
    client = a_client(world, watch=watch)
    assert not client.call("word-count", REQUEST).is_stale
    world.stop_fiso()
    watch.skipped_s += 61
    answers = [client.call("word-count", REQUEST) for _ in range(3)]
    assert [answer.is_stale for answer in answers] == [True] * 3
    assert not client.flush()
    assert client.waiting == 4
    world.start_fiso()
    watch.skipped_s += 1  # FISO is asked again after retry_s
    world.started_at -= watch.skipped_s  # as much time passed for FISO
    assert not client.call("word-count", REQUEST).is_stale
    client.close()
    assert (client.tally.accepted, client.tally.rejected, client.waiting) == (5, 0, 0)
    assert len({record.decision.lease_id for record in world.records}) == 2


def test_a_lease_is_over_after_a_suspend_in_which_the_monotonic_clock_stood_still(world: World) -> None:
    slept_s = [0.0]
    watch = Stopwatch(wall=lambda: monotonic() + slept_s[0])
    with a_client(world, watch=watch) as client:
        client.call("word-count", REQUEST)
        slept_s[0] = 61
        world.started_at -= slept_s[0]  # as much time passed for FISO
        assert not client.call("word-count", REQUEST).is_stale
        assert world.decided() == 2
    assert client.tally.accepted == 2
    assert max(attempt.latency_ms for record in world.records for attempt in record.attempts) < 30_000


def test_a_client_counts_the_time_of_a_suspend_unless_told_otherwise() -> None:
    assert isinstance(Client("https://fiso.example")._stopwatch, Stopwatch)


def test_after_the_grace_the_configured_order_serves_and_is_not_reported(world: World) -> None:
    watch = SkippingWatch()
    fallback = {"word-count": [Target(id="home", provider="gcp", address=f"{world.functions.url}/home")]}
    client = a_client(world, watch=watch, fallback=fallback, grace_s=10)
    client.call("word-count", REQUEST)
    world.stop_fiso()
    watch.skipped_s += 71
    answer = client.call("word-count", REQUEST)
    assert (answer.endpoint, answer.is_stale) == ("home", True)
    assert client.waiting == 1
    client.close()
    assert client.tally.dropped == 1


def test_without_lease_grace_and_fallback_there_is_nobody_to_call(world: World) -> None:
    world.stop_fiso()
    with a_client(world) as client, pytest.raises(NoLease, match="no fallback"):
        client.call("word-count", REQUEST)


def test_a_function_that_fiso_does_not_know_is_refused(world: World) -> None:
    with a_client(world) as client, pytest.raises(FisoRefused, match="404"):
        client.call("nobody", REQUEST)


def test_a_lease_is_renewed_early_and_by_one_thread_only(world: World) -> None:
    watch = SkippingWatch()
    with a_client(world, watch=watch) as client, ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda _: client.call("word-count", REQUEST), range(24)))
        assert world.decided() == 1
        watch.skipped_s += 50
        answers = list(threads.map(lambda _: client.call("word-count", REQUEST), range(24)))
        assert not any(answer.is_stale for answer in answers)
        eventually(lambda: world.decided() == 2)


def test_fiso_is_left_alone_for_a_while_after_it_gave_no_lease(world: World) -> None:
    watch = SkippingWatch()
    client = a_client(world, watch=watch, retry_s=30)
    client.call("word-count", REQUEST)
    watch.skipped_s += 61
    world.fails = True
    for _ in range(5):
        assert client.call("word-count", REQUEST).is_stale
    assert world.decided() == 2
    world.fails = False
    watch.skipped_s += 31
    assert not client.call("word-count", REQUEST).is_stale
    client.close()


def test_batches_go_by_size_from_a_thread_of_their_own(world: World) -> None:
    pace = Pace(batch=5, age_s=3600)
    with a_client(world, background=True, pace=pace) as client:
        for _ in range(5):
            client.call("word-count", REQUEST)
        eventually(lambda: client.tally.accepted == 5)
        client.call("word-count", REQUEST)
        assert client.waiting == 1
    assert client.tally.accepted == 6


def test_batches_go_by_age_and_again_after_fiso_was_away(world: World) -> None:
    pace = Pace(batch=100, age_s=0.01, retry_s=0.01)
    with a_client(world, background=True, pace=pace) as client:
        client.call("word-count", REQUEST)
        eventually(lambda: client.tally.accepted == 1)
        world.stop_fiso()
        client.call("word-count", REQUEST)
        world.start_fiso()
        eventually(lambda: client.tally.accepted == 2)


def test_a_report_whose_answer_was_lost_is_sent_again_and_counts_once(world: World) -> None:
    client = a_client(world)
    client.call("word-count", REQUEST)
    kept = list(client._reporters[0]._waiting)
    client.flush()
    client._reporters[0]._waiting.extend(kept)  # as if the first answer never came
    client.close()
    assert (client.tally.accepted, client.tally.repeated) == (1, 1)
    assert len(world.records) == 1


def test_a_full_queue_drops_the_oldest_and_counts_them(world: World) -> None:
    client = a_client(world, pace=Pace(batch=100, capacity=100))
    client.call("word-count", REQUEST)
    world.stop_fiso()
    for _ in range(104):
        client.call("word-count", REQUEST)
    assert (client.waiting, client.tally.dropped) == (100, 5)
    world.start_fiso()
    client.close()
    assert client.tally.accepted == 100


def test_fiso_gets_the_headers_that_identify_the_caller(world: World) -> None:
    seen: list[tuple[str, str, bytes]] = []

    def sign(method: str, url: str, body: bytes) -> dict[str, str]:
        seen.append((method, url, body))
        return {"authorization": "me"}

    with a_client(world, given={"headers": sign}) as client:
        client.call("word-count", REQUEST)
    assert [(method, url.removeprefix(world.url)) for method, url, _ in seen] == [
        ("POST", "/v1/decide/word-count"),
        ("POST", "/v1/outcomes"),
    ]
    assert b"token" in seen[1][2]


def test_a_target_gets_what_identifies_the_caller_to_it(world: World) -> None:
    with a_client(world, given={"target_headers": lambda target: {"x-functions-key": target.id}}) as client:
        answer = client.call("word-count", REQUEST)
    assert world.calls[0][1]["x-functions-key"] == answer.endpoint


ARN = "arn:aws:lambda:us-east-1:000000000000:function:f"


def test_a_target_that_http_cannot_reach_needs_a_caller_and_is_not_blamed_without_one(world: World) -> None:
    web = an_endpoint(Provider.GCP, address=f"{world.functions.url}/gcp")
    entry = an_entry(an_endpoint(Provider.AWS, address=ARN), web)
    world.rig.stores.snapshots.versions = {2: a_snapshot(entry, version=2)}
    called: list[str] = []

    def invoke(target: Target, request: Request, *, timeout_s: float) -> Answer:
        called.append(target.address)
        if len(called) == 2:
            raise ProviderError(Failure.THROTTLED, "slow down")
        return Answer(status=200, body=request.body)

    with a_client(world) as without:
        assert without.call("word-count", REQUEST).endpoint == "gcp"
    assert [attempt.endpoint for attempt in world.records[-1].attempts] == ["gcp"]
    with a_client(world, callers={"aws": invoke}) as client:
        assert client.call("word-count", REQUEST).endpoint == "aws"
        assert client.call("word-count", REQUEST).endpoint == "gcp"
    assert called == [ARN, ARN]


def test_a_call_that_has_no_time_left_says_so(world: World) -> None:
    with a_client(world) as client, pytest.raises(NoAnswer) as caught:
        client.call("word-count", REQUEST, timeout_s=0.01)
    assert (caught.value.deadline_passed, caught.value.may_have_run) == (True, False)
    assert world.calls == []
