"""Content: media types, and whether an answer is what it says it is.

An answer that calls itself JSON and is an error page, or half a document, is a failure of the endpoint, not a result.
"""

import json
from collections.abc import Mapping

LARGEST_PARSED = 64 * 1024
"""Bytes of an answer's JSON that are parsed; of a larger one the encoding and both ends are looked at, which costs next
to nothing at any size."""
_CLOSINGS = {"{": "}", "[": "]", '"': '"'}
_WHITESPACE = " \t\r\n"
_GUARDS = (")]}',", ")]}'", "while(1);", "for(;;);")
"""Before JSON that no page of another origin is to run as a script (AngularJS, `$http`, "JSON vulnerability")."""
_DECODER = json.JSONDecoder(parse_int=str, parse_float=str)


def kind_of(content_type: str | None) -> str:
    """The media type without its parameters, in lower case; empty when there is none."""
    return (content_type or "").partition(";")[0].strip().lower()


def is_json(content_type: str | None) -> bool:
    """Whether a content type says JSON."""
    kind = kind_of(content_type)
    return kind == "application/json" or kind.endswith("+json")


def shape_of(content_type: str | None, body: bytes) -> str:
    """What kind of body an answer has: `empty`, `json`, `untyped`, or its media type, at most 40 characters."""
    if not body:
        return "empty"
    return "json" if is_json(content_type) else kind_of(content_type)[:40] or "untyped"


def is_textual(content_type: str | None) -> bool:
    """Whether a content type says text: `text/…`, XML or JSON."""
    kind = kind_of(content_type)
    return kind.startswith("text/") or kind.endswith(("/xml", "+xml")) or is_json(content_type)


def flaw_of(status: int, headers: Mapping[str, str], body: bytes) -> str | None:
    """Why an answer cannot be the function's own, None when it can. Header names are lower case.

    Judged are the status, and of a success with a body that what calls itself JSON is. What the caller accepts is not
    asked: it would let a caller's header make a good answer a failure of the endpoint. Compressed bodies are passed on
    unseen. NaN and a byte order mark, which many libraries write, are let through.
    """
    if not 200 <= status <= 599:
        return f"the answer has the impossible status {status}"
    if status >= 300 or not body or not is_json(headers.get("content-type")):
        return None
    if "content-encoding" in headers or not _is_utf8(str(headers.get("content-type"))):
        return None
    return _json_flaw(body)


def _is_utf8(content_type: str) -> bool:
    """Whether nothing else is said: what is written in another charset is not judged."""
    charset = content_type.lower().partition("charset=")[2].strip(' "').partition(";")[0].strip(' "')
    return charset in ("", "utf-8", "utf8", "us-ascii", "ascii")


def _json_flaw(body: bytes) -> str | None:
    try:
        text = body.decode("utf-8-sig").strip(_WHITESPACE)
        text = text.removeprefix(next((guard for guard in _GUARDS if text.startswith(guard)), "")).lstrip(_WHITESPACE)
        if len(body) <= LARGEST_PARSED:
            _parse(text)
            return None
    except RecursionError:
        return None  # deeper than can be judged here
    except ValueError as error:
        return f"the answer says JSON and is not: {error}"[:200]
    return None if _ends_fit(text) else "the answer says JSON and is not: it ends early, or is something else"


def _parse(text: str) -> None:
    """One document, several in a row (as Docker's API streams them), or none (as Rails answers `head :ok`)."""
    while text:
        _, end = _DECODER.raw_decode(text)
        text = text[end:].lstrip(_WHITESPACE)


def _ends_fit(text: str) -> bool:
    """Whether the last character closes what the first opens. No scalar is that long."""
    first, last = text.lstrip(_WHITESPACE)[:1], text.rstrip(_WHITESPACE)[-1:]
    return first in _CLOSINGS and _CLOSINGS[first] == last
