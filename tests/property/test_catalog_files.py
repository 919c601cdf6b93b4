"""A thousand catalog files, good and bad: `fiso check` never fails in a way of its own, tells each fault by file and
line, and refuses what `fiso apply` refuses, in the same words."""

import json
import random
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from fiso_cli.catalog import declaration, spelling, yaml_text
from fiso_cli.main import app
from fiso_cli.stage import Stage

SEEDS, A_TEST = 1_000, 100
GOOD = """\
version: 1
quotas: {default: 50/100, tenants: {acme: 5/10}}
hosts: [api.example.com]
defaults: {policy: &usual {timeout_ms: 5000, max_attempts: 2, exploration: 0.05}}
functions:
  bfs:  # searches
    type: graph
    endpoints:
      - {id: aws, provider: aws, region: us-east-1, memory_mb: 512, address: bfs}
      - id: gcp
        provider: gcp
        region: us-east4
        memory_mb: 256
        address: "https://bfs-a.run.app/x"
    policy: {<<: *usual, weights: {latency: 1, cost: 2, reliability: 3, region_affinity: 0}, deny: {regions: [eastus]}}
  compress:
    type: batch
    prices: {aws: {discount: 0.1}}
    endpoints: [{id: azure, provider: azure, region: eastus, memory_mb: 512, address: "https://a.azurewebsites.net"}]
    policy:
      mode: pin:azure
      strategies: [weekend_scale_down, {name: night, candidates: {provider: [azure]}, factor: 1.1}]
"""
WORDS = (
    "", "~", "true", "no", "-1", "0", "512", "1e400", "-0.0", ".nan", ".inf", "9" * 30, "9" * 5_000, "0512", "[]",
    "{}", "[[]]", "{a: {b: c}}", "aws", "*usual", "*nowhere", "&again x", "!!int x", "!!python/object:os.system x",
    "<<", '"\\ud800"', '"\\e]0;x\\a"', '"a\\nb"', '"\\u202e"', "\u65e5\u672c", "\uff41", "a" * 70, "${HOME}",
    "'${FISO_AWS_X}'", "https://169.254.169.254/", '"http://localhost"', "pin:nobody", "pin:", "observe", "0x1F",
    "2026-01-01", "'", '"', "]", "}", "%", "@", "`", "- a", "? a", "|", ">-", "[" * 200, "{a: " * 200, "\x00", "\x1b",
    "\x85", "\u2028", "\ufeff",
)  # fmt: skip
"""What is put where something else stood."""


def _word(rng: random.Random, text: str) -> str:
    """One value, or a key, is another word."""
    at = [index for index, c in enumerate(text) if c in ":,[{"]
    start = rng.choice(at) + 1
    ends = [end for end in (text.find(c, start) for c in ",:]}\n") if end != -1]
    return f"{text[:start]} {rng.choice(WORDS)}{text[min(ends, default=len(text)) :]}"


def _line(rng: random.Random, text: str) -> str:
    """A line is gone, twice there, indented otherwise, by tabs, or at another place."""
    lines = text.splitlines(keepends=True)
    at = rng.randrange(len(lines))
    line = lines.pop(at)
    kinds: tuple[list[str], ...] = (
        [],
        [line, line],
        [" " + line],
        [line[1:]],
        ["\t" + line.lstrip()],
        [line.replace("  ", "\t")],
    )
    lines[at:at] = rng.choice(kinds)
    if rng.random() < 0.2:
        lines.insert(rng.randrange(len(lines) + 1), line)
    return "".join(lines)


def _cut(rng: random.Random, text: str) -> str:
    return text[: rng.randrange(len(text))]


def _letter(rng: random.Random, text: str) -> str:
    at = rng.randrange(len(text))
    return text[:at] + rng.choice(["", text[at] * 2, "\u00e9", "\t", "#", "\r\n", "\u200b", "\x07"]) + text[at + 1 :]


def _number(rng: random.Random, text: str) -> str:
    """Still a number, so often still a good file."""
    figures = [index for index, c in enumerate(text) if c.isdigit()]
    at = rng.choice(figures or [0])
    return text[:at] + rng.choice("0123456789") + text[at + 1 :]


def _form(rng: random.Random, text: str) -> str:
    """Another form of a file as a whole; most mean the same."""
    forms: tuple[Callable[[str], str], ...] = (
        lambda it: "\ufeff" + it,
        lambda it: it.replace("\n", "\r\n"),
        lambda it: "--- \n" + it,
        lambda it: it + "---\n" + it,
        lambda it: "%YAML 1.2\n---\n" + it,
        lambda it: it.replace("bfs", "b\u00e4s"),
        lambda it: it + "# \u65e5\u672c\n",
        lambda it: it.replace("&usual", "&usual &other"),
        lambda it: it.replace("{timeout_ms", "{<<: *usual, timeout_ms"),
        lambda it: json.dumps({"version": 1, "functions": {"a": {"type": "t", "endpoints": it}}}),
    )
    return rng.choice(forms)(text)


MUTATIONS = (_word, _word, _line, _cut, _letter, _number, _form)


def a_file(seed: int) -> bytes:
    rng = random.Random(seed)
    text = GOOD
    for _ in range(rng.choice([0, 1, 1, 1, 2, 3])):
        text = rng.choice(MUTATIONS)(rng, text or "a: b\n")
    data = text.encode("utf-8", "surrogatepass")
    return data.replace(b"aws", b"\xff\xfe", 1) if rng.random() < 0.02 else data


def fiso(*words: str) -> Result:
    done = CliRunner().invoke(app, words, prog_name="fiso")
    assert isinstance(done.exception, SystemExit | None), done.exception
    return done


