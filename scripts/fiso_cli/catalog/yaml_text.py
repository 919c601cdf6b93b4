"""YAML text as plain values, strictly: duplicate keys and tags are refused, and plain words stay words.

Values follow YAML 1.2's core schema. PyYAML's own rules (1.1) would read `no` and `off` as booleans, `0512` as octal
and `12:30` as a number of seconds.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from fiso.codecs.typed import Document, Json
from fiso.domain.fields import Place

MOST_VALUES = 100_000


class _StrictLoader(yaml.SafeLoader):
    yaml_implicit_resolvers = {}  # noqa: RUF012  none of YAML 1.1's; PyYAML's own way to declare them

    def compose_node(self, parent: Node | None, index: int) -> Node | None:
        """As the base class composes it, but for tags: `!!float nope` would reach a constructor that fails oddly."""
        event = self.peek_event()  # type: ignore[no-untyped-call]
        if getattr(event, "tag", None) is not None:
            raise yaml.MarkedYAMLError(problem=f"tag {event.tag!r} is not supported", problem_mark=event.start_mark)
        return super().compose_node(parent, index)

    def compose_mapping_node(self, anchor: str | None) -> MappingNode:  # type: ignore[override]
        """As the base class composes it, once its keys are known to differ."""
        node: MappingNode = super().compose_mapping_node(anchor)  # type: ignore[arg-type]
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, ScalarNode) and key.value in seen:
                raise yaml.MarkedYAMLError(problem=f"duplicate key {key.value!r}", problem_mark=key.start_mark)
            seen.add(str(key.value))
        return node


class _StrictDumper(yaml.SafeDumper):
    yaml_implicit_resolvers = {}  # noqa: RUF012

    def ignore_aliases(self, data: object) -> bool:
        """Equal parts are written out each time."""
        return True


def _text_node(dumper: _StrictDumper, text: str) -> ScalarNode:
    # YAML 1.1 breaks lines at these too: unless they are escaped, a reader makes spaces of them
    style = '"' if not _LINE_BREAKS.isdisjoint(text) else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_LINE_BREAKS = frozenset("\x85\u2028\u2029\ufeff")
_StrictDumper.add_representer(str, _text_node)
_RESOLVERS = (
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?(?:0|[1-9][0-9_]*)", list("-+0123456789")),
    ("float", r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?", list("-+.0123456789")),
    ("merge", r"<<", ["<"]),
)
for _kind in (_StrictLoader, _StrictDumper):
    for _name, _pattern, _first in _RESOLVERS:
        _kind.add_implicit_resolver(f"tag:yaml.org,2002:{_name}", re.compile(f"^(?:{_pattern})$"), _first)


@dataclass(frozen=True, slots=True, kw_only=True)
class Parsed:
    """A document, and the line of every place in it."""

    value: Json
    lines: Mapping[Place, int]

    def line_of(self, place: Place) -> int:
        """The line of a place, or of what would hold it."""
        while place and place not in self.lines:
            place = place[:-1]
        return self.lines.get(place, 1)


def parse(text: str) -> Parsed:
    """The one document in the text. `ValueError` names line and column of what is wrong."""
    try:
        loader = _StrictLoader(text)
        node = loader.get_single_node()
        if node is None:
            return Parsed(value=None, lines={})
        loader.construct_document(node)  # merges keys in place, and checks them
        lines: dict[Place, int] = {}
        return Parsed(value=_value(loader, node, (), lines), lines=lines)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise ValueError(f"{where}{error.problem}") from error
    except yaml.YAMLError as error:
        raise ValueError(str(error).splitlines()[0]) from error
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def written(document: Document) -> str:
    """The document as text that `parse` reads back."""
    return yaml.dump(document, Dumper=_StrictDumper, sort_keys=False, allow_unicode=True, width=110)


def _value(loader: _StrictLoader, node: Node, place: Place, lines: dict[Place, int]) -> Json:
    lines.setdefault(place, node.start_mark.line + 1)
    if len(lines) > MOST_VALUES:  # aliases of aliases make millions of values out of a few lines
        raise yaml.MarkedYAMLError(problem=f"holds more than {MOST_VALUES} values", problem_mark=node.start_mark)
    if isinstance(node, SequenceNode):
        return [_value(loader, part, (*place, index), lines) for index, part in enumerate(node.value)]
    if isinstance(node, MappingNode):
        found: Document = {}
        for key, part in node.value:
            name = _scalar(loader, key)
            if not isinstance(name, str):
                raise yaml.MarkedYAMLError(
                    problem=f"keys must be text: put {key.value} in quotes", problem_mark=key.start_mark
                )
            lines[*place, name] = key.start_mark.line + 1  # a key that was merged in is overridden
            found[name] = _value(loader, part, (*place, name), lines)
        return found
    return _scalar(loader, node)


def _scalar(loader: _StrictLoader, node: Node) -> Json:
    value: Json = loader.construct_object(node)
    if not isinstance(value, float):
        return value
    if not isfinite(value):
        raise yaml.MarkedYAMLError(problem=f"{node.value} is too large a number", problem_mark=node.start_mark)
    return int(value) if value.is_integer() else value
