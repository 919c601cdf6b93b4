"""The console's edge: an API Gateway event in, an HTTP answer out. No logic; importing it opens no connection."""

import os
from functools import cache
from typing import Any

import serverless_wsgi
from flask import Flask

from fiso import telemetry
from fiso.settings import ConsoleSettings
from functions.console import wiring

serverless_wsgi.TEXT_MIME_TYPES.append("application/problem+json")


def lambda_handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    """Answer one HTTP API (payload 2.0) event."""
    answer: dict[str, Any] = serverless_wsgi.handle_request(_app(), event, context)
    return answer


@cache
def _app() -> Flask:
    """The app of this execution environment, built on its first request."""
    telemetry.logger()
    return wiring.build(ConsoleSettings.from_environ(os.environ))
