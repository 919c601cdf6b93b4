"""Cases: the requests of `fiso compare`, from a folder, a file or the command line.

A file ending in `.http` holds whole requests as editors' REST clients write them, `###` between two; one ending in
`.case.json` an object of `method`, `path`, `query`, `headers` and `body`. Any other file is a body, sent by POST.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlencode

from fiso.codecs.typed import Json
from fiso.domain.headers import flaw_of
from fiso.domain.request import METHODS, SAFE_METHODS
from fiso_cli.errors import BadInput
from fiso_cli.traffic import payload

MOST_CASES = 10_000
_KEYS = frozenset({"method", "path", "query", "headers", "body"})
_TARGET = re.compile(r"[!-~]*")
_HEADER = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([\t -~\x80-\uffff]*)")
_BETWEEN = re.compile(rb"^###[^\n]*\n", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One request below a function. `target` is path suffix and query as they are sent: empty, or `/a/b?c=d`."""

    name: str
    method: str = "POST"
    target: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""

    @property
    def is_safe(self) -> bool:
        """Whether its method changes nothing by definition."""
        return self.method in SAFE_METHODS


def read(data: str) -> list[Case]:
    """The cases of `--data`: `@FOLDER/`, in the order of its files' names, `@FILE`, `-`, or the body itself."""
    path = Path(data[1:])
    if not data.startswith("@") or data == "@-":
        return [_body("data", payload.read(data))]
    if not path.is_dir():
        return list(_of_file(path, payload.read(data)))
    try:
        files = sorted(each for each in path.iterdir() if each.is_file() and not each.name.startswith("."))
        found = [case for file in files for case in _of_file(file, file.read_bytes())]
    except OSError as error:
        raise BadInput(f"cannot read {str(path)!r}: {error.strerror}") from error
    if not found:
        raise BadInput(f"{str(path)!r} holds no file: one file is one case")
    if len(found) > MOST_CASES:
        raise BadInput(f"{str(path)!r} holds {len(found)} cases, more than {MOST_CASES}")
    return found


def _of_file(file: Path, content: bytes) -> Iterator[Case]:
    if file.name.endswith(".case.json"):
        yield _from_json(file.name, content)
    elif file.suffix == ".http":
        parts = [part for part in _BETWEEN.split(content.replace(b"\r\n", b"\n")) if part.strip()]
        for number, part in enumerate(parts, 1):
            yield _from_http(file.name if len(parts) == 1 else f"{file.name} {number}", part)
    else:
        yield _body(file.name, content)


def _body(name: str, body: bytes) -> Case:
    return Case(name=name, headers={"content-type": payload.content_type_of(body)}, body=body)


def _from_json(name: str, content: bytes) -> Case:
    try:
        document = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise BadInput(f"{name} is not JSON: {error}") from error
    if not isinstance(document, dict) or document.keys() - _KEYS:
        raise BadInput(f"{name}: a case is an object of {', '.join(sorted(_KEYS))}")
    body = document.get("body", "")
    raw = body.encode() if isinstance(body, str) else json.dumps(body).encode()
    headers = document.get("headers", {})
    if not isinstance(headers, dict) or not all(isinstance(value, str) for value in headers.values()):
        raise BadInput(f"{name}: headers is an object of texts")
    query = _query(name, document.get("query", ""))
    path = str(document.get("path", ""))
    return _case(name, str(document.get("method", "POST")), f"{path}?{query}" if query else path, headers, raw)


def _query(name: str, query: Json) -> str:
    """Text as it is sent, or an object of texts and lists of texts."""
    if isinstance(query, str):
        return query.removeprefix("?")
    if not isinstance(query, dict):
        raise BadInput(f"{name}: query is text, or an object")
    return urlencode(query, doseq=True)


def _from_http(name: str, part: bytes) -> Case:
    head, _, body = part.lstrip().partition(b"\n\n")
    try:
        lines = [line for line in head.decode().splitlines() if line.strip() and not line.startswith(("#", "//"))]
    except UnicodeDecodeError as error:
        raise BadInput(f"{name}: its head is not text") from error
    if not lines:
        raise BadInput(f"{name} holds no request: GET /path?query, headers, an empty line, the body")
    method, _, rest = lines[0].partition(" ")
    headers: dict[str, str] = {}
    for line in lines[1:]:
        found = _HEADER.fullmatch(line.strip())
        if found is None:
            raise BadInput(f"{name}: {line[:60]!r} is no header; an empty line ends the headers")
        headers[found[1]] = found[2].strip()
    return _case(name, method, rest.strip().partition(" ")[0], headers, body.removesuffix(b"\n"))


def _case(name: str, method: str, target: str, headers: Mapping[str, str], body: bytes) -> Case:
    if method.upper() not in METHODS:
        raise BadInput(f"{name}: {method[:20]!r} is no method; there are {', '.join(sorted(METHODS))}")
    if not _TARGET.fullmatch(target) or "#" in target:
        raise BadInput(f"{name}: {target[:60]!r} is no path with a query; others than ASCII are percent-encoded")
    if "://" in target.partition("?")[0]:
        raise BadInput(f"{name}: {target[:60]!r} names a server; a case's path is what follows the function's name")
    named = {key.lower(): value for key, value in headers.items()}
    if flaw := flaw_of(named):
        raise BadInput(f"{name}: {flaw}")
    if body and "content-type" not in named:
        named["content-type"] = payload.content_type_of(body)
    below = target if target.startswith(("/", "?")) or not target else f"/{target}"
    return Case(name=name, method=method.upper(), target="" if below == "/" else below, headers=named, body=body)
