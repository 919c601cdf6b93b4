"""Events as the console takes them: API Gateway's payload 2.0, checked, since `serverless_wsgi` trusts its shape."""

import base64
from collections.abc import Mapping
from typing import Any

from fiso.domain.errors import MalformedRequest


def checked(given: object) -> dict[str, Any]:
    """The event with every part of the kind that it must have. `MalformedRequest` when one is of another."""
    event = _part(given, "event")
    context = _part(event.get("requestContext"), "requestContext")
    http = _part(context.get("http"), "http")
    return {
        "version": "2.0",
        "rawPath": _text(event.get("rawPath"), "rawPath") or "/",
        "rawQueryString": _text(event.get("rawQueryString"), "rawQueryString"),
        "headers": _headers(_part(event.get("headers"), "headers")),
        "cookies": _cookies(event.get("cookies")),
        "requestContext": {
            **context,
            "http": {
                **http,
                "method": _text(http.get("method"), "method"),
                "sourceIp": _text(http.get("sourceIp"), "sourceIp"),
            },
            "authorizer": _part(context.get("authorizer"), "authorizer"),
        },
        "body": base64.b64encode(_body(event)).decode(),
        "isBase64Encoded": True,
    }


def _body(event: Mapping[str, Any]) -> bytes:
    text, is_encoded = _text(event.get("body"), "body"), event.get("isBase64Encoded") or False
    if not isinstance(is_encoded, bool):
        raise MalformedRequest("the event's isBase64Encoded is neither true nor false")
    try:
        return base64.b64decode(text, validate=True) if is_encoded else text.encode()
    except ValueError as error:
        raise MalformedRequest("the event's body is not base64") from error


def _headers(given: Mapping[str, Any]) -> dict[str, str]:
    headers = {_text(name, "header"): _text(value, "header") for name, value in given.items()}
    if not all(f"{name}{value}".isprintable() for name, value in headers.items()):
        raise MalformedRequest("a header holds control characters")
    return headers


def _cookies(given: object) -> list[str]:
    if not isinstance(given, list | None):
        raise MalformedRequest("the event's cookies are not a list")
    return [_text(cookie, "cookie") for cookie in given or []]


def _part(given: object, name: str) -> dict[str, Any]:
    if given is None and name != "event":
        return {}
    if not isinstance(given, dict):
        raise MalformedRequest(f"the {name} is not an object")
    return given


def _text(given: object, name: str) -> str:
    if given is None:
        return ""
    if not isinstance(given, str):
        raise MalformedRequest(f"the event's {name} is not text")
    try:
        given.encode()
    except UnicodeEncodeError as error:
        raise MalformedRequest(f"the event's {name} holds a lone surrogate, which is not text") from error
    return given
