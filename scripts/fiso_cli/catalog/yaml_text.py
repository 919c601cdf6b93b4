"""YAML text as plain values, strictly: duplicate keys and tags are refused, and plain words stay words.

Values follow YAML 1.2's core schema. PyYAML's own rules (1.1) would read `no` and `off` as booleans, `0512` as octal
and `12:30` as a number of seconds.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import isfinite

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from fiso.codecs.typed import Document, Json
from fiso.domain.fields import Place

MOST_VALUES = 100_000
DEEPEST = 100
MOST_TWICE = 20
"""Keys that are there twice are told one by one up to here; the rest is a number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Flaw:
    """What makes a text no document, and where; line and column count from 1."""

    line: int
    column: int
    problem: str

    def __str__(self) -> str:
        return f"line {self.line}, column {self.column}: {self.problem}"


class BadYaml(ValueError):
    """A text that is no document. YAML ends at its first broken line; of doubled keys the first MOST_TWICE are told."""

    def __init__(self, flaws: Sequence[Flaw]) -> None:
        super().__init__("\n".join(map(str, flaws)))
        self.flaws = flaws


class _StrictLoader(yaml.SafeLoader):
    yaml_implicit_resolvers = {}  # noqa: RUF012  none of YAML 1.1's; PyYAML's own way to declare them

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.twice: list[Flaw] = []
        self._depth = self._merged = 0

    def compose_node(self, parent: Node | None, index: int) -> Node | None:
        """As the base class composes it, but for tags: `!!float nope` would reach a constructor that fails oddly."""
        event = self.peek_event()  # type: ignore[no-untyped-call]
        if getattr(event, "tag", None) is not None:
            raise yaml.MarkedYAMLError(problem=f"tag {event.tag!r} is not supported", problem_mark=event.start_mark)
        if self._depth == DEEPEST:
            raise yaml.MarkedYAMLError(problem="nested too deeply", problem_mark=event.start_mark)
        self._depth += 1
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node

    def compose_mapping_node(self, anchor: str | None) -> MappingNode:  # type: ignore[override]
        """As the base class composes it; keys that are there twice are noted."""
        node: MappingNode = super().compose_mapping_node(anchor)  # type: ignore[arg-type]
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, ScalarNode) and key.value in seen:
                self.twice.append(_flaw(f"duplicate key {key.value!r}", key.start_mark))
            seen.add(str(key.value))
        return node

    def flatten_mapping(self, node: MappingNode) -> None:
        """As the base class merges; merges of merges would make millions of keys out of a few lines."""
        for key, value in node.value:
            if key.tag == "tag:yaml.org,2002:merge":
                for part in value.value if isinstance(value, SequenceNode) else [value]:
                    if isinstance(part, MappingNode):
                        self.flatten_mapping(part)
                        self._merged += len(part.value)
                    if self._merged > MOST_VALUES:
                        said = f"merges more than {MOST_VALUES} keys"
                        raise yaml.MarkedYAMLError(problem=said, problem_mark=key.start_mark)
        super().flatten_mapping(node)

    def construct_yaml_int(self, node: ScalarNode) -> int:
        """Python converts no number of thousands of digits."""
        try:
            return int(super().construct_yaml_int(node))
        except ValueError as error:
            said = f"a number of {len(node.value)} characters is too large"
            raise yaml.MarkedYAMLError(problem=said, problem_mark=node.start_mark) from error

    def construct_yaml_str(self, node: ScalarNode) -> str:
        """Half of a character (`"\\ud800"`) could be neither stored nor shown."""
        text = str(super().construct_yaml_str(node))
        if not text.isascii() and any("\ud800" <= c <= "\udfff" for c in text):
            said = f"{text!r} holds half of a character: write it as one"
            raise yaml.MarkedYAMLError(problem=said, problem_mark=node.start_mark)
        return text


_StrictLoader.add_constructor("tag:yaml.org,2002:int", _StrictLoader.construct_yaml_int)
_StrictLoader.add_constructor("tag:yaml.org,2002:str", _StrictLoader.construct_yaml_str)


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


def _told(twice: Sequence[Flaw]) -> list[Flaw]:
    found = sorted(twice, key=lambda flaw: flaw.line)
    if len(found) <= MOST_TWICE:
        return found
    last = found[MOST_TWICE - 1]
    more = f"{last.problem}, and {len(found) - MOST_TWICE} more keys are there twice"
    return [*found[: MOST_TWICE - 1], replace(last, problem=more)]


def parse(text: str) -> Parsed:
    """The one document in the text. `BadYaml` has what is wrong with line and column."""
    twice: list[Flaw] = []
    try:
        loader = _StrictLoader(text)
        twice = loader.twice
        node = loader.get_single_node()
        if node is None:
            return Parsed(value=None, lines={})
        if twice:
            raise BadYaml(_told(twice))
        loader.construct_document(node)  # merges keys in place, and checks them
        lines: dict[Place, int] = {}
        return Parsed(value=_value(loader, node, (), lines), lines=lines)
    except yaml.MarkedYAMLError as error:
        broken = _flaw(error.problem or "is no YAML", error.problem_mark)
        raise BadYaml([*_told(twice), broken]) from error
    except yaml.reader.ReaderError as error:
        before = text[: error.position].rpartition("\n")
        at = (before[0].count("\n") + 2 if before[1] else 1, len(before[2]) + 1)
        said = f"character U+{ord(text[error.position]):04X} may not stand in YAML"
        raise BadYaml([Flaw(line=at[0], column=at[1], problem=said)]) from error
    except RecursionError as error:
        raise BadYaml([Flaw(line=1, column=1, problem="nested too deeply")]) from error


def _flaw(problem: str, mark: yaml.Mark | None) -> Flaw:
    line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
    return Flaw(line=line, column=column, problem=problem)


def written(document: Document) -> str:
    """The document as text that `parse` reads back."""
    return yaml.dump(document, Dumper=_StrictDumper, sort_keys=False, allow_unicode=True, width=110)


def _value(loader: _StrictLoader, node: Node, place: Place, lines: dict[Place, int]) -> Json:
    lines.setdefault(place, node.start_mark.line + 1)
    if len(lines) > MOST_VALUES:  # aliases of aliases make millions of values out of a few lines
        raise yaml.MarkedYAMLError(problem=f"holds more than {MOST_VALUES} values", problem_mark=node.start_mark)
    if len(place) > DEEPEST:  # an alias of what it stands in
        raise yaml.MarkedYAMLError(problem="nested too deeply", problem_mark=node.start_mark)
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
