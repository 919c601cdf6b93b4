"""A browser for the console: speaks to the app through its handler, with API Gateway events kept as JSON."""

import base64
import copy
import json
from dataclasses import dataclass
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from flask import Flask

from functions.console.handler import answer_event

EVENTS = Path(__file__).parents[1] / "events"
ADDRESSES = {"a": "href", "link": "href", "script": "src", "img": "src", "form": "action"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came back."""

    status: int
    headers: dict[str, str]
    body: str
    cookies: tuple[str, ...] = ()

    @property
    def document(self) -> dict[str, Any]:
        """The body as a JSON object."""
        document = json.loads(self.body)
        assert isinstance(document, dict)
        return document


@dataclass(frozen=True, slots=True, kw_only=True)
class Browser:
    """One app behind one kind of API Gateway."""

    app: Flask
    gateway: str = "local"

    def get(self, path: str, query: str = "", *, method: str = "GET", **fields: Any) -> Answer:
        """One exchange; `fields` change the event, `headers` adding to its own."""
        event = copy.deepcopy(_event(self.gateway))
        event["rawPath"] = event["requestContext"]["http"]["path"] = path
        event["requestContext"]["http"]["method"] = method
        event["rawQueryString"] = query
        event["headers"] |= fields.pop("headers", {})
        answer = answer_event(self.app, event | fields, None)
        body = answer.get("body", "")
        if answer.get("isBase64Encoded"):
            body = base64.b64decode(body).decode()
        headers = {name.lower(): value for name, value in answer["headers"].items()}
        cookies = tuple(answer.get("cookies", ()))
        return Answer(status=answer["statusCode"], headers=headers, body=body, cookies=cookies)


@cache
def _event(gateway: str) -> dict[str, Any]:
    event: dict[str, Any] = json.loads((EVENTS / f"console_{gateway}.json").read_text())
    return event


@dataclass(kw_only=True)
class Page:
    """What a page links to, and what a strict content policy would block in it."""

    addresses: list[str]
    blocked: list[str]


def parse(body: str) -> Page:
    """Read a page."""
    reader = _Reader()
    reader.feed(body)
    return Page(addresses=reader.addresses, blocked=reader.blocked)


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.blocked: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        address = given.get(ADDRESSES.get(tag, ""))
        if address is not None:
            self.addresses.append(address)
        if tag in ("style", "iframe", "object", "base") or (tag == "script" and "src" not in given):
            self.blocked.append(tag)
        self.blocked.extend(name for name in given if name == "style" or name.startswith("on"))
