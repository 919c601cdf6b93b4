"""Endpoints written into a `fiso.yaml` where they belong: comments, order and everything that was not asked for stay.

The text is changed, not the document: a value where its key is, a new key after the last, a new endpoint after the
last.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from fiso_cli.catalog.yaml_text import parse

EMPTY = "version: 1\n\nfunctions:\n"
IDENTITIES = "identities"
Values = Mapping[str, str | int]


@dataclass(frozen=True, slots=True)
class _Edits:
    """Replacements in a text: from, to, by what."""

    text: str
    found: list[tuple[int, int, str]] = field(default_factory=list)

    def put(self, start: int, end: int, by: str) -> None:
        self.found.append((start, end, by))

    def done(self) -> str:
        text = self.text
        for start, end, by in sorted(self.found, reverse=True):
            text = text[:start] + by + text[end:]
        return text


def with_endpoints(text: str, function: str, endpoints: Sequence[Values]) -> str:
    """The text with the endpoints, known by `id`, at the function. `ValueError` for a text that is no catalog file."""
    text = text if text.strip() else EMPTY
    for endpoint in endpoints:
        text = _with_endpoint(text, function, endpoint)
        parse(text)
    return text


def endpoint_ids(text: str, function: str) -> list[str]:
    """What a function's endpoints are called, in the file's order. `ValueError` for a text that is no catalog file."""
    found = _endpoints(_root(text), function)
    return [id for item in (found.value if found is not None else ()) if (id := _id(item)) is not None]


def with_list(text: str, key: str, endpoints: Sequence[Values]) -> str:
    """A text of our own, with a line for each endpoint under a key that has nothing yet."""
    indent = " " * (len(key) - len(key.lstrip()) + 2)
    return text.replace(key, key + "".join(f"{indent}- {_flow(each)}\n" for each in endpoints), 1)


def without_endpoints(text: str, function: str, ids: Sequence[str], *, whole: bool = False) -> str:
    """The text without these endpoints, each with its lines; a function that has nothing but them goes as well, and
    where it goes `whole`, its policy with it.
    `ValueError` where that would leave no catalog file."""
    for each in ids:
        root = _root(text)
        found = _endpoints(root, function)
        item = next((one for one in found.value if _id(one) == each), None) if found is not None else None
        if item is None or found is None:
            continue
        if len(found.value) == 1:
            text = _without_function(text, _member(root, "functions"), function, whole=whole)
        elif found.flow_style:
            raise ValueError(f"functions.{function}.endpoints stand in one line: take {each} out by hand")
        else:
            text = _without(text, item, item)
    return text


def with_identities(text: str, identities: Mapping[str, str]) -> str:
    """The text with these in `identities`, before `functions` where there were none."""
    text = text if text.strip() else EMPTY
    root = _root(text)
    found = _member(root, IDENTITIES)
    if isinstance(found, MappingNode) and found.value:
        text = _changed(text, found, identities)
    elif found is not None:
        raise ValueError(f"{IDENTITIES} must be a mapping with a line for each")
    else:
        lines = "".join(f"  {name}: {scalar(value)}\n" for name, value in identities.items())
        at = next((key.start_mark.index for key, _ in root.value if key.value == "functions"), len(text))
        text = f"{_ended(text[:at])}{IDENTITIES}:\n{lines}\n{text[at:]}"
    parse(text)
    return text


def without_identities(text: str, names: Sequence[str]) -> str:
    """The text without these; without `identities`, and the blank line after it, where none is left."""
    for each in names:
        root = _root(text) if text.strip() else None
        found = _member(root, IDENTITIES)
        if root is None or not isinstance(found, MappingNode):
            continue
        pair = next((pair for pair in found.value if pair[0].value == each), None)
        if pair is None:
            continue
        if found.flow_style:
            raise ValueError(f"{IDENTITIES} stand in one line: take {each} out by hand")
        if len(found.value) > 1:
            text = _without(text, *pair)
            continue
        key, value = next(pair for pair in root.value if pair[0].value == IDENTITIES)
        start, end = key.start_mark.index, _line_end(text, value)
        text = text[:start] + text[end:].removeprefix("\n")
    return text


def _without_function(text: str, functions: Node | None, name: str, *, whole: bool) -> str:
    assert isinstance(functions, MappingNode)  # nosec B101: it holds the endpoint that was found
    key, entry = next(pair for pair in functions.value if pair[0].value == name)
    more = {each.value for each, _ in entry.value} - {"type", "endpoints"}
    if functions.flow_style or (more and not whole):
        raise ValueError(f"functions.{name} has no other endpoint, and more than that: take it out by hand")
    left = _without(text, key, entry)
    at = text.rfind("\n", 0, key.start_mark.index) + 1
    return left[: at - 1] + left[at:] if left[:at].endswith("\n\n") else left  # with the blank line before it


def _without(text: str, first: Node, last: Node) -> str:
    start = text.rfind("\n", 0, first.start_mark.index) + 1
    return text[:start] + text[_line_end(text, last) :]


def _with_endpoint(text: str, function: str, endpoint: Values) -> str:
    root = _root(text)
    functions = _member(root, "functions")
    if functions is None:
        return f"{_ended(text)}\nfunctions:\n{_function(function, endpoint)}"
    if isinstance(functions, MappingNode) and not functions.value:
        return text[: functions.start_mark.index].rstrip(" ") + "\n" + _function(function, endpoint)
    if not isinstance(functions, MappingNode):
        if not isinstance(functions, ScalarNode) or functions.value not in {"", "null", "~"}:
            raise ValueError("functions must be a mapping")
        return _ended(text) + _function(function, endpoint)
    if functions.flow_style:
        raise ValueError("functions stand in one line: give each a line of its own")
    entry = _member(functions, function)
    if entry is None:
        at = _line_end(text, functions)
        return _ended(text[:at]) + "\n" + _function(function, endpoint, functions.start_mark.column) + text[at:]
    endpoints = _endpoints(root, function)
    if endpoints is None or endpoints.flow_style:
        raise ValueError(f"functions.{function}.endpoints must be a list with a line for each")
    item = next((one for one in endpoints.value if _id(one) == endpoint["id"]), None)
    if item is not None:
        return _changed(text, item, endpoint)
    at, indent = _line_end(text, endpoints.value[-1]), " " * endpoints.start_mark.column
    return f"{_ended(text[:at])}{indent}- {_flow(endpoint)}\n{text[at:]}"


def _changed(text: str, item: MappingNode, endpoint: Values) -> str:
    edits = _Edits(text)
    known = {key.value: value for key, value in item.value}
    new = {name: value for name, value in endpoint.items() if name not in known}
    for name, node in known.items():
        if name in endpoint and node.value != str(endpoint[name]):
            edits.put(node.start_mark.index, node.end_mark.index, scalar(endpoint[name]))
    last = item.value[-1][1].end_mark.index
    if item.flow_style:
        edits.put(last, last, "".join(f", {name}: {scalar(value)}" for name, value in new.items()))
    else:
        indent = "\n" + " " * item.start_mark.column
        edits.put(last, last, "".join(f"{indent}{name}: {scalar(value)}" for name, value in new.items()))
    return edits.done()


def _function(name: str, endpoint: Values, column: int = 2) -> str:
    indent = " " * column
    return f"{indent}{name}:\n{indent}  type: {name}\n{indent}  endpoints:\n{indent}    - {_flow(endpoint)}\n"


def _flow(endpoint: Values) -> str:
    return "{" + ", ".join(f"{name}: {scalar(value)}" for name, value in endpoint.items()) + "}"


def scalar(value: str | int) -> str:
    """Plain where that reads back as the same, else in double quotes, as JSON has them."""
    plain = str(value)
    is_plain = isinstance(value, int) or (plain and all(each.isalnum() or each in "-_." for each in plain))
    return plain if is_plain and (isinstance(value, int) or not plain[0].isdigit()) else json.dumps(plain)


def _root(text: str) -> MappingNode:
    parse(text)  # strictly, with the line of what is wrong
    node = yaml.compose(text, Loader=yaml.SafeLoader)
    if not isinstance(node, MappingNode):
        raise ValueError("must be a mapping with version and functions")
    return node


def _member(node: Node | None, name: str) -> Node | None:
    if not isinstance(node, MappingNode):
        return None
    return next((value for key, value in node.value if isinstance(key, ScalarNode) and key.value == name), None)


def _endpoints(root: MappingNode, function: str) -> SequenceNode | None:
    found = _member(_member(_member(root, "functions"), function), "endpoints")
    return found if isinstance(found, SequenceNode) and found.value else None


def _id(item: Node) -> str | None:
    found = _member(item, "id")
    return found.value if isinstance(found, ScalarNode) else None


def _line_end(text: str, node: Node) -> int:
    """Behind the line on which the last of a node stands, its comment included."""
    while isinstance(node, MappingNode | SequenceNode) and not node.flow_style and node.value:
        last = node.value[-1]
        node = last[1] if isinstance(last, tuple) else last
    at = text.find("\n", max(node.end_mark.index - 1, node.start_mark.index))
    return len(text) if at < 0 else at + 1


def _ended(text: str) -> str:
    return text if text.endswith("\n") or not text else text + "\n"
