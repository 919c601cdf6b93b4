"""What is tried again, how often and when, in the ways in which others were reported to overdo it."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from struct import pack
from threading import Thread

import pytest

from fiso.domain.endpoint import Provider
from fiso.domain.policy import Idempotent
from fiso.testing.rig import PLACES, Rig, word_count
from fiso_client.core.answers import FunctionAnswer, retry_after_s
from fiso_client.core.failures import Failure
from tests.builders import an_entry
from tests.compatibility.copies import JSON, RESET, answer, behind_fiso, copy_of, event
from tests.front_doors import BY_MARK
from tests.security.genuine_clouds import at, rig_over

THREE = (Provider.AZURE, Provider.GCP, Provider.AZURE)

NONSENSE = [
    "-1",
    "-5",
    "1.5",
    "1e9",
    "NaN",
    "inf",
    "5, 10",
    "٣",
    "",
    " ",
    "soon",
    "0x5",
    "+5",
    "5s",
    "Wed, 99 Foo 2026",
]


@pytest.mark.parametrize("value", NONSENSE)
def test_a_retry_after_that_is_none_counts_as_absent(value: str) -> None:
    """openai-java#853, curl#15833, pydantic-ai#7073 (a negative sleep), earendil-works/pi#9689 (NaN: 0 ms)."""
    assert retry_after_s({"retry-after": value}) is None


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0),
        (" 5 ", 5),
        ("604800", 3600),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0),
        ("Thu, 13 Aug 2099 15:37:13 GMT", 3600),
    ],
)
def test_one_that_is_past_or_far_ahead_is_bounded(value: str, seconds: float) -> None:
    """acme.sh#7201; RFC 9110, 10.2.3."""
    assert retry_after_s({"retry-after": value, "date": "Mon, 30 Nov 2026 10:00:00 GMT"}) == seconds


@pytest.mark.parametrize("value", ["-1", "Wed, 21 Oct 2015 07:28:00 GMT", "604800", "NaN"])
def test_a_functions_own_goes_back_as_it_is(value: str) -> None:
    with copy_of(answer(429, b"{}", f"retry-after: {value}")) as copy, behind_fiso(copy) as rig:
        assert rig.send(event("POST", body="{}"))["headers"]["retry-after"] == value


def invoke(rig: Rig, count: int, every_s: float) -> list[int]:
    statuses = []
    for number in range(count):
        statuses.append(rig.invoke("word-count", body="{}").status)
        rig.clock.advance(every_s)
        if number % 50 == 0:
            rig.fold()
    return statuses


@pytest.mark.parametrize("failure", [Failure.PROVIDER_FAULT, Failure.BROKEN, Failure.UNREACHABLE, Failure.THROTTLED])
def test_when_all_copies_fail_attempts_do_not_multiply(failure: Failure) -> None:
    """akingundogdu#192 (81 calls a request), envoy#9069, gateway-api#3488: three hops that each try three times."""
    rig = Rig(word_count(idempotent=Idempotent.YES))
    for copy in PLACES:
        rig.fail(copy, failure)
    invoke(rig, 100, 0.02)
    rig.endpoints.calls.clear()
    invoke(rig, 500, 0.02)
    assert len(rig.calls) <= (3 * 500 if failure is Failure.THROTTLED else 1.3 * 500)


def test_when_the_function_itself_fails_everywhere_it_is_run_once_a_request() -> None:
    rig = Rig(word_count(idempotent=Idempotent.YES))
    for copy in PLACES:
        rig.answer(copy, FunctionAnswer(status=503, body=b"{}", is_function_error=True))
    invoke(rig, 20, 0.02)
    rig.endpoints.calls.clear()
    invoke(rig, 200, 0.02)
    assert len(rig.calls) <= 210


def test_a_problem_tells_whether_it_may_be_sent_again() -> None:
    """tower-resilience#171: whoever calls repeats on top unless it is told."""
    with copy_of(RESET) as copy, behind_fiso(copy) as rig:
        assert '"unknown_outcome": true' in rig.send(event("POST", body="{}"))["body"]
    with copy_of(JSON) as copy:
        gone = copy
    with behind_fiso(gone) as rig:
        response = rig.send(event("POST", body="{}"))
        assert (response["statusCode"], "retry-after" in response["headers"]) == (503, True)


