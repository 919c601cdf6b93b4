"""Fetching: JSON documents of the vendors' public price files, whole or not at all; each failure is one line.

A vendor's list may be asked for in pages, and vendors ask for patience (429, 503). A page may only lead on to the host
that it came from.
"""

import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urljoin, urlsplit

import httpx

from fiso_cli.errors import BadInput
from fiso_cli.traffic.gateway import is_loopback
from fiso_client.core.answers import retry_after_s

TIMEOUT_S = 60.0
LARGEST_BYTES = 64 * 1024 * 1024
TRIES = 4
LONGEST_WAIT_S = 60.0
MOST_PAGES = 200
_PATIENCE = frozenset({429, 500, 502, 503, 504})


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One provider's price files, at `base` (https, or plain on this machine)."""

    base: str
    headers: Mapping[str, str] = field(default_factory=dict)
    sleep: Callable[[float], None] = time.sleep

    def __post_init__(self) -> None:
        parts = urlsplit(self.base)
        if not parts.hostname or not (parts.scheme == "https" or (parts.scheme == "http" and is_loopback(self.base))):
            raise BadInput(f"{self.base}: price files are read over https")

    def document(self, address: str) -> dict[str, Any]:
        """The JSON object at an address below `base`; `BadInput` when it cannot be had whole."""
        url = urljoin(self.base, address)
        if urlsplit(url)[:2] != urlsplit(self.base)[:2]:
            raise BadInput(f"{self.base}: leads to another host, {urlsplit(url).netloc}")
        name = url.partition("?")[0]
        try:
            found = json.loads(self._body(url, name))
        except (ValueError, RecursionError) as error:
            raise BadInput(f"{name}: is no whole JSON document") from error
        if not isinstance(found, dict):
            raise BadInput(f"{name}: is no JSON object")
        return found

    def pages(self, address: str, following: Callable[[dict[str, Any]], str | None]) -> Iterator[dict[str, Any]]:
        """A document and those that follow it; `following` gives the next one's address."""
        seen: set[str] = set()
        after: str | None = address
        while after:
            if after in seen or len(seen) >= MOST_PAGES:
                raise BadInput(f"{self.base}: its pages do not end")
            seen.add(after)
            page = self.document(after)
            yield page
            after = following(page)

    def _body(self, url: str, name: str) -> bytes:
        for attempt in range(TRIES):
            try:
                status, headers, body = self._get(url)
            except httpx.HTTPError as error:
                raise BadInput(f"{name}: {type(error).__name__}: cannot be read whole") from error
            if status == 200:
                return body
            if status not in _PATIENCE or attempt == TRIES - 1:
                break
            wished_s = retry_after_s(headers)
            self.sleep(min(LONGEST_WAIT_S, 2.0**attempt if wished_s is None else wished_s))
        raise BadInput(f"{name}: answered {status}")

    def _get(self, url: str) -> tuple[int, Mapping[str, str], bytes]:
        with (
            httpx.Client(timeout=TIMEOUT_S, trust_env=not is_loopback(url)) as client,
            client.stream("GET", url, headers=dict(self.headers)) as answer,
        ):
            body = bytearray()
            for part in answer.iter_bytes():
                body += part
                if len(body) > LARGEST_BYTES:
                    raise BadInput(f"{url.partition('?')[0]}: is larger than {LARGEST_BYTES} bytes")
            return answer.status_code, answer.headers, bytes(body)
