"""Errors as answers: a page under /console, problem+json elsewhere. The only place that turns errors into statuses."""

import json
import logging
from dataclasses import dataclass
from functools import partial

from flask import Flask, Response, render_template, request
from werkzeug.exceptions import HTTPException

from fiso.domain.errors import MethodNotAllowed, NotAuthenticated, RequestError, StoreError
from fiso_client.core import redaction
from fiso_client.core.failures import FisoError

logger = logging.getLogger(__name__)
RETRY_AFTER_S = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """What went wrong, for a person and for a program. The detail may repeat what others wrote, so it is redacted."""

    status: int
    title: str
    detail: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "detail", redaction.redact(self.detail, limit=2000))


def register(app: Flask, *, challenge: str | None = None) -> None:
    """Install the handlers. `challenge` says how callers authenticate here."""
    app.register_error_handler(RequestError, partial(_for_request, challenge=challenge))
    app.register_error_handler(FisoError, _for_source)
    app.register_error_handler(HTTPException, _for_http)


def _for_request(error: RequestError, *, challenge: str | None) -> Response:
    response = _answer(Problem(status=error.status, title=error.title, detail=str(error)))
    if isinstance(error, MethodNotAllowed):
        response.headers["Allow"] = error.allow
    if challenge is not None and isinstance(error, NotAuthenticated):
        response.headers["WWW-Authenticate"] = challenge
    return response


def _for_source(error: FisoError) -> Response:
    """A store is unavailable, or what it holds does not read: the page says which, and is worth another try."""
    logger.error("console cannot read: %s", error, exc_info=error)
    title = "A store does not answer" if isinstance(error, StoreError) else "Stored data does not read"
    response = _answer(Problem(status=503, title=title, detail=str(error)))
    response.headers["Retry-After"] = str(RETRY_AFTER_S)
    return response


def _for_http(error: HTTPException) -> Response:
    """Werkzeug's own refusals, and the 500 that Flask makes of (and logs with) an unexpected exception."""
    return _answer(Problem(status=error.code or 500, title=error.name, detail=error.description or error.name))


def _answer(problem: Problem) -> Response:
    if request.path == "/console" or request.path.startswith("/console/"):
        return Response(render_template("problem.html", problem=problem), status=problem.status, mimetype="text/html")
    return Response(
        json.dumps(document(problem.status, problem.title, problem.detail)),
        status=problem.status,
        content_type="application/problem+json",
    )


def document(status: int, title: str, detail: str) -> dict[str, object]:
    """RFC 9457; below /api nothing was invoked."""
    return {"type": "about:blank", "title": title, "status": status, "detail": detail, "invocation_id": None}
