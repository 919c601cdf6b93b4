"""YAML text as plain values, strictly: duplicate keys and tags are refused, and plain words stay words.

Values follow YAML 1.2's core schema. PyYAML's own rules (1.1) would read `no` and `off` as booleans, `0512` as octal
and `12:30` as a number of seconds.
"""

import re

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode


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


_RESOLVERS = (
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?(?:0|[1-9][0-9_]*)", list("-+0123456789")),
    ("float", r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?", list("-+.0123456789")),
    ("merge", r"<<", ["<"]),
)
for _name, _pattern, _first in _RESOLVERS:
    _StrictLoader.add_implicit_resolver(f"tag:yaml.org,2002:{_name}", re.compile(f"^(?:{_pattern})$"), _first)


def parse(text: str) -> object:
    """The one document in the text. `ValueError` names line and column of what is wrong."""
    try:
        return yaml.load(text, Loader=_StrictLoader)  # nosec B506: a SafeLoader
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise ValueError(f"{where}{error.problem}") from error
    except yaml.YAMLError as error:
        raise ValueError(str(error).splitlines()[0]) from error
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
