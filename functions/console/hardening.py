"""Hardening: what every answer of the console carries, and what no request gets past."""

from flask import Flask, Response, request
from werkzeug.exceptions import RequestEntityTooLarge

from fiso.domain.errors import MethodNotAllowed

ALLOWED = ("GET", "HEAD")
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
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}
STRICT_TRANSPORT = "max-age=63072000; includeSubDomains"


def register(app: Flask, *, over_https: bool) -> None:
    """Install the checks before and the headers after every request."""
    app.before_request(_refuse_what_is_never_served)
    headers = HEADERS | ({"Strict-Transport-Security": STRICT_TRANSPORT} if over_https else {})

    @app.after_request
    def _secured(response: Response) -> Response:
        response.headers.update(headers)
        response.headers.setdefault("Cache-Control", "no-store")
        return response


def _refuse_what_is_never_served() -> None:
    """The console reads only: no other method on any path, no body above the limit even though nobody would read it."""
    if request.method not in ALLOWED:
        raise MethodNotAllowed(f"the console answers {' and '.join(ALLOWED)} only", allow=", ".join(ALLOWED))
    if (request.content_length or 0) > (request.max_content_length or 0):
        raise RequestEntityTooLarge
