"""The console's edge: an API Gateway event in, an HTTP answer out. No logic; importing it opens no connection."""

import os
from collections.abc import Mapping
from functools import cache
from typing import Any

import serverless_wsgi
from flask import Flask

from fiso.settings import ConsoleSettings
from functions.console import wiring

serverless_wsgi.TEXT_MIME_TYPES.append("application/problem+json")


def lambda_handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    """Answer one HTTP API (payload 2.0) event."""
    return answer_event(_app(), event, context)


def answer_event(app: Flask, event: Mapping[str, Any], context: object) -> dict[str, Any]:
    """One event through an app, with cookies where payload 2.0 has them."""
    return _with_sent_cookies(serverless_wsgi.handle_request(app, _with_shown_cookies(event), context))


def _with_shown_cookies(event: Mapping[str, Any]) -> dict[str, Any]:
    """API Gateway takes them out of the headers; the emulator leaves them there, where `serverless_wsgi` drops them."""
    if "cookies" in event:
        return dict(event)
    headers = event.get("headers") or {}
    return {**event, "cookies": [value for name, value in headers.items() if name.lower() == "cookie"]}


def _with_sent_cookies(answer: dict[str, Any]) -> dict[str, Any]:
    """`serverless_wsgi` spells the header's name anew for each of several cookies; API Gateway takes them as a list."""
    headers = dict(answer["headers"])
    cookies = [headers.pop(name) for name in list(headers) if name.lower() == "set-cookie"]
    return {**answer, "headers": headers, **({"cookies": cookies} if cookies else {})}


@cache
def _app() -> Flask:
    """The app of this execution environment, built on its first request."""
    return wiring.build(ConsoleSettings.from_environ(os.environ))
