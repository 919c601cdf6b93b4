"""The console's edge: an API Gateway event in, an HTTP answer out. No logic; importing it opens no connection."""

import os
from functools import cache
from typing import Any

import serverless_wsgi
from flask import Flask

from fiso.settings import ConsoleSettings
from functions.console import wiring

serverless_wsgi.TEXT_MIME_TYPES.append("application/problem+json")


def lambda_handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    """Answer one HTTP API (payload 2.0) event."""
    return with_cookies(serverless_wsgi.handle_request(_app(), event, context))


def with_cookies(answer: dict[str, Any]) -> dict[str, Any]:
    """Cookies where payload 2.0 has them; `serverless_wsgi` spells the header's name anew for each of several."""
    headers = dict(answer["headers"])
    cookies = [headers.pop(name) for name in list(headers) if name.lower() == "set-cookie"]
    return {**answer, "headers": headers, **({"cookies": cookies} if cookies else {})}


@cache
def _app() -> Flask:
    """The app of this execution environment, built on its first request."""
    return wiring.build(ConsoleSettings.from_environ(os.environ))
