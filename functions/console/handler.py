"""The console's edge: an API Gateway event in, an HTTP answer out. No logic; importing it opens no connection."""

import json
import logging
import os
from collections.abc import Mapping
from functools import cache
from typing import Any

import serverless_wsgi
from flask import Flask

from fiso import telemetry
from fiso.console_settings import ConsoleSettings
from fiso.domain.errors import MalformedRequest
from functions.console import errors, gateway_event, wiring

serverless_wsgi.TEXT_MIME_TYPES.append("application/problem+json")
logger = logging.getLogger(__name__)


def lambda_handler(event: object, context: object) -> dict[str, Any]:
    """Answer one HTTP API (payload 2.0) event."""
    return answer_event(_app(), event, context)


def answer_event(app: Flask, event: object, context: object) -> dict[str, Any]:
    """Answer one event by an app, with cookies where payload 2.0 has them. What no gateway sends is a 400."""
    try:
        telemetry.identify(event, context)
        shown = _with_shown_cookies(gateway_event.checked(event))
        answer = _with_sent_cookies(serverless_wsgi.handle_request(app, shown, context))
    except MalformedRequest as error:
        return _problem(error.status, error.title, str(error))
    except Exception:
        logger.exception("unexpected error")
        return _problem(500, "Internal error", "the console failed; its log has more")
    return answer


def _with_shown_cookies(event: Mapping[str, Any]) -> dict[str, Any]:
    """API Gateway takes them out of the headers; the emulator leaves them there, where `serverless_wsgi` drops them."""
    if event["cookies"]:
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
    telemetry.logger()
    return wiring.build(ConsoleSettings.from_environ(os.environ))


def _problem(status: int, title: str, detail: str) -> dict[str, Any]:
    headers = {"content-type": "application/problem+json", "cache-control": "no-store"}
    body = json.dumps(errors.document(status, title, detail))
    return {"statusCode": status, "headers": headers, "body": body, "isBase64Encoded": False}
