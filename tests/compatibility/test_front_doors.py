"""What clouds answer in a function's place, and what looks like it and is the function's own: who is run how often."""

import gzip
import json
from typing import Any

import pytest

from fiso.domain.endpoint import Provider
from fiso.domain.policy import Idempotent
from fiso.testing.rig import Rig
from fiso_client.core.failures import NEVER_RAN, Fault
from tests.compatibility.copies import answer, behind_fiso, body_of, copy_of, event
from tests.front_doors import BY_MARK, EXAMPLES, Example

WITHOUT_A_KEY = [example for example in EXAMPLES if example.authentication == "none"]


def bytes_of(example: Example, body: bytes | None = None) -> bytes:
    lines = [f"{name}: {value}" for name, value in example.headers.items()]
    return answer(example.status, example.body if body is None else body, *lines)


def executions(reply: bytes, provider: str, **parts: Any) -> tuple[int, dict[str, Any], Any]:
    """How many of three copies of one cloud are called for a request that must not run twice."""
    copies = (Provider.AZURE if provider == "azure" else Provider.GCP,) * 3
    with copy_of(reply) as copy, behind_fiso(copy, *copies, idempotent=Idempotent.NO) as rig:
        response = rig.send(event("POST", body=parts.pop("body", "{}"), **parts))
        return len(copy.requests), response, rig.only_record


def endpoints(rig: Rig) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = rig.request("GET", "/v1/endpoints").document["endpoints"]
    return rows


OVER_HTTP = [example for example in WITHOUT_A_KEY if example.provider != "aws"]


@pytest.mark.parametrize("example", OVER_HTTP, ids=lambda example: example.mark)
def test_a_door_is_passed_over_only_where_it_says_that_nothing_ran(example: Example) -> None:
    """azure-webjobs-sdk#1536 (502, and the function went on for 80 s), esp-v2#503, cortex#1225, OData.Client#44 (six
    executions of one POST)."""
    count, response, record = executions(bytes_of(example), example.provider)
    assert count == (3 if example.failure in NEVER_RAN else 1)
    assert response["statusCode"] in (400, 502, 503, 504)
    assert record.attempts[0].verdict is example.fault
    assert example.mark in record.attempts[0].evidence


OWN: dict[str, tuple[int, list[str], bytes]] = {
    # Starlette's and Werkzeug's words for an error of their own
    "FastAPI's 500": (500, ["content-type: text/plain; charset=utf-8"], b"Internal Server Error"),
    "Flask's 404": (
        404,
        ["content-type: text/html; charset=utf-8"],
        b"<!doctype html>\n<title>404 Not Found</title>\n",
    ),
    "behind App Service's authentication": (
        500,
        ["content-type: application/json", "server: uvicorn", "x-ms-middleware-request-id: b15996c1"],
        b'{"detail": "no"}',
    ),
    "behind Google's front end": (503, ["server: Google Frontend", "x-cloud-trace-context: 1"], b'{"e": 1}'),
    "behind CloudFront": (404, ["x-cache: Error from cloudfront", "via: 1.1 x (CloudFront)"], b'{"e": "no such item"}'),
    "of a Smithy server": (403, ["x-amzn-errortype: AccessDeniedException"], b'{"message": "not yours"}'),
    "API Gateway's words": (403, ["content-type: application/json"], b'{"message":"Forbidden"}'),
    "a login of its own": (
        302,
        ["location: https://login.microsoftonline.com/t/oauth2/v2.0/authorize?client_id=1"],
        b"",
    ),
    "a key of its own": (401, ["content-type: application/json"], b""),
    # Istio's and nginx's default of repeating 503 (istio#12583, #13851)
    "a 503 with Retry-After": (503, ["retry-after: 3", "content-type: application/json"], b'{"e": "busy"}'),
    "a 429 of its own": (429, ["retry-after: 3"], b'{"e": "slow down"}'),
    "the stopped app's page, sent on by a framework": (
        403,
        ["content-type: text/html; charset=utf-8"],
        BY_MARK["azure_app_stopped"].body,
    ),
}