@pytest.fixture(autouse=True)
def nothing_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FISO_LOCAL_DIR", str(tmp_path / "local"))


@pytest.mark.parametrize("first", range(0, SEEDS, A_TEST))
def test_each_file_is_good_or_refused_by_file_and_line_as_apply_refuses_it(first: int) -> None:
    refused = 0
    for seed in range(first, first + A_TEST):
        Path("fiso.yaml").write_bytes(a_file(seed))
        checked = fiso("check")
        if checked.exit_code == 0:
            assert re.search(r"^fiso.yaml: \d functions?, nothing wrong$", checked.stdout, re.MULTILINE), seed
            survives_being_written()
        else:
            assert (checked.exit_code, checked.stdout) == (2, ""), seed
            assert_told(checked.stderr.removeprefix("error: ").splitlines())
            refused += 1
        if seed % 4 == 0:
            applied = fiso("apply", "--dry-run")
            unreached = (1, "error: the local database does not exist yet: run `fiso local up` first\n")
            assert (applied.exit_code, applied.stderr) == ((2, checked.stderr) if checked.exit_code else unreached), (
                seed
            )
    assert A_TEST * 0.4 < refused < A_TEST * 0.95


def assert_told(lines: list[str]) -> None:
    """One line each, and nothing in it that can steer a terminal."""
    last = Path("fiso.yaml").read_bytes().decode("latin-1").replace("\r", "\n").count("\n") + 1
    for line in lines:
        assert line.isprintable(), ascii(line)
        found = re.match(r"fiso\.yaml:(\d+):(\d+:)? \S", line)
        assert found, line
        assert 1 <= int(found[1]) <= last, line


def survives_being_written() -> None:
    """What was accepted is the same once it was exported."""
    setting = declaration.Setting.of(Stage.named("local"))
    found = declaration.read(Path("fiso.yaml"), setting)
    text = yaml_text.written(spelling.file_of({entry.name: entry for entry in found.entries}, found.rules))
    again = declaration.parse(text, setting)
    assert ({entry.name: entry for entry in again.entries}, again.rules) == (
        {entry.name: entry for entry in found.entries},
        found.rules,
    )


FUNCTION = "{type: t, endpoints: [{id: a, provider: aws, region: us-east-1, memory_mb: 512, address: f}]}"
AT_ONCE = f"""\
version: 1
defaults: {{policy: {{timeout_ms: 1}}}}
functions:
  one:
    type: t
    endpoints:
      - {{id: a, provider: aws, region: us-east-1, memory_mb: 512, address: "https://elsewhere.test"}}
      - {{id: b, provider: gcp, region: us-east4, memory_mb: 512, address: "${{NO}}", authentication: iam}}
      - {{id: c, provider: aws, region: us-east-1, memory_mb: 512, address: f, color: red}}
    policy: {{max_attempts: 0}}
  two: {FUNCTION}
"""


def test_no_fault_of_a_file_hides_another() -> None:
    Path("fiso.yaml").write_text(AT_ONCE)
    told = json.loads(fiso("check", "--json").stdout)["problems"]
    assert [(each["line"], each["field"]) for each in told] == [
        (2, "defaults.policy.timeout_ms"),
        (7, "functions.one.endpoints[0].address"),
        (8, "functions.one.endpoints[1].address"),
        (9, "functions.one.endpoints[2].color"),
        (10, "functions.one.policy.max_attempts"),
    ]


TEN = "{" + ", ".join(f"k{n}: 1" for n in range(10)) + "}"
BOMB = f"a0: &a0 {TEN}\n" + "".join(f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 10)}]}}\n" for n in range(1, 12))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (BOMB, ":5:10: merges more than 100000 keys"),
        ("a: &a {<<: *a}\n", ":1:1: nested too deeply"),
        ("b:\n  - &a [*a]\n", ":2:5: nested too deeply"),
        ("a:\n  " + "[" * 50_000, ":2:102: nested too deeply"),
        ("a: 1\na: 2\nb:\n  c: 1\n  c: 2\n", ":2:1: duplicate key 'a'\nfiso.yaml:5:3: duplicate key 'c'"),
        ("a:\n  c: 1\n  c: 2\nb: [\n", ":3:3: duplicate key 'c'\nfiso.yaml:5:1: expected the node content"),
        ("a: b\nc: " + "1" * 5_000, ":2:4: a number of 5000 characters is too large"),
        ('a: b\nc: "\\ud800"', ":2:4: '\\ud800' holds half of a character"),
        ("a: b\n\nc: \x07", ":3:4: character U+0007 may not stand in YAML"),
        (f'version: 1\nfunctions:\n  "a\\nb": {FUNCTION}', ":3: functions.a\\nb: must be lower-case"),
        ("", ":1: must be a mapping with version and functions"),
    ],
)
def test_what_would_break_a_reader_is_told_at_its_place(text: str, told: str) -> None:
    Path("fiso.yaml").write_text(text)
    shown = fiso("check")
    assert (shown.exit_code, shown.stdout) == (2, "")
    assert shown.stderr.startswith(f"error: fiso.yaml{told}"), shown.stderr


@pytest.mark.parametrize(("data", "told"), [(None, ": No such file or directory"), (b"a: b\n\xff", ":2: is not UTF-8")])
def test_a_file_that_cannot_be_read_is_told(data: bytes | None, told: str) -> None:
    if data is not None:
        Path("fiso.yaml").write_bytes(data)
    shown = fiso("check")
    assert (shown.exit_code, shown.stderr.startswith(f"error: fiso.yaml{told}")) == (2, True), shown.stderr
