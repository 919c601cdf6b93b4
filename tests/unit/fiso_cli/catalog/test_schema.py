"""The JSON Schema of `fiso.yaml`, held by a validator we did not write, and the lines that mistakes are told at."""

from pathlib import Path

import jsonschema
import pytest

from fiso.codecs.typed import Json
from fiso_cli.catalog import schema
from fiso_cli.catalog.declaration import InvalidDeclaration, Setting, parse
from fiso_cli.catalog.yaml_text import parse as parse_yaml
from tests.unit.fiso_cli.catalog.test_policy_page import EXAMPLE

ROOT = Path(__file__).parents[4]
SETTING = Setting(variables={}, is_local=False)
FILE = """\
version: 1
defaults:
  policy: {timeout_ms: 9000}
functions:
  bfs:
    type: graph
    endpoints:
      - id: aws
        provider: aws
        region: us-east-1
        memory_mb: 512
        address: fn
    policy:
      idempotent: yes
      mode: route
      weights: {latency: 1, cost: 0, reliability: 0, region_affinity: 0}
      allow: {regions: [us-east-1]}
      strategies:
        - weekend_scale_down
        - name: mine
          when: {hour_of_day: {between: [22, 5]}, day_of_week: [6, 7]}
          candidates: {provider: aws}
          factor: 2
"""
BAD = [
    ("version: 1", "version: 2", 1, "must be 1"),
    ("timeout_ms: 9000", "timeout_ms: 1", 3, "must be at least 100"),
    ("timeout_ms", "time_out_ms", 3, "did you mean 'timeout_ms'"),
    ("  bfs:", "  BFS:", 5, "must be lower-case letters"),
    ("    type: graph", "    kind: graph", 5, "type: is missing"),
    ("    type: graph", "    type: 7", 6, "put 7 in quotes"),
    ("region: us-east-1", "region: US East", 10, "must be a region"),
    ("memory_mb: 512", "memory_mb: 5.5", 11, "must be a whole number"),
    ("address: fn", "address: fn\n        path: x", 13, "begin with /"),
    ("address: fn", 'address: ""', 12, "must not be empty"),
    ("idempotent: yes", "idempotent: perhaps", 14, "must be 'no', 'yes' or"),
    ("mode: route", "mode: pin", 15, "must be route, observe or pin"),
    ("latency: 1", "latency: 0", 16, "at least one weight must be positive"),
    ("allow: {regions: [us-east-1]}", "allow: {regions: us-east-1}", 17, "must be a list"),
    ("- weekend_scale_down", "- weekends", 19, "must be 'peak_hours_aws_to_gcp'"),
    ("name: mine", "name: mine\n          whom: me", 21, "unknown key"),
    ("[22, 5]", "[22, 24]", 21, "must be at most 23"),
    ("[22, 5]", "[22]", 21, "must have 2 entries"),
    ("{provider: aws}", "{}", 22, "must not be empty"),
    ("factor: 2", "factor: 0", 23, "must be positive"),
]
BEYOND = [
    ("    endpoints:", "    extra: [", 8, "expected"),
    ("mode: route", "mode: route\n      mode: route", 16, "duplicate key 'mode'"),
    ("address: fn", "address: https://x", 12, "must be the ARN or name"),
    ("address: fn", "address: ${FISO_AWS_X}", 12, "is not set"),
    ("mode: route", "mode: pin:gcp", 15, "no endpoint 'gcp' here"),
    ("mode: route", "control_share: 0.1", 13, "home: is missing"),
    ("mode: route", "tiers: [[aws], [aws]]", 15, "already stands in a tier"),
    ("name: mine", "name: weekend_scale_down", 20, "is already there"),
    ("[us-east-1]", "[eastus]", 13, "leaves no endpoint to call"),
]
"""What no schema can say: told at its line all the same."""


def refusals(document: Json) -> list[str]:
    validator = jsonschema.Draft7Validator(schema.of_file())
    return [error.message for error in validator.iter_errors(document)]


def test_it_is_a_schema() -> None:
    jsonschema.Draft7Validator.check_schema(schema.of_file())


@pytest.mark.parametrize("text", [FILE, EXAMPLE, (ROOT / "scripts/localcloud/demo/fiso.yaml").read_text()])
def test_it_takes_good_files(text: str) -> None:
    assert refusals(parse_yaml(text).value) == []


@pytest.mark.parametrize(("good", "bad", "line", "said"), BAD)
def test_what_it_refuses_is_told_at_its_line(good: str, bad: str, line: int, said: str) -> None:
    text = FILE.replace(good, bad, 1)
    assert refusals(parse_yaml(text).value) != []
    assert_told(text, line, said)


@pytest.mark.parametrize(("good", "bad", "line", "said"), BEYOND)
def test_what_it_cannot_say_is_told_at_its_line_too(good: str, bad: str, line: int, said: str) -> None:
    assert_told(FILE.replace(good, bad, 1), line, said)


def assert_told(text: str, line: int, said: str) -> None:
    with pytest.raises(InvalidDeclaration) as caught:
        parse(text, SETTING)
    told = str(caught.value).splitlines()
    assert any(each.startswith(f"fiso.yaml:{line}:") and said in each for each in told), told
