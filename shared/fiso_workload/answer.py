"""An answer of a sample function, and the refusals that become 4xx answers. Standard library only."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus

JSON = "application/json"
PROBLEM = "application/problem+json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What goes back over HTTP: complete bytes, never a stream."""

    status: int = 200
    body: bytes
    content_type: str
    headers: Mapping[str, str] = field(default_factory=dict)


class Refusal(Exception):
    """A request that a sample function cannot serve. `status` is the 4xx to answer."""

    def __init__(self, detail: str, *, status: int = 400) -> None:
        super().__init__(detail)
        self.detail = detail
        self.status = status


def json_answer(value: object) -> Answer:
    """`value` as compact UTF-8 JSON, in the order it was built."""
    return Answer(body=_encode(value), content_type=JSON)


def problem(refusal: Refusal) -> Answer:
    """A refusal as RFC 9457 problem details."""
    title = HTTPStatus(refusal.status).phrase
    value = {"type": "about:blank", "title": title, "status": refusal.status, "detail": refusal.detail}
    return Answer(status=refusal.status, body=_encode(value), content_type=PROBLEM)


def _encode(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()