@pytest.mark.parametrize("provider", ["azure", "gcp"])
@pytest.mark.parametrize("name", OWN)
def test_what_only_resembles_a_door_goes_back_as_it_is_and_ran_once(name: str, provider: str) -> None:
    status, lines, body = OWN[name]
    count, response, _ = executions(answer(status, body, *lines), provider)
    assert (count, response["statusCode"], body_of(response)) == (1, status, body)


HOST = BY_MARK["azure_host_not_running"]
WORDS = HOST.body.decode()
ECHOED: dict[str, dict[str, Any]] = {
    "in the body": {"body": json.dumps({"say": WORDS})},
    "escaped in JSON": {"body": '{"say": "\\u0046unction host is not running\\u002e"}'},
    "in a form": {"body": "say=" + WORDS.replace(" ", "+")},
    "in the query": {"query": "say=" + WORDS.replace(" ", "%20")},
    "in the path": {"suffix": "/echo/" + WORDS},
    "in a header": {"headers": {"x-say": WORDS}},
    "in a cookie": {"cookies": ["say=" + WORDS]},
    "compressed": {"body": gzip.compress(WORDS.encode()), "headers": {"content-encoding": "gzip"}},
}


@pytest.mark.parametrize("way", ECHOED)
def test_what_a_caller_has_a_function_say_is_no_mark(way: str) -> None:
    """A function that repeats its input ran, and no caller may put a copy out of service by it."""
    count, response, record = executions(bytes_of(HOST), "azure", **ECHOED[way])
    assert (count, response["statusCode"], body_of(response)) == (1, 503, HOST.body)
    assert record.attempts[0].failure is None


def test_a_function_that_passes_on_what_another_app_answered_ran() -> None:
    """It has a content type then, which the host's own answer has not."""
    count, response, record = executions(
        answer(503, HOST.body, "content-type: text/plain; charset=utf-8"), "azure", body="{}"
    )
    assert (count, response["statusCode"], record.attempts[0].verdict) == (1, 504, Fault.COPY)


def test_callers_who_make_a_function_speak_like_a_door_put_no_copy_out_of_service() -> None:
    with copy_of(bytes_of(HOST)) as copy, behind_fiso(copy, *(Provider.AZURE,) * 2) as rig:
        for _ in range(30):
            rig.send(event("POST", body=json.dumps({"say": WORDS})))
        assert len(copy.requests) == 30
        assert {attempt.failure for record in rig.records for attempt in record.attempts} == {None}
        assert "demoted" not in {row.get("standing") for row in endpoints(rig)}


TOO_LARGE = BY_MARK["google_too_large"]


def test_a_door_that_takes_less_than_the_siblings_is_passed_over_and_not_blamed() -> None:
    """Zappa#1730, quotas of Cloud Run: 32 MiB there, 100 MB at Azure. It never ran."""
    good = answer(200, b"{}", "content-type: application/json")
    with (
        copy_of(bytes_of(TOO_LARGE), good) as copy,
        behind_fiso(copy, Provider.GCP, Provider.GCP, idempotent=Idempotent.NO) as rig,
    ):
        assert rig.send(event("POST", body="x" * 1000))["statusCode"] == 200
        first, second = rig.only_record.attempts
        assert (first.verdict, second.status) == (Fault.CALLER, 200)
        assert {row["breaker"] for row in endpoints(rig)} == {"closed"}


@pytest.mark.parametrize(
    ("status", "body"), [(500, b""), (503, b"Function host is restarting."), (502, b"Bad Gateway")]
)
def test_bytes_that_mean_opposite_things_count_as_unknown_and_run_once(status: int, body: bytes) -> None:
    """functions-samples#383, firebase-functions#965, azure-functions-host#10519: one text for a crash and a quota."""
    count, response, _ = executions(answer(status, body), "gcp")
    assert (count, response["statusCode"]) == (1, status)
