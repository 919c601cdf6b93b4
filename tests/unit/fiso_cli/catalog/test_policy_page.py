"""docs/policy.md against the code that it describes: its example is read, its keys and defaults are the schema's."""

import re
from pathlib import Path

import pytest

from fiso.codecs.policy import policy_to_document
from fiso.codecs.record import Json
from fiso.domain.policy import Policy
from fiso.domain.strategy import CandidateField, Operator, RequestField, operators_of
from fiso_cli.catalog.declaration import Setting, parse
from fiso_cli.catalog.schema import DeclaredPolicy
from fiso_cli.catalog.strategies import PRESETS
from fiso_cli.catalog.wording import worded
from fiso_cli.catalog.yaml_text import parse as parse_yaml

PAGE = (Path(__file__).parents[4] / "docs" / "policy.md").read_text(encoding="utf-8")
EXAMPLE = PAGE.partition("```yaml\n")[2].partition("```")[0]
ROWS = [
    line.strip("|").split("|") for line in PAGE.partition("## Strategies")[0].splitlines() if line.startswith("| `")
]


def default_of(key: str) -> Json:
    return policy_to_document(Policy(version=0))[key]


def test_the_example_is_read_and_nothing_in_it_is_doubtful() -> None:
    declaration = parse(EXAMPLE, Setting(variables={}, is_local=False))
    assert [entry.name for entry in declaration.entries] == ["thumbnails", "nightly-report"]
    assert declaration.warnings == ()


def test_the_example_shows_every_key() -> None:
    document = parse_yaml(EXAMPLE)
    assert isinstance(document, dict)
    policies = [document["defaults"]["policy"], *(function["policy"] for function in document["functions"].values())]
    assert {key for policy in policies for key in policy} == set(DeclaredPolicy.model_fields)


def test_the_table_lists_every_key() -> None:
    named = {key for cells in ROWS for key in re.findall(r"`(\w+)`", cells[0])}
    assert named == set(DeclaredPolicy.model_fields)


@pytest.mark.parametrize("key", sorted(set(DeclaredPolicy.model_fields) - {"allow", "deny"}))
def test_the_table_tells_the_default(key: str) -> None:
    (told,) = [cells[2].strip() for cells in ROWS if f"`{key}`" in cells[0]]
    assert told == (worded(key, default_of(key)).removesuffix(".0") or "none")


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
