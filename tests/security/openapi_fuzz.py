"""Schemathesis against the orchestrator's OpenAPI document, through a gateway that makes events of its requests."""

import base64
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import quote

import functions.orchestrator.handler as handler

OPENAPI = Path(handler.__file__).with_name("openapi.yaml")
CHECKS = ("status_code_conformance", "content_type_conformance", "response_headers_conformance",
          "response_schema_conformance")  # fmt: skip
SendEvent = Callable[[dict[str, Any]], Mapping[str, Any]]
"""An event's answer."""


@dataclass(frozen=True, slots=True)
class Gateway:
    """A WSGI application in front of the handler, as API Gateway is: payload format 2.0, binary bodies as base64."""

    send: SendEvent

    def __call__(self, environ: Mapping[str, Any], start_response: Callable[..., object]) -> Iterable[bytes]:
        """One request."""
        response = self.send(event_of(environ))
        status = int(response["statusCode"])
        phrase = HTTPStatus(status).phrase if status in set(HTTPStatus) else "Unknown"
        start_response(f"{status} {phrase}", [(name, str(value)) for name, value in response["headers"].items()])
        body = str(response["body"])
        return [base64.b64decode(body) if response.get("isBase64Encoded") else body.encode()]


def event_of(environ: Mapping[str, Any]) -> dict[str, Any]:
    """The event of a WSGI request."""
    path = quote(str(environ["PATH_INFO"]).encode("latin-1"))
    body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    headers = {
        name.removeprefix("HTTP_").replace("_", "-").lower(): value
        for name, value in environ.items()
        if name.startswith("HTTP_") or name == "CONTENT_TYPE"
    }
    return {
        "version": "2.0",
        "rawPath": path,
        "rawQueryString": environ.get("QUERY_STRING", ""),
        "headers": headers,
        "requestContext": {"http": {"method": environ["REQUEST_METHOD"], "path": path}, "stage": "$default"},
        "body": base64.b64encode(body).decode(),
        "isBase64Encoded": True,
    }


@dataclass(slots=True)
class Findings:
    """What schemathesis found: answers that the document does not describe, each as one line, and its own errors."""

    undescribed: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)


def fuzz(send: SendEvent, *, examples: int, seed: int, is_whole: bool = True) -> Findings:
    """Send what schemathesis makes of the document; it does not stop at a finding.

    `examples` are drawn per operation; `is_whole` adds the boundary values of every parameter, and sequences of calls.
    """
    import schemathesis
    from schemathesis.config import SchemathesisConfig
    from schemathesis.engine import events, from_schema

    config = SchemathesisConfig.from_dict(
        {
            "seed": seed,
            "continue-on-failure": True,
            "generation": {"max-examples": examples, "database": "none"},
            "phases": {name: {"enabled": is_whole} for name in ("coverage", "stateful")},
            "checks": {"enabled": False} | {name: {"enabled": True} for name in CHECKS},
        }
    )
    schema = schemathesis.openapi.from_path(OPENAPI, config=config)
    schema.app = Gateway(send)
    findings = Findings()
    for event in from_schema(schema).execute():
        if isinstance(event, events.ScenarioFinished):
            findings.undescribed += _failures(event.recorder)
        elif isinstance(event, events.NonFatalError):
            findings.errors.append(f"{event.label}: {event.value}"[:300])
        elif isinstance(event, events.FatalError):
            raise event.exception
    return findings


def _failures(recorder: Any) -> list[str]:
    failed = [check for checks in recorder.checks.values() for check in checks if check.failure_info is not None]
    return [f"{recorder.label}: {check.name}: {check.failure_info.failure}"[:400] for check in failed]
