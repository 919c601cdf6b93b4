"""The sample functions through the genuine shells of three clouds: byte-equal answers to the same requests."""

import base64
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import azure.functions as func
import functions_framework
import pytest

from functions.sample_aws import handler as aws
from functions.sample_azure import function_app as azure

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    path: str
    body: bytes = b""
    query: str = ""
    content_type: str = "application/json"
    method: str = "POST"


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    status: int
    body: bytes
    content_type: str
    cold: str
    spent_ms: float


def through_aws(request: Request) -> Received:
    event = {
        "version": "2.0",
        "rawPath": request.path,
        "rawQueryString": request.query,
        "headers": {"content-type": request.content_type},
        "requestContext": {"http": {"method": request.method, "path": request.path}},
        "body": base64.b64encode(request.body).decode(),
        "isBase64Encoded": True,
    }
    response = json.loads(json.dumps(aws.lambda_handler(event, SimpleNamespace())))
    body = response["body"]
    return Received(
        status=response["statusCode"],
        body=base64.b64decode(body) if response["isBase64Encoded"] else body.encode(),
        content_type=response["headers"]["content-type"],
        cold=response["headers"]["x-fiso-cold"],
        spent_ms=float(response["headers"]["x-fiso-exec-ms"]),
    )


@pytest.fixture(scope="module")
def through_azure() -> Callable[[Request], Received]:
    (function,) = azure.app.get_functions()
    run = function.get_user_function()

    def send(request: Request) -> Received:
        response = run(
            func.HttpRequest(
                method=request.method,
                url=f"https://sample.example/api{request.path}?{request.query}",
                headers={"content-type": request.content_type},
                route_params={"name": request.path.strip("/")},
                body=request.body,
            )
        )
        return Received(
            status=response.status_code,
            body=response.get_body(),
            content_type=response.mimetype,
            cold=response.headers["x-fiso-cold"],
            spent_ms=float(response.headers["x-fiso-exec-ms"]),
        )

    return send


@pytest.fixture(scope="module")
def through_google() -> Callable[[Request], Received]:
    source = ROOT / "functions" / "sample_gcp" / "main.py"
    client = functions_framework.create_app(target="sample", source=str(source)).test_client()  # type: ignore[no-untyped-call]

    def send(request: Request) -> Received:
        response = client.open(
            request.path,
            method=request.method,
            query_string=request.query,
            data=request.body,
            content_type=request.content_type,
        )
        return Received(
            status=response.status_code,
            body=response.data,
            content_type=response.headers["content-type"],
            cold=response.headers["x-fiso-cold"],
            spent_ms=float(response.headers["x-fiso-exec-ms"]),
        )

    return send


TEXT = "Über den Wolken, über allem: the quick brown fox".encode()
PHOTO = bytes(range(192)) * 4
REQUESTS = [
    Request(path="/graph-bfs", body=b'{"size": 300, "seed": 7}'),
    Request(path="/graph-bfs", body='{"nodes": ["ä", 2], "edges": [["ä", 2]], "source": "ä"}'.encode()),
    Request(path="/graph-bfs", body=b'{"size": NaN}'),
    Request(path="/compress", body=PHOTO, content_type="application/octet-stream"),
    Request(path="/compress", body=b"", query="level=9"),
    Request(path="/compress", body=PHOTO, query="algorithm=zlib&level=1"),
    Request(path="/pixels", body=PHOTO, query="width=16&height=16&op=blur&radius=2"),
    Request(path="/pixels", body=PHOTO, query="width=16&height=16&op=thumbnail&factor=4"),
    Request(path="/pixels", body=b"P6 16 16 255\n" + PHOTO, content_type="image/x-portable-pixmap"),
    Request(path="/pixels", body=PHOTO, query="width=17&height=16"),
    Request(path="/word-count", body=TEXT, content_type="text/plain; charset=utf-8"),
    Request(path="/word-count", body=b"a=b&c=d", content_type="application/x-www-form-urlencoded"),
    Request(path="/word-count", body=TEXT, query="top=%C3%A9"),
    Request(path="/word-count", body=b"\xff\xfe"),
    Request(path="/no-such-function", body=b"{}"),
    Request(path="/word-count", body=TEXT, method="PUT"),
]


@pytest.mark.parametrize("request_", REQUESTS, ids=lambda request: f"{request.path}?{request.query}")
def test_all_three_clouds_answer_with_the_same_bytes(
    request_: Request,
    through_azure: Callable[[Request], Received],
    through_google: Callable[[Request], Received],
) -> None:
    answers = [send(request_) for send in (through_aws, through_azure, through_google)]
    assert len({(answer.status, answer.content_type, answer.body) for answer in answers}) == 1
    assert all(answer.cold in ("0", "1") and answer.spent_ms >= 0 for answer in answers)


@pytest.mark.parametrize(
    "event",
    [
        {},
        {"rawPath": "/compress"},
        {"rawPath": 1, "requestContext": {"http": {"method": "POST"}}},
        {"rawPath": "/compress", "requestContext": {"http": {"method": "POST"}}, "body": 5},
        {"rawPath": "/compress", "requestContext": {"http": {"method": "POST"}}, "body": "*", "isBase64Encoded": True},
        {"rawPath": "/compress", "requestContext": {"http": {"method": "POST"}}, "body": "\ud800"},
    ],
)
def test_an_event_that_is_not_an_http_request_is_a_400(event: dict[str, object]) -> None:
    response = aws.lambda_handler(event, SimpleNamespace())
    assert response["statusCode"] == 400
    assert isinstance(response["headers"], dict)
    assert response["headers"]["content-type"] == "application/problem+json"
