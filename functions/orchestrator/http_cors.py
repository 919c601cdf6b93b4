"""Cross-origin calls: the answer to a browser's preflight, and what every answer to a page of another origin carries.

Imported when a request comes from a page, or its function or stage has a rule.
"""

from collections.abc import Mapping
from typing import Any

from fiso.domain.cors import Cors


def is_preflight(headers: Mapping[str, str]) -> bool:
    """Whether these are of a browser's question if a page may call (Fetch, 3.2.2); other OPTIONS are the function's."""
    return "origin" in headers and "access-control-request-method" in headers


def preflight_answer(cors: Cors | None, origin: str) -> dict[str, Any]:
    """FISO's own answer; without a rule, or for another origin, one that allows nothing and tells nothing."""
    headers = {"vary": "origin, access-control-request-method, access-control-request-headers"}
    if cors is not None:
        headers |= cors.preflight(origin)
    return {"statusCode": 204, "headers": headers, "body": ""}


def share(response: dict[str, Any], cors: Cors, origin: str | None) -> None:
    """Let a page of this origin read an answer, or not; what the function itself says of it does not count."""
    headers: dict[str, str] = response["headers"]
    for name in [name for name in headers if name.startswith("access-control-")]:
        del headers[name]
    if origin is not None:
        headers |= cors.granted(origin)
    if cors.differs_by_origin:
        # also where nobody is allowed, or a cache would give one page what it got for another (Fetch, 3.2.4)
        headers["vary"] = _with_origin(headers.get("vary", ""))


def _with_origin(vary: str) -> str:
    named = {part.strip().lower() for part in vary.split(",")}
    if named & {"origin", "*"}:
        return vary
    return f"{vary}, origin" if vary else "origin"
