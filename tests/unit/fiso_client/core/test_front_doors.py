"""Front doors' answers against functions' own."""

import gzip
from pathlib import Path
from typing import Any
from urllib.parse import quote_plus

import pytest

from fiso_client.core.answers import Asked, HttpAnswer, read_http
from fiso_client.core.failures import NEVER_RAN, ProviderError
from fiso_client.core.front_doors import _ANY, _AWS, _AZURE, _GOOGLE
from tests.front_doors import EXAMPLES, Example

BY_HEADERS = {"azure_ip_forbidden", "cloudflare_challenge"}
"""Told by headers alone, whatever the page says."""
PROVIDERS = ("aws", "azure", "gcp")


def answered(example: Example) -> HttpAnswer:
    return HttpAnswer(status=example.status, headers=example.headers, body=example.body)


def asked_of(example: Example, **sent: Any) -> Asked:
    return Asked(provider=example.provider, authentication=example.authentication, **sent)


def failure_of(answer: HttpAnswer, asked: Asked) -> ProviderError:
    with pytest.raises(ProviderError) as raised:
        read_http(answer, asked)
    return raised.value


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.mark)
def test_a_doors_answer_is_told_by_its_mark(example: Example) -> None:
    error = failure_of(answered(example), asked_of(example))
    assert (error.failure, error.verdict, error.status) == (example.failure, example.fault, example.status)
    assert error.detail.startswith(f"status {example.status} {example.mark}")
    assert len(error.detail) <= 200


def test_each_mark_has_an_example() -> None:
    assert {mark.name for mark in (*_AZURE, *_GOOGLE, *_AWS, *_ANY)} == {example.mark for example in EXAMPLES}


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ({"content-type": "application/json"}, b'{"error": "no"}'),
        ({"content-type": "text/html; charset=utf-8"}, b"<!doctype html>\n<title>Sorry</title>\n<h1>Sorry</h1>"),
        ({"content-type": "text/plain; charset=utf-8"}, b"Internal Server Error"),  # Starlette's own
        ({"content-type": "text/plain; charset=utf-8"}, b"Service Unavailable"),
        ({"content-type": "application/json", "x-amzn-errortype": "ValidationException"}, b'{"message":"Forbidden"}'),
        ({"x-ms-middleware-request-id": "1", "server": "Google Frontend", "apigw-requestid": "2"}, b""),
        ({"location": "https://login.microsoftonline.com/t/oauth2/v2.0/authorize?redirect_uri=https%3A%2F%2Fa"}, b""),
        ({}, b""),
    ],
)
def test_what_bears_no_mark_is_the_functions_own(provider: str, headers: dict[str, str], body: bytes) -> None:
    for status in range(300, 600):
        answer = read_http(HttpAnswer(status=status, headers=headers, body=body), Asked(provider=provider))
        assert (answer.status, answer.headers, answer.body) == (status, headers, body)
        assert answer.is_function_error == (status >= 500)


@pytest.mark.parametrize("example", [one for one in EXAMPLES if one.failure in NEVER_RAN], ids=lambda one: one.mark)
def test_a_door_of_one_cloud_does_not_stand_at_another(example: Example) -> None:
    others = [provider for provider in PROVIDERS if provider != example.provider]
    if example.mark.startswith("cloud") and not example.mark.startswith("cloud_run"):
        return  # these stand in front of any
    for provider in others:
        answer = read_http(answered(example), Asked(provider=provider, authentication=example.authentication))
        assert answer.status == example.status


@pytest.mark.parametrize(
    "example",
    [one for one in EXAMPLES if one.failure in NEVER_RAN and one.body and one.mark not in BY_HEADERS],
    ids=lambda one: one.mark,
)
def test_a_function_that_repeats_what_the_caller_sent_has_run(example: Example) -> None:
    as_form = quote_plus(example.body)
    forms: list[dict[str, Any]] = [{"body": b"<<" + example.body + b">>"}, {"query": f"say={as_form}"}]
    for sent in forms:
        assert read_http(answered(example), asked_of(example, **sent)).status == example.status


def test_a_function_that_repeats_headers_has_run() -> None:
    answer = HttpAnswer(status=429, headers={"x-function-scaleout": "1"}, body=b"")
    for sent in ({"headers": {"x-function-scaleout": "1"}}, {"body": b'{"headers": {"X-Function-ScaleOut": "1"}}'}):
        assert read_http(answer, Asked(provider="azure", **sent)).status == 429
    away = HttpAnswer(status=302, headers={"location": "https://x/.auth/login/aad"}, body=b"")
    assert read_http(away, Asked(provider="azure", query="next=https://x/.auth/login/aad")).status == 302


def test_what_a_caller_sends_by_chance_takes_no_mark_away() -> None:
    busy = HttpAnswer(status=429, headers={"x-function-scaleout": "1"}, body=b"")
    assert "azure_host_busy" in failure_of(busy, Asked(provider="azure", body=b'{"count": 1}')).detail


def test_a_401_without_a_body_is_azures_only_where_a_key_was_sent() -> None:
    bare = HttpAnswer(status=401, headers={}, body=b"")
    assert read_http(bare, Asked(provider="azure")).status == 401
    own = HttpAnswer(status=401, headers={"content-type": "text/plain; charset=utf-8"}, body=b"")
    assert read_http(own, Asked(provider="azure", authentication="function_key")).status == 401


def test_a_compressed_page_is_read_and_a_damaged_one_is_the_functions() -> None:
    page = next(example for example in EXAMPLES if example.mark == "google_forbidden")
    packed = {**page.headers, "content-encoding": "gzip"}
    error = failure_of(HttpAnswer(status=403, headers=packed, body=gzip.compress(page.body)), asked_of(page))
    assert "google_forbidden" in error.detail
    assert read_http(HttpAnswer(status=403, headers=packed, body=page.body), asked_of(page)).status == 403


def test_what_a_door_wants_to_wait_is_kept() -> None:
    busy = HttpAnswer(status=429, headers={"x-function-scaleout": "1", "retry-after": "7"}, body=b"")
    assert failure_of(busy, Asked(provider="azure")).retry_after_s == 7


def test_the_documentation_lists_each_mark_and_what_it_means() -> None:
    page = (Path(__file__).parents[4] / "docs" / "front-doors.md").read_text()
    rows = [
        [cell.strip(" `") for cell in line.split("|")[1:-1]] for line in page.splitlines() if line.startswith("| `")
    ]
    told = {(name, fault, ran) for name, _, _, fault, ran in rows}
    assert told == {
        (mark.name, str(mark.meaning.fault), "no" if mark.meaning.failure in NEVER_RAN else "perhaps")
        for mark in (*_AZURE, *_GOOGLE, *_AWS, *_ANY)
    }
