"""docs/policy.md against the code that it describes: its example is read, its keys and defaults are the schema's."""

import re
from math import inf
from pathlib import Path

import pytest

from fiso.codecs.policy import whole_document
from fiso.domain.fields import Means, Within, hints_of, metadata_of
from fiso.domain.policy import Policy
from fiso.domain.strategy import CandidateField, Operator, RequestField, operators_of
from fiso_cli.catalog.declaration import Setting, parse
from fiso_cli.catalog.schema import policy_keys
from fiso_cli.catalog.spelling import PRESETS
from fiso_cli.catalog.view import format_value
from fiso_cli.catalog.yaml_text import parse as parse_yaml
from fiso_cli.traffic.documents import mapping

PAGE = (Path(__file__).parents[4] / "docs" / "policy.md").read_text(encoding="utf-8")
EXAMPLE = PAGE.partition("```yaml\n")[2].partition("```")[0]
FOLDERS = {"allow": "allowed_providers", "deny": "denied_providers"}


def row_of(key: str) -> str:
    """A key's row in the table, made from what its field says."""
    name = FOLDERS.get(key, key)
    said = metadata_of(hints_of(Policy)[name])
    (means,) = [part for part in said if isinstance(part, Means)]
    bounds = [f", {part.least:g} to {part.most:.10g}" for part in said if isinstance(part, Within) and part.most < inf]
    default = means.unset or format_value(name, whole_document(Policy(version=0))[name]).removesuffix(".0") or "none"
    return f"| `{key}` | {means.text}{''.join(bounds)} | {default} |"


def test_the_example_is_read_and_nothing_in_it_is_doubtful() -> None:
    declaration = parse(EXAMPLE, Setting(variables={}, is_local=False))
    assert [entry.name for entry in declaration.entries] == ["thumbnails", "nightly-report"]
    assert declaration.warnings == ()


def test_the_example_shows_every_key() -> None:
    document = mapping(parse_yaml(EXAMPLE).value)
    parts = [mapping(document["defaults"]), *map(mapping, mapping(document["functions"]).values())]
    policies = [mapping(part["policy"]) for part in parts]
    assert {key for policy in policies for key in policy} == set(policy_keys())


def test_the_table_is_made_from_the_types() -> None:
    told = [line for line in PAGE.partition("## Strategies")[0].splitlines() if line.startswith("| `")]
    assert told == [row_of(key) for key in policy_keys()]


def test_the_page_names_every_preset_field_and_operator() -> None:
    words = {*PRESETS, *RequestField, *CandidateField, *Operator}
    assert {word for word in words if f"`{word}`" not in PAGE} == set()


@pytest.mark.parametrize("field", [*RequestField, *CandidateField])
def test_the_page_tells_the_operators_of_every_field(field: RequestField | CandidateField) -> None:
    lines = PAGE.splitlines()
    (at,) = [n for n, line in enumerate(lines) if line.startswith("| ") and f"`{field}`" in line.split("|")[1]]
    told = lines[at].split("|")[3]
    told = lines[at - 1].split("|")[3] if "the same" in told else told
    expected = set(Operator) if told.strip() == "all" else set(re.findall(r"`(\w+)`", told))
    assert expected == set(operators_of(field))
