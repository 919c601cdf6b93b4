"""Whatever is in a file that a command reads: it does its work, or says in a few lines what is wrong. No traceback, no
place in FISO's own code, nothing of the machine."""

import gzip
import json
import os
import random
import re
from collections.abc import Callable
from itertools import product
from pathlib import Path

import pytest
from typer.testing import CliRunner

from fiso.codecs.record import to_document
from fiso.domain.endpoint import Provider
from fiso_cli.main import app
from fiso_cli.worlds.clouds.cold_curves import SNAPSHOT
from tests.builders import a_record
from tests.unit.fiso_cli.worlds.paired import HEADER, pair
from tests.unit.fiso_cli.worlds.test_outages import AWS_FILE

MOST_LINES, LONGEST_LINE = 40, 1_000
LOG = "".join(json.dumps(to_document(a_record(number))) + "\n" for number in range(5)).encode()
CATALOG = b"""version: 1
functions:
  word-count:
    type: text
    endpoints:
      - {id: aws, provider: aws, region: us-east-1, memory_mb: 512, address: fn}
      - {id: azure, provider: azure, region: eastus, memory_mb: 512, address: "https://a.azurewebsites.net"}
    policy: {exploration: 0.1, timeout_ms: 1000, deny: {regions: [eu-west-1]}}
"""
TRACE = "\n".join([HEADER, *(line for number in range(3) for line in pair(number))]).encode()
BILL = (
    b"BilledCost,EffectiveCost,ListCost,BillingCurrency,ChargeCategory,ChargePeriodStart,ChargePeriodEnd,"
    b"ProviderName,ServiceName,ResourceId\n"
    b"1.5,1.5,1.5,USD,Usage,2026-11-23T00:00:00Z,2026-11-24T00:00:00Z,AWS,AWS Lambda,"
    b"arn:aws:lambda:us-east-1:000000000000:function:fn\n"
)
CURVES = "\n".join(
    [
        "snapshot,provider,idle_min,p_cold",
        *(f"{SNAPSHOT},{each},{at},{at / 10}" for each in Provider for at in (0, 5, 10)),
    ]
).encode()
KEY = b"-----BEGIN PRIVATE KEY-----\nMII=\n-----END PRIVATE KEY-----\n"
CASE = b'{"method": "POST", "path": "/x", "query": {"a": "1"}, "headers": {"x-a": "b"}, "body": {"text": "a"}}'
HTTP = b"POST /x?a=1 HTTP/1.1\ncontent-type: application/json\n\n{}\n###\nGET /y\n\n"
NOWHERE = {"FISO_API_URL": "http://127.0.0.1:9", "NO_COLOR": "1", "COLUMNS": "100"}

WHAT_IF, SAVINGS = "what-if --policy {catalog} --log {file}", "report savings --log {log} -f {catalog} --bill {file}"
SIMULATE = "simulate --functions 1 --seeds 1 --requests 5 "

COMMANDS: dict[str, tuple[str, bytes, str]] = {
    "check": ("check {file}", CATALOG, "fiso.yaml"),
    "a new policy": ("what-if --policy {file} --log {log}", CATALOG, "fiso.yaml"),
    "a log": (WHAT_IF, LOG, "log.jsonl"),
    "a log in gzip": (WHAT_IF, LOG, "log.jsonl.gz"),
    "savings": ("report savings --log {file} -f {catalog}", LOG, "log.jsonl"),
    "a bill": (SAVINGS, BILL, "bill.csv"),
    "a trace": ("replay --trace {file} --seeds 1", TRACE, "trace.csv"),
    "arrivals": (
        "simulate --arrivals {file} --minutes 1 --functions 1 --seeds 1",
        b"HashFunction,0,1\na,3,2\n",
        "calls.csv",
    ),
    "cold starts": (SIMULATE + "--coldstarts {file}", CURVES, "curves.csv"),
    "an incident": (SIMULATE + "--outage {file}#1", AWS_FILE.encode(), "events.csv"),
    "a case": ("compare word-count --data @{file}", CASE, "one.case.json"),
    "cases": ("compare word-count --data @{file}", HTTP, "some.http"),
    "a body": ("invoke word-count --data @{file}", b'{"text": "a"}', "body.json"),
    "a signing key": ("train --synthetic --rows 200 --key {file} --out {folder}/model", KEY, "key.pem"),
}

Damage = Callable[[random.Random, bytes], bytes]


def _cut(rng: random.Random, data: bytes) -> bytes:
    return data[: rng.randrange(len(data))]


def _flipped(rng: random.Random, data: bytes) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.choice([1, 3, 20])):
        changed[rng.randrange(len(changed))] = rng.randrange(256)
    return bytes(changed)


def _with_other_numbers(rng: random.Random, data: bytes) -> bytes:
    strange = [b"-1", b"NaN", b"1e999", b"9" * 400, b"0x10", b"1_0", b"", b"null", b"\xd9\xa3", b"1e-320", b"true"]
    return re.sub(rb"\d+(?:\.\d+)?", lambda found: rng.choice([found[0], found[0], rng.choice(strange)]), data)


