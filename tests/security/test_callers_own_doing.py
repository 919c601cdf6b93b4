"""Is a copy held responsible for what its caller did? What a caller asks for, how large, how malformed and how
impatiently: none of it moves what others are routed by. Deadlines: tests/functional/test_attribution.py."""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any

import pytest

from fiso.domain.endpoint import EndpointId, Provider
from fiso.domain.policy import Idempotent
from fiso.testing.rig import LambdaContext, Rig, http_event, word_count
from fiso_client.core.failures import Failure
from tests.builders import an_entry
from tests.functional.lease_servers import serving
from tests.security.genuine_clouds import at, rig_over

NOBODY = "-"
"""What is folded of requests that called nobody."""
ACCEPTS = (
    "application/json",
    "application/problem+json",
    "application/json;q=0.9, application/vnd.api+json",
    "application/json;q=0",
    "APPLICATION/JSON",
    "image/png",
    "text/nothing",
    "nonsense",
    "application/json, " * 300,
)
TYPES = ("text/html", "text/plain", "application/octet-stream", "image/png", "")


def held_against(rig: Rig) -> Mapping[str, Any]:
    """All that is routed by and speaks ill of somebody: folded error rates, breakers, conduct, here and for all."""
    rig.fold()
    states = {
        id: (round(state.error_rate, 9), state.failures, state.consecutive_failures, state.failovers_from)
        for id, state in rig.states.items()
        if id != NOBODY
    }
    attribution = rig.app.orchestrator.dispatcher.attribution
    known = {id: attribution.conduct_of("word-count", id) for id in states}
    conducts = {id: (found.suspicion, found.strikes, found.odd) for id, found in known.items()}
    rows = rig.request("GET", "/v1/endpoints").document["endpoints"]
    breakers = {row["endpoint"]: (row["breaker"], row["breaker_cause"], row.get("standing", "well")) for row in rows}
    return {"states": states, "conducts": conducts, "breakers": breakers}


def a_warm_rig(**policy: Any) -> Rig:
    rig = Rig(word_count(**policy))
    for _ in range(20):
        rig.invoke("word-count", body="{}")
        rig.advance(1)
    return rig


REFUSED: Mapping[str, dict[str, Any]] = {
    "body that is not base64": {**http_event(), "isBase64Encoded": True, "body": "no base64!"},
    "body that is too large": {**http_event(), "body": "x" * (5 * 2**20 + 1)},
    "binary body that is too large": http_event(body=bytes(4 * 2**20 + 10)),
    "lone surrogate": {**http_event(), "body": "\ud800"},
    "path that leaves": http_event(path="/v1/invoke/word-count/../x"),
    "path that is too long": http_event(path="/v1/invoke/word-count/" + "x" * 4_000),
    "control character in a header": http_event(x_a="a\r\nb"),
    "too many headers": http_event(**{f"x_{number}": "1" for number in range(300)}),
    "headers that are too large": http_event(x_a="a" * 70_000),
    "time that is none": http_event(x_fiso_timeout_ms="soon"),
    "key that is none": http_event(idempotency_key="a b"),
    "wish that is none": http_event(x_fiso_max_cost="free"),
    "method that is none": http_event("BREW"),
}


@pytest.mark.parametrize("idempotent", [Idempotent.YES, Idempotent.NO])
@pytest.mark.parametrize("event", REFUSED.values(), ids=REFUSED.keys())
def test_what_is_refused_reaches_no_copy_and_moves_nothing(event: dict[str, Any], idempotent: Idempotent) -> None:
    rig = a_warm_rig(idempotent=idempotent)
    before, calls = held_against(rig), len(rig.calls)
    for _ in range(10):
        assert 400 <= rig.send(event)["statusCode"] < 500
    assert (held_against(rig), len(rig.calls)) == (before, calls)


@pytest.mark.parametrize("failure", [Failure.REJECTED])
@pytest.mark.parametrize("idempotent", [Idempotent.YES, Idempotent.NO])
def test_what_a_cloud_refuses_of_a_request_is_not_held_against_it(failure: Failure, idempotent: Idempotent) -> None:
    rig = a_warm_rig(idempotent=idempotent)
    before, calls = held_against(rig), len(rig.calls)
    for id in rig.states:
        rig.fail(id, failure)
    for _ in range(10):
        assert rig.invoke("word-count", body="{").status == 400
    assert len(rig.calls) == calls + 10  # it is not tried elsewhere either
    for id in rig.states:
        rig.heal(id)
    assert held_against(rig) == before


@pytest.mark.parametrize("remaining_ms", [0, 1, 100, 749, 750, 760])
def test_an_environment_that_is_about_to_end_says_nothing_of_a_copy(remaining_ms: int) -> None:
    rig = a_warm_rig()
    before = held_against(rig)
    for _ in range(10):
        rig.send(http_event(), LambdaContext(remaining_ms))
    assert held_against(rig)["breakers"] == before["breakers"]
    assert held_against(rig)["conducts"] == before["conducts"]


def two_copies_at(url: str) -> AbstractContextManager[Rig]:
    places = (Provider.AZURE, Provider.GCP)
    return rig_over(url, an_entry(*(at(url, each, id=EndpointId(each)) for each in places)))


@pytest.mark.parametrize("accept", ACCEPTS, ids=[each[:30] for each in ACCEPTS])
@pytest.mark.parametrize("content_type", TYPES)
def test_what_a_caller_accepts_makes_one_execution_one(accept: str, content_type: str) -> None:
    headers = {"content-type": content_type} if content_type else {}
    with serving(lambda *_: (200, headers, b"<p>ok</p>")) as server, two_copies_at(server.url) as rig:
        for _ in range(6):
            response = rig.send(http_event(accept=accept))
            assert response["statusCode"] == 200
            assert response["headers"]["x-fiso-attempts"] == "1"
        assert len(rig.calls) == 6
        found = held_against(rig)
    assert {row[0] for row in found["breakers"].values()} == {"closed"}
    assert {row[2] for row in found["breakers"].values()} == {"well"}
    assert all(state == (0.0, 0, 0, 0) for state in found["states"].values())
