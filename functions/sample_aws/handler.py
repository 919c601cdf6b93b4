"""The sample functions on AWS Lambda: an HTTP API v2 event in, its response out. Imports only the portable body."""

import base64
import binascii
from collections.abc import Mapping

from fiso_workload import query as queries
from fiso_workload.answer import Answer, Refusal, problem
from fiso_workload.app import handle

TEXT = ("application/json", "application/problem+json")


def lambda_handler(event: Mapping[str, object], context: object) -> dict[str, object]:
    """Answer one HTTP API v2 event; the path's last part names the function."""
    del context
    try:
        return _response(_answered(event))
    except Refusal as refusal:
        return _response(problem(refusal))


def _answered(event: Mapping[str, object]) -> Answer:
    path, method = _route(event)
    query = queries.parse(str(event.get("rawQueryString") or ""))
    headers = event.get("headers")
    names = {str(name): str(value) for name, value in headers.items()} if isinstance(headers, Mapping) else {}
    return handle(path.strip("/").rpartition("/")[2], _body(event), query, names, method=method)


def _route(event: Mapping[str, object]) -> tuple[str, str]:
    path, context = event.get("rawPath"), event.get("requestContext")
    http = context.get("http") if isinstance(context, Mapping) else None
    if not isinstance(path, str) or not isinstance(http, Mapping):
        raise Refusal("the event is not an HTTP API event of version 2.0")
    return path, str(http.get("method"))


def _body(event: Mapping[str, object]) -> bytes:
    body = event.get("body") or ""
    if not isinstance(body, str):
        raise Refusal("the event's body is not text")
    try:
        return base64.b64decode(body, validate=True) if event.get("isBase64Encoded") else body.encode()
    except (binascii.Error, UnicodeEncodeError) as error:
        raise Refusal("the event's body cannot be decoded") from error


def _response(answer: Answer) -> dict[str, object]:
    is_text = answer.content_type in TEXT
    return {
        "statusCode": answer.status,
        "headers": {"content-type": answer.content_type, **answer.headers},
        "body": answer.body.decode() if is_text else base64.b64encode(answer.body).decode(),
        "isBase64Encoded": not is_text,
    }
