"""A client while FISO cannot be reached, and with FISO in two regions: over genuine HTTP on loopback."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from threading import Thread
from typing import Any

import pytest

from fiso.codecs.lease_token import Keyring
from fiso.domain.endpoint import Provider
from fiso.domain.policy import Idempotent
from fiso_client import Client, FisoDeclined, FisoRefused, NoAnswer, NoLease, Options, Request
from fiso_client.aws import signed
from tests.functional.lease_servers import World, serving
from tests.functional.test_client import REQUEST, SkippingWatch

ELIGIBLE = b'{"type":"urn:fiso:problem:no-endpoint-available","status":503}'
CATALOG = b'{"type":"urn:fiso:problem:no-catalog","status":503}'
HOUR_S = 3600.0


@pytest.fixture
def worlds() -> Iterator[list[World]]:
    made: list[World] = []
    yield made
    for world in made:
        world.close()


def a_client(*worlds: World, watch: SkippingWatch | None = None, **options: Any) -> Client:
    chosen = Options(**({"background": False, "retry_s": 0.001} | options))
    return Client([world.url for world in worlds], options=chosen, stopwatch=watch or SkippingWatch())


def test_the_last_lease_serves_as_long_as_the_policy_says_and_what_came_of_it_is_reported_then(
    worlds: list[World],
) -> None:
    watch, world = SkippingWatch(), World(lease_outage_s=int(3 * HOUR_S))
    worlds.append(world)
    client = a_client(world, watch=watch)
    client.call("word-count", REQUEST)
    world.stop_fiso()
    for skipped_s in (61, HOUR_S, 2 * HOUR_S - 80):
        watch.skipped_s += skipped_s
        assert client.call("word-count", REQUEST).is_stale
    watch.skipped_s += 80
    with pytest.raises(NoLease):
        client.call("word-count", REQUEST)
    world.start_fiso()
    world.started_at -= watch.skipped_s  # as much time passed for FISO
    client.close()
    assert (client.tally.accepted, client.tally.rejected, client.tally.dropped) == (4, 0, 0)


@pytest.mark.parametrize(("outage_s", "grace_s", "lasts_s"), [(0, None, 0.0), (600, 60.0, 60.0), (60, 600.0, 60.0)])
def test_the_shorter_of_policy_and_option_holds(
    outage_s: int, grace_s: float | None, lasts_s: float, worlds: list[World]
) -> None:
    watch, world = SkippingWatch(), World(lease_outage_s=outage_s)
    worlds.append(world)
    client = a_client(world, watch=watch, grace_s=grace_s)
    client.call("word-count", REQUEST)
    world.stop_fiso()
    watch.skipped_s += 59 + lasts_s
    assert client.call("word-count", REQUEST).status == 200
    watch.skipped_s += 2
    with pytest.raises(NoLease):
        client.call("word-count", REQUEST)


@pytest.mark.parametrize(
    ("says", "goes_on"),
    [
        ((401, b"{}"), False),
        ((403, b'{"message":"Forbidden"}'), False),
        ((404, b"{}"), False),
        ((429, b"{}"), False),
        ((503, ELIGIBLE), False),
        ((503, CATALOG), True),
        ((500, b"{}"), True),
        ((502, b""), True),
        ((503, b'{"message":"Service Unavailable"}'), True),
        ((504, b""), True),
        ((200, b"<html>"), True),
    ],
)
def test_a_lease_that_is_over_serves_an_absent_fiso_and_none_that_answers(
    says: tuple[int, bytes], goes_on: bool, worlds: list[World]
) -> None:
    watch, world = SkippingWatch(), World()
    worlds.append(world)
    client = a_client(world, watch=watch, retry_s=5)
    client.call("word-count", REQUEST)
    watch.skipped_s += 61
    world.says = says
    for _ in range(3):  # also while FISO is left alone
        if goes_on:
            assert client.call("word-count", REQUEST).is_stale
        else:
            with pytest.raises(FisoRefused):
                client.call("word-count", REQUEST)
    assert len(world.calls) == (4 if goes_on else 1)
    assert world.decided() == 2


def test_who_was_refused_is_refused_until_fiso_gives_a_lease_again_and_its_reports_wait(worlds: list[World]) -> None:
    watch, world = SkippingWatch(), World()
    worlds.append(world)
    client = a_client(world, watch=watch)
    client.call("word-count", REQUEST)
    watch.skipped_s += 61
    world.says = (429, b"{}")
    with pytest.raises(FisoDeclined):
        client.call("word-count", REQUEST)
    assert not client.flush()
    world.says, watch.skipped_s = None, watch.skipped_s + 1
    world.started_at -= watch.skipped_s
    assert not client.call("word-count", REQUEST).is_stale
    client.close()
    assert client.tally.accepted == 2


def test_whoever_did_not_call_for_long_asks_fiso_before_an_old_lease_is_used(worlds: list[World]) -> None:
    watch, world = SkippingWatch(), World()
    worlds.append(world)
    client = a_client(world, watch=watch)
    client.call("word-count", REQUEST)
    world.stop_fiso()
    watch.skipped_s += 61
    assert client.call("word-count", REQUEST).is_stale
    world.start_fiso()
    watch.skipped_s += 300
    threads = [Thread(target=client.call, args=("word-count", REQUEST)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not client.call("word-count", REQUEST).is_stale
    client.flush()
    assert world.decided() == 2
    client.close()


def of_two(worlds: list[World], **policy: Any) -> tuple[World, World]:
    """Two regions with one catalog, and keys of their own."""
    worlds += [World(**policy), World(**policy)]
    worlds[1].rig.stores.lease_keys.keys = Keyring.parsed(f"second:{'t' * 32}")
    return worlds[0], worlds[1]


def test_leases_come_from_the_second_region_while_the_first_is_away_and_each_is_reported_home(
    worlds: list[World],
) -> None:
    first, second = of_two(worlds)
    watch = SkippingWatch()
    client = a_client(first, second, watch=watch)
    client.call("word-count", REQUEST)
    first.stop_fiso()
    watch.skipped_s += 61
    assert not client.call("word-count", REQUEST).is_stale
    assert not client.flush()
    assert (len(second.records), client.waiting) == (1, 1)
    first.start_fiso()
    for world in (first, second):
        world.started_at -= watch.skipped_s
    watch.skipped_s += 61
    client.call("word-count", REQUEST)
    client.close()
    assert (len(first.records), len(second.records)) == (2, 1)
    assert (client.tally.accepted, client.tally.rejected, client.waiting) == (3, 0, 0)


def test_what_the_first_region_refuses_is_not_asked_of_the_second(worlds: list[World]) -> None:
    first, second = of_two(worlds)
    first.says = (403, b"{}")
    with a_client(first, second) as client, pytest.raises(FisoDeclined):
        client.call("word-count", REQUEST)
    assert second.asked == []


def test_a_lease_of_one_region_is_of_an_unknown_key_in_another(worlds: list[World]) -> None:
    first, second = of_two(worlds)
    client = a_client(first)
    client.call("word-count", REQUEST)
    (report,) = client._reporters[0]._waiting
    elsewhere = a_client(second)
    elsewhere._reporters[0].add(report.token, report.outcome)
    assert elsewhere.flush()
    assert (elsewhere.tally.rejected, second.records) == (1, [])
    client.close()


def ran(world: World) -> int:
    return len(world.rig.caller.calls)


@pytest.mark.parametrize("may_repeat", [False, True])
@pytest.mark.parametrize(
    ("says", "may_have_run"),
    [
        (None, False),  # nobody listens
        ((503, ELIGIBLE), False),
        ((502, b'{"message":"Bad Gateway"}'), True),
        ((504, b""), True),
        ((500, b'{"message":"Internal Server Error"}'), True),
    ],
)
def test_a_request_goes_to_the_second_region_where_it_cannot_have_run_in_the_first_or_may_run_again(
    says: tuple[int, bytes] | None, may_have_run: bool, may_repeat: bool, worlds: list[World]
) -> None:
    first, second = of_two(worlds, idempotent=Idempotent.NO)
    problem = (
        {"x-fiso-invocation-id": "1", "content-type": "application/problem+json"} if says and not may_have_run else {}
    )
    with ExitStack() as stack:
        url = first.url
        first.stop_fiso()
        if says is not None:
            status, body = says
            url = stack.enter_context(serving(lambda *_: (status, problem, body))).url
        client = stack.enter_context(Client([url, second.url], options=Options(background=False)))
        if may_have_run and not may_repeat:
            with pytest.raises(NoAnswer) as caught:
                client.invoke("word-count", REQUEST)
            assert (caught.value.may_have_run, second.asked) == (True, [])
            return
        answer = client.invoke("word-count", REQUEST, may_repeat=may_repeat)
    assert (answer.status, answer.body, ran(second)) == (200, b"ok", 1)
    assert answer.endpoint in set(Provider)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 413, 422, 429])
def test_what_a_region_refuses_is_no_other_regions_to_answer(status: int, worlds: list[World]) -> None:
    first, second = of_two(worlds)
    first.says = (status, b"{}")
    with a_client(first, second) as client, pytest.raises(FisoRefused, match=str(status)):
        client.invoke("word-count", REQUEST, may_repeat=True)
    assert second.asked == []


def test_without_any_region_a_request_says_that_it_never_ran(worlds: list[World]) -> None:
    first, second = of_two(worlds)
    first.stop_fiso()
    second.stop_fiso()
    client = a_client(first, second)
    with pytest.raises(NoAnswer) as caught:
        client.invoke("word-count", Request(method="POST", body=b"x"))
    assert not caught.value.may_have_run
    client.close()


def test_each_region_gets_a_signature_for_itself() -> None:
    class Keys:
        access_key, secret_key, token = "AKIA", "secret", None  # nosec B105 # of a test

    headers = signed(lambda: Keys(), {"https://a.example": "us-east-1", "https://b.example/": "us-west-2"})
    for base, region in (("https://a.example", "us-east-1"), ("https://b.example", "us-west-2")):
        assert f"/{region}/execute-api/" in headers("POST", f"{base}/v1/outcomes", b"")["authorization"]


@pytest.mark.parametrize("is_kept", [False, True], ids=["a new connection", "a kept connection"])
def test_what_broke_off_after_it_was_read_is_not_asked_of_the_second_region(is_kept: bool, worlds: list[World]) -> None:
    """The function may have run before the region's connection was reset."""
    _, second = of_two(worlds)
    read: list[bytes] = []

    def serve(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection:
            if is_kept:
                read.append(connection.recv(65536))
                connection.sendall(b"HTTP/1.1 200 OK\r\nx-fiso-invocation-id: 1\r\ncontent-length: 2\r\n\r\nok")
            read.append(connection.recv(65536))

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = Thread(target=serve, args=(listener,))
        thread.start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        with Client([url, second.url], options=Options(background=False)) as client:
            if is_kept:
                assert client.invoke("word-count", REQUEST).body == b"ok"
            with pytest.raises(NoAnswer) as caught:
                client.invoke("word-count", REQUEST)
        thread.join()
    assert caught.value.may_have_run
    assert read[-1].startswith(b"POST /v1/invoke/word-count")
    assert second.asked == []


def test_a_request_with_a_key_stays_with_the_region_that_knows_its_keys_unless_all_do(worlds: list[World]) -> None:
    """Its first try ran in the first region, unheard of; the second region would take its key for a new one."""
    first, second = of_two(worlds, idempotent=Idempotent.NO)
    keyed = replace(REQUEST, idempotency_key="k1")
    with a_client(first, second) as client:
        assert client.invoke("word-count", keyed).status == 200
        first.says = (503, b"{}")
        for _ in range(2):
            with pytest.raises(NoAnswer):
                client.invoke("word-count", keyed)
        first.stop_fiso()
        with pytest.raises(NoAnswer) as caught:
            client.invoke("word-count", keyed)
        assert not caught.value.may_have_run
        assert second.asked == []
        assert client.invoke("word-count", keyed, may_repeat=True).status == 200
        assert client.invoke("word-count", REQUEST).status == 200
    assert ran(second) == 2
