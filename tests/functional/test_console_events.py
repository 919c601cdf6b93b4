"""Events that no gateway sends, to the console: never a 500, and what is sound is answered as ever."""

import json
from collections import Counter
from typing import Any

import pytest
from flask import Flask

from functions.console import app
from functions.console.handler import answer_event
from tests.functional.console_world import busy_world
from tests.security.generated_events import each_generated
from tests.security.specimens import http_event

ROUTES = (
    "/console",
    "/console/invocations",
    "/console/endpoints",
    "/console/models",
    "/console/static/console.css",
    "/api/invocations",
    "/api/endpoints",
    "/api/reports/retraining",
)
CONSOLE = app.create(busy_world(20).sources, stage="local")


def test_generated_events_are_never_the_consoles_own_failure() -> None:
    statuses: Counter[int] = Counter()

    def send(event: object) -> None:
        if isinstance(event, dict) and len(json.dumps(event)) % 2 and isinstance(event.get("rawPath"), str):
            event["requestContext"] = {"http": {"method": "GET"}}
        answer = answer_event(CONSOLE, event, None)
        json.dumps(answer, allow_nan=False)
        statuses[answer["statusCode"]] += 1

    each_generated(send, count=300, first=7, routes=ROUTES)
    assert set(statuses) <= {200, 400, 404, 405, 413}
    assert {200, 400, 405} <= set(statuses), "the events are too alike to say anything"


EVENTS: dict[str, tuple[Any, int]] = {
    "no event": (None, 400),
    "nothing in it": ({}, 405),
    "headers as a list": (http_event("/console", headers=[]), 400),
    "a header with a line feed": (http_event("/console", headers={"host": "a\r\nx: y"}), 400),
    "a path with a lone surrogate": (http_event("/console/\ud800", method="GET"), 400),
    "cookies as text": (http_event("/console", cookies="a=b"), 400),
    "a body that is not base64": (http_event("/console", body="*", isBase64Encoded=True), 400),
    "a body beyond ASCII": (http_event("/console", body="\u00e9", isBase64Encoded=True), 400),
    "2 MB of body": (http_event("/api/endpoints", body="x" * 2_000_000, method="GET"), 413),
    "an event of another service": ({"source": "aws.events"}, 405),
    "no authorizer": (http_event("/api/endpoints", body=None, requestContext=None) | {"method": "GET"}, 405),
    "a sound one": (http_event("/api/endpoints", body=None, method="GET"), 200),
}


@pytest.mark.parametrize(("event", "status"), EVENTS.values(), ids=EVENTS.keys())
def test_each_gets_its_own_status(event: Any, status: int) -> None:
    assert answer_event(CONSOLE, event, None)["statusCode"] == status


def test_what_nobody_foresaw_is_a_500_without_its_details() -> None:
    broken = Flask("broken")

    @broken.before_request
    def fail() -> None:
        raise ZeroDivisionError("division")

    broken.config["PROPAGATE_EXCEPTIONS"] = True
    answer = answer_event(broken, http_event("/console", method="GET"), None)
    assert answer["statusCode"] == 500
    assert "division" not in answer["body"]
