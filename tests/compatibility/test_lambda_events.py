"""The event that a Lambda function gets, for requests that other gateways were reported to spell wrong."""

import base64
import json
import re
from typing import Any

import pytest

from fiso.domain.endpoint import Provider
from tests.compatibility.copies import answer, behind_fiso, copy_of, event, ids

TAKEN = answer(200, b'{"statusCode": 200}')
URI = re.compile(r"[!$&'()*+,;=:@/?%A-Za-z0-9._~\[\]-]*")


def got(method: str = "GET", suffix: str = "", body: str | bytes = "", **parts: Any) -> dict[str, Any]:
    """The event as it stands in the body of the Invoke."""
    with copy_of(TAKEN) as copy, behind_fiso(copy, Provider.AWS) as rig:
        assert rig.send(event(method, suffix, body, **parts))["statusCode"] == 200
        made: dict[str, Any] = json.loads(copy.body)
        return made


def test_what_is_not_there_is_absent_and_not_null() -> None:
    """ministack#1163: Powertools refuses null, and every GET and DELETE was 502."""
    made = got("DELETE")
    absent = {"queryStringParameters", "body", "cookies", "pathParameters", "stageVariables", "authentication"}
    assert not absent & made.keys()
    assert (made["rawQueryString"], made["isBase64Encoded"]) == ("", False)
    assert None not in made["requestContext"].values()


def test_it_is_one_that_mangum_can_place_and_nobody_prefixes() -> None:
    """mangum#193, #272; aws-lambda-rust-runtime#668: a stage in the context is put before the path, or taken off it."""
    made = got("GET", "/Prod/x")
    context = made["requestContext"]
    assert (made["version"], made["routeKey"], context["routeKey"]) == ("2.0", "$default", "$default")
    assert (made["rawPath"], context["http"]["path"], context["stage"]) == ("/Prod/x", "/Prod/x", "$default")
    assert context["http"]["method"] == "GET"


QUERIES: list[tuple[str, str, dict[str, str]]] = [
    # aws-cdk#19827, aws-lambda-dotnet#482, micronaut-aws#1529, aws-lambda-fastify#221
    ("plus and escapes", "a=x%2By&b=x+y&c=x%20y&d=%25", {"a": "x+y", "b": "x y", "c": "x y", "d": "%"}),
    ("empty and repeated", "e=&f&g=a%3Db&g=2", {"e": "", "f": "", "g": "a=b,2"}),
    ("encoded names", "%24k=1&h=%E2%82%AC&filter%5Bname%5D=x", {"$k": "1", "h": "€", "filter[name]": "x"}),
    # aws-lambda-web-adapter#491 (InvalidUriChar), ministack#1035
    ("raw characters", 'q="x"|y z', {"q": '"x"|y z'}),
    ("raw UTF-8", "q=ü", {"q": "ü"}),
    ("bytes that are no UTF-8", "i=%FF", {"i": "\ufffd"}),
]


@pytest.mark.parametrize("case", QUERIES, ids=ids(QUERIES))
def test_a_query_is_raw_in_one_place_and_decoded_once_in_the_other(case: tuple[str, str, dict[str, str]]) -> None:
    _, query, parameters = case
    made = got(query=query)
    assert made["queryStringParameters"] == parameters
    assert URI.fullmatch(made["rawQueryString"])


def test_a_cookie_stands_in_one_place() -> None:
    """mangum#175: frameworks read `cookies` and the header, and see each twice."""
    made = got(cookies=["a=1", "b=2"], headers={"cookie": "a=1, b=2"})
    assert (made["cookies"], "cookie" in made["headers"]) == (["a=1", "b=2"], False)


def test_headers_are_lower_case_texts_with_a_host() -> None:
    """aws-lambda-web-adapter#462, #732; hono#2493: without a host, 502."""
    made = got(headers={"ExTrA-HeadErs": "With WeiRd CapS", "X-A": "1,2", "X-E": "", "host": "api.example.com"})
    headers = made["headers"]
    assert (headers["extra-headers"], headers["x-a"], headers["x-e"]) == ("With WeiRd CapS", "1,2", "")
    assert (headers["host"], made["requestContext"]["domainName"]) == ("api.example.com", "api.example.com")
    assert all(name == name.lower() and isinstance(value, str) for name, value in headers.items())


def test_a_value_beyond_ascii_is_text() -> None:
    """aws-lambda-web-adapter#732: the city of a viewer."""
    assert got(headers={"x-city": "Zürich Łódź"})["headers"]["x-city"] == "Zürich Łódź"


@pytest.mark.parametrize("name", ["proxy", "expect", "te", "upgrade", "x-fiso-exclude", "proxy-connection"])
def test_what_stays_at_fiso_is_in_no_event(name: str) -> None:
    """httpoxy (CVE-2016-5385); RFC 9110, 7.6.1."""
    assert name not in got(headers={name: "eu-west-9"})["headers"]


BODIES: list[tuple[str, bytes, dict[str, str]]] = [
    ("JSON beyond ASCII", '{"a": "ü"}'.encode(), {"content-type": "application/json"}),
    ("a picture", b"\x89PNG\r\n", {"content-type": "image/png"}),
    (
        "gzip that calls itself JSON",
        b"\x1f\x8b\x08\x00\xff",
        {"content-type": "application/json", "content-encoding": "gzip"},
    ),
    ("text that is no UTF-8", b"caf\xe9", {"content-type": "text/plain"}),
    ("no type", b"abc", {"content-type": ""}),
]


@pytest.mark.parametrize("case", BODIES, ids=ids(BODIES))
def test_the_length_is_that_of_the_body_as_the_function_sees_it(case: tuple[str, bytes, dict[str, str]]) -> None:
    """serverless-http#194. WSGI reads so many bytes: with a stale length Flask sees half a body, without one none."""
    _, body, headers = case
    made = got("POST", "", body, headers=headers | {"content-length": "99999"})
    seen = base64.b64decode(made["body"]) if made["isBase64Encoded"] else made["body"].encode()
    assert (seen, made["headers"]["content-length"]) == (body, str(len(body)))


def test_a_body_of_a_get_goes_with_it() -> None:
    assert got("GET", body="{}")["body"] == "{}"
