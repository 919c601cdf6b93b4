"""Hardening: what every answer of the console carries, and what no request gets past."""

import re

from flask import Flask, Response, request
from werkzeug.exceptions import RequestEntityTooLarge, SecurityError

from fiso.domain.errors import MethodNotAllowed

ALLOWED = ("GET", "HEAD")
FORM_METHODS = ("POST",)
SWITCH, SWITCH_METHODS = re.compile(r"/api/policies/[^/]+/pin"), ("PUT", "DELETE")
SWITCH_FORM = re.compile(r"/console/functions/[^/]+/pin")
"""The one thing that the console has changed, by the keeper."""
POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "connect-src 'self'",
        "frame-ancestors 'none'",
        "base-uri 'none'",
        "form-action 'self'",
    )
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # not no-referrer, under which browsers send the console's own forms with the origin "null"
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}
STRICT_TRANSPORT = "max-age=63072000; includeSubDomains"


def register(app: Flask, *, over_https: bool, forms: frozenset[str] = frozenset()) -> None:
    """Install the checks before and the headers after every request. `forms` are the paths that take a POST."""
    headers = HEADERS | ({"Strict-Transport-Security": STRICT_TRANSPORT} if over_https else {})

    @app.before_request
    def _refuse_what_is_never_served() -> None:
        """The console reads only, but for `forms` and the kill switch; no body above the limit, whoever reads it."""
        if isinstance(
            request.routing_exception, SecurityError
        ):  # a host that is not ours, before anything else is told
            raise request.routing_exception
        allowed = FORM_METHODS if request.path in forms or SWITCH_FORM.fullmatch(request.path) else ALLOWED
        allowed = SWITCH_METHODS if SWITCH.fullmatch(request.path) else allowed
        if request.method not in allowed:
            raise MethodNotAllowed(f"the console answers {' and '.join(allowed)} only here", allow=", ".join(allowed))
        if (request.content_length or 0) > (request.max_content_length or 0):
            raise RequestEntityTooLarge

    @app.after_request
    def _secured(response: Response) -> Response:
        response.headers.update(headers)
        response.headers.setdefault("Cache-Control", "no-store")
        return response