def _with_other_words(rng: random.Random, data: bytes) -> bytes:
    strange = [b"null", b"[]", b"{}", b"~", b"!!python/object:os.system", b"*a", b"&a", b"\xff\xfe", b"__proto__", b"-"]
    return re.sub(rb"[A-Za-z_]{3,}", lambda found: found[0] if rng.random() < 0.9 else rng.choice(strange), data)


def _doubled(rng: random.Random, data: bytes) -> bytes:
    lines = data.splitlines(keepends=True)
    return b"".join(line * rng.choice([1, 1, 2, 50]) for line in lines)


DAMAGES: dict[str, Damage] = {
    "cut": _cut,
    "flipped": _flipped,
    "other numbers": _with_other_numbers,
    "other words": _with_other_words,
    "doubled": _doubled,
    "empty": lambda *_: b"",
    "noise": lambda rng, _: rng.randbytes(3_000),
    "zeros": lambda *_: bytes(3_000),
    "another encoding": lambda _, data: data.decode().encode("utf-16"),
    "a mark in front": lambda _, data: b"\xef\xbb\xbf" + data,
    "a surrogate": lambda _, data: data.replace(b"a", b"\xed\xa0\x80"),
    "one long line": lambda _, data: data.replace(b"\n", b" ") * 200,
    "deep": lambda *_: b"[" * 100_000,
    "deep objects": lambda *_: b'{"a":' * 50_000,
    "an avalanche": lambda *_: (
        b"a: &a [x,x,x,x,x,x,x,x,x]\n"
        + b"".join(b"%c: &%c [%s]\n" % (98 + n, 98 + n, b",".join([b"*%c" % (97 + n)] * 9)) for n in range(9))
    ),
    "a whole archive": lambda _, data: gzip.compress(data),
    "half an archive": lambda _, data: gzip.compress(data)[: len(data) // 3 + 12],
    "an archive of zeros": lambda *_: gzip.compress(bytes(3 * 2**20)),
    "escapes": lambda _, data: data.replace(b"a", b"\x1b[31m\x07"),
    "returns alone": lambda _, data: data.replace(b"\n", b"\r"),
}
INSIDE = re.compile(r'Traceback|File "|site-packages|/fiso_cli/|/shared/fiso|0x[0-9a-f]{8,}|\x1b|\x07|<class ')


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("files")
    (made / "fiso.yaml").write_bytes(CATALOG)
    (made / "log.jsonl").write_bytes(LOG)
    return made


def said(command: str, file: Path, folder: Path) -> tuple[int, str]:
    """The exit code, and all that was shown."""
    values = {"file": file, "folder": folder, "catalog": folder / "fiso.yaml", "log": folder / "log.jsonl"}
    arguments = [part.format(**values) for part in command.split()]
    done = CliRunner().invoke(app, arguments, env={**os.environ, **NOWHERE})
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.exit_code, done.output


@pytest.mark.parametrize(("name", "damage"), list(product(COMMANDS, DAMAGES)))
def test_whatever_a_file_holds_a_command_says_so_in_a_few_lines(name: str, damage: str, folder: Path) -> None:
    command, whole, called = COMMANDS[name]
    file = folder / f"{name} {damage}".replace(" ", "-")
    file.mkdir(exist_ok=True)
    file /= called
    for seed in range(3 if damage in ("cut", "flipped", "other numbers", "other words") else 1):
        data = DAMAGES[damage](random.Random(f"{name} {damage} {seed}"), whole)
        file.write_bytes(gzip.compress(data) if called.endswith(".gz") and "archive" not in damage else data)
        code, shown = said(command, file, folder)
        assert code in (0, 1, 2, 3), shown
        assert not INSIDE.search(shown), shown
        if code in (1, 2):
            lines = shown.splitlines()
            assert len(lines) <= MOST_LINES, shown
            assert max(map(len, lines), default=0) <= LONGEST_LINE, shown
            assert lines, "it says why"


@pytest.mark.parametrize(
    "name", [name for name in COMMANDS if name not in ("a case", "cases", "a body", "a signing key")]
)
def test_what_is_damaged_there_is_right_without_the_damage(name: str, folder: Path) -> None:
    command, whole, called = COMMANDS[name]
    (folder / called).write_bytes(gzip.compress(whole) if called.endswith(".gz") else whole)
    assert said(command, folder / called, folder)[0] in (0, 3)


@pytest.mark.parametrize("name", COMMANDS)
def test_nor_is_it_a_file_at_all(name: str, folder: Path) -> None:
    for file in (folder / "absent", folder, Path("/dev/null")):
        code, shown = said(COMMANDS[name][0], file, folder)
        assert code in (0, 1, 2, 3)
        assert not INSIDE.search(shown), shown