@contextmanager
def breaking(after: int | None, said: bytes = b"") -> Iterator[tuple[str, list[bytes]]]:
    """A server that resets after so many bytes of a request (None: after all of it), having said something."""
    taken: list[bytes] = []

    def serve(listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                connection, _ = listener.accept()
                with connection, suppress(OSError):
                    connection.settimeout(2)
                    seen = connection.recv(after or 65_536)
                    taken.append(seen)
                    connection.sendall(said)
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, pack("ii", 1, 0))

    with socket.create_server(("127.0.0.1", 0)) as listener:
        Thread(target=serve, args=(listener,), daemon=True).start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", taken
        listener.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize(
    ("after", "said"), [(1, b""), (40, b""), (None, b""), (None, b"H"), (None, b"HTTP/1.1 200 OK\r\n")]
)
@pytest.mark.parametrize(("idempotent", "executions"), [(Idempotent.NO, 1), (Idempotent.YES, 3)])
def test_a_reset_once_bytes_were_sent_is_never_repeated_where_it_must_not_be(
    after: int | None, said: bytes, idempotent: Idempotent, executions: int
) -> None:
    """envoy#2747, #1979, akka-http#4471, axios-retry#66: before or after it was sent, nobody can tell."""
    with breaking(after, said) as (url, taken):
        copies = [at(url, provider, id=f"c{n}") for n, provider in enumerate(THREE)]
        with rig_over(url, an_entry(*copies, idempotent=idempotent)) as rig:
            assert rig.send(event("POST", body="x" * 100))["statusCode"] in (502, 504)
            assert len(taken) == executions


def test_nobody_listening_is_repeated_since_nothing_was_sent() -> None:
    with copy_of(JSON) as gone:
        url = gone.url
    with copy_of(JSON) as well:
        copies = [at(url, Provider.AZURE, id="c0"), at(well.url, Provider.GCP, id="c1")]
        with rig_over(url, an_entry(*copies, idempotent=Idempotent.NO)) as rig:
            assert {rig.send(event("POST", body="{}"))["statusCode"] for _ in range(4)} == {200}


def test_of_a_request_that_failed_over_only_the_answer_goes_back() -> None:
    """azure-webjobs-sdk#1536: nothing of what failed (its cookies, its headers) is mixed in."""
    gateway = BY_MARK["azure_gateway"]
    failed = answer(502, gateway.body, "content-type: text/html", "set-cookie: bad=1", "x-bad: 1")
    good = answer(200, b"ok", "set-cookie: good=1")
    with (
        copy_of(failed, good) as copy,
        behind_fiso(copy, Provider.AZURE, Provider.AZURE, idempotent=Idempotent.YES) as rig,
    ):
        response = rig.send(event("POST", body="{}"))
        assert (response["statusCode"], response["cookies"], response["headers"].get("x-bad")) == (
            200,
            ["good=1"],
            None,
        )
        assert response["headers"]["x-fiso-attempts"] == "2"


@pytest.mark.parametrize("idempotent", [Idempotent.NO, Idempotent.YES])
@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_redirects_are_not_followed(status: int, idempotent: Idempotent) -> None:
    """RFC 9110, 15.4: neither method nor body nor credentials go anywhere else."""
    away = answer(status, b"", "location: http://127.0.0.1:1/")
    with copy_of(away, JSON) as copy, behind_fiso(copy, idempotent=idempotent) as rig:
        assert rig.send(event("POST", body="{}"))["statusCode"] == status
        assert len(copy.requests) == 1


def test_of_a_request_with_a_short_time_the_copy_is_not_blamed() -> None:
    """A caller that leaves 150 ms to a function that takes 25 does; the function that takes 400 is no slower for it."""
    rig = Rig(word_count(idempotent=Idempotent.NO))
    for copy in PLACES:
        rig.slow(copy, 400.0)
    invoke(rig, 30, 1.0)
    for _ in range(10):
        assert rig.invoke("word-count", body="{}", x_fiso_timeout_ms="150").status == 504
        rig.clock.advance(1.0)
    assert set(invoke(rig, 10, 1.0)) == {200}
    rows = rig.request("GET", "/v1/endpoints").document["endpoints"]
    assert "demoted" not in {row.get("standing") for row in rows}
