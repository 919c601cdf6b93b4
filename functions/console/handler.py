"""The console's edge: an API Gateway event in, an HTTP answer out. No logic; importing it opens no connection."""

import json
import logging
import os
from functools import cache
from typing import Any

import serverless_wsgi
from flask import Flask

from fiso import telemetry
from fiso.domain.errors import MalformedRequest
from fiso.settings import ConsoleSettings
from functions.console import gateway_event, wiring

serverless_wsgi.TEXT_MIME_TYPES.append("application/problem+json")
logger = logging.getLogger(__name__)


def lambda_handler(event: object, context: object) -> dict[str, Any]:
    """Answer one HTTP API (payload 2.0) event."""
    return answer_event(_app(), event, context)


def answer_event(app: Flask, event: object, context: object) -> dict[str, Any]:
    """Answer one event by an app. What no gateway sends is a 400."""
    try:
        answer: dict[str, Any] = serverless_wsgi.handle_request(app, gateway_event.checked(event), context)
    except MalformedRequest as error:
        return _problem(error.status, error.title, str(error))
    except Exception:
        logger.exception("unexpected error")
        return _problem(500, "Internal error", "the console failed; its log has more")
    return answer


@cache
def _app() -> Flask:
    """The app of this execution environment, built on its first request."""
    telemetry.logger()
    return wiring.build(ConsoleSettings.from_environ(os.environ))


def _problem(status: int, title: str, detail: str) -> dict[str, Any]:
    document = {"type": "about:blank", "title": title, "status": status, "detail": detail, "invocation_id": None}
    headers = {"content-type": "application/problem+json", "cache-control": "no-store"}
    return {"statusCode": status, "headers": headers, "body": json.dumps(document), "isBase64Encoded": False}
