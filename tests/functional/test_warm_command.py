"""`fiso endpoint warm` against FISO's handler over HTTP on loopback: each copy is called, learned from, and said of."""

import json
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from fiso.domain.endpoint import EndpointId
from fiso.domain.policy import Idempotent, Mode
from fiso.testing.rig import READ_AGAIN_S, word_count
from fiso_cli.main import app
from fiso_client.core.answers import FunctionAnswer
from fiso_client.core.failures import Failure, ProviderError
from tests.functional.copies_server import AWS, AZURE, GCP, Copies, serving_copies
from tests.functional.test_commands import FISO, environment, on_a_terminal
from tests.lab.bound_process import bound

REPEAT = "--yes-it-may-be-repeated"


@pytest.fixture
def copies(request: pytest.FixtureRequest) -> Iterator[Copies]:
    with serving_copies(getattr(request, "param", {})) as made:
        yield made


def warm(copies: Copies, *arguments: str, function: str = "word-count", stdin: str = "") -> Result:
    command = ["endpoint", "warm", function, *arguments, "--api-url", copies.url]
    return CliRunner().invoke(app, command, input=stdin)


def document_of(done: Result) -> Any:
    """What was printed; the handler, which runs in this process, may have logged before."""
    return json.loads(done.stdout[done.stdout.index("{\n") :])


def test_each_copy_answers_the_users_own_input_and_the_states_start_from_that(copies: Copies) -> None:
    copies.answers = {AZURE: {"": FunctionAnswer(status=200, body=b"{}", cold=True)}}
    done = warm(copies, "--data", "-", "-n", "4", "--json", stdin='{"text": "a"}')
    assert done.exit_code == 0, done.output
    assert copies.runs == sorted([AWS, AZURE, GCP] * 4)
    assert {request.body for _, request in copies.rig.caller.calls} == {b'{"text": "a"}'}
    assert not any("x-fiso-exclude" in request.headers for _, request in copies.rig.caller.calls)
    document = document_of(done)
    assert [(row["endpoint"], row["calls"], row["answered"]) for row in document["copies"]] == [
        (AWS, 4, 4),
        (AZURE, 4, 4),
        (GCP, 4, 4),
    ]
    assert [row["cold"] for row in document["copies"]] == [None, 4, None]
    of_aws = [record.result for record in copies.rig.records if record.result.endpoint == AWS]
    own = document["copies"][0]
    assert own["mean_ms"] == pytest.approx(sum(result.execution_time_ms or 0 for result in of_aws) / 4, rel=1e-5)
    assert own["cost_usd"] == pytest.approx(sum(result.cost_usd or 0 for result in of_aws), rel=1e-5)
    copies.rig.fold()
    assert {endpoint: state.attempts for endpoint, state in copies.rig.states.items()} == dict.fromkeys(
        (AWS, AZURE, GCP), 4
    )


def test_on_a_narrow_terminal_each_copy_is_a_line(copies: Copies) -> None:
    copies.answers = {GCP: {"": FunctionAnswer(status=422, body=b"no such word")}}
    shown = on_a_terminal(copies.url, "endpoint", "warm", "word-count", "--data", "{}", "-n", "2")
    assert "word-count: 4 of 6 calls answered" in shown
    assert f"{GCP}: 2 x status 422" in shown
    for column in ("copy", "calls", "answered", "mean ms", "cold", "cost USD"):
        assert column in shown
    assert max(map(len, shown.splitlines())) <= 80


def test_cases_take_turns_on_every_copy(copies: Copies, tmp_path: Path) -> None:
    for name in ("1", "2", "3"):
        (tmp_path / name).write_text(name)
    done = warm(copies, "--data", f"@{tmp_path}/", "-n", "2")
    assert "1 of 3 cases had no turn" in done.stdout
    assert sorted((endpoint, request.body) for endpoint, request in copies.rig.caller.calls) == sorted(
        (endpoint, body) for endpoint in (AWS, AZURE, GCP) for body in (b"1", b"2")
    )


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (FunctionAnswer(status=500, body=b"oh"), "status 500"),
        (FunctionAnswer(status=400, body=b"bad input"), "status 400"),
        (ProviderError(Failure.PROVIDER_FAULT, "away"), "status 50"),
    ],
)
def test_a_copy_that_always_fails_is_listed_and_told_by_the_exit_code(
    copies: Copies, answer: FunctionAnswer | ProviderError, said: str
) -> None:
    copies.answers = {AZURE: {"": answer}}
    done = warm(copies, "--data", "{}", "-n", "3", "--json")
    assert done.exit_code == 1
    rows = {row["endpoint"]: row for row in document_of(done)["copies"]}
    assert (rows[AZURE]["calls"], rows[AZURE]["answered"], rows[AZURE]["mean_ms"]) == (3, 0, None)
    assert all(problem.startswith(said) for problem in rows[AZURE]["problems"])
    assert [rows[copy]["answered"] for copy in (AWS, GCP)] == [3, 3]


def test_a_copy_that_fails_for_some_input_is_known_all_the_same(copies: Copies, tmp_path: Path) -> None:
    copies.answers = {AZURE: {"1": FunctionAnswer(status=500, body=b"oh")}}
    for name in ("1", "2"):
        (tmp_path / name).write_text(name)
    done = warm(copies, "--data", f"@{tmp_path}/", "-n", "2")
    assert done.exit_code == 0, done.output
    assert f"{AZURE}: 1 x status 500" in done.stdout


@pytest.mark.parametrize("copies", [{"idempotent": each} for each in Idempotent if each != "yes"], indirect=True)
def test_what_may_not_be_repeated_is_called_by_the_users_word_only(copies: Copies) -> None:
    refused = warm(copies, "--data", "{}", "-n", "2")
    assert (refused.exit_code, refused.stdout) == (2, "")
    (line,) = refused.stderr.splitlines()
    assert "would run 6 times" in line
    assert REPEAT in line
    assert copies.runs == []
    assert warm(copies, "--data", "{}", "-n", "2", REPEAT).exit_code == 0
    assert copies.runs == sorted([AWS, AZURE, GCP] * 2)


@pytest.mark.parametrize(
    "copies",
    [
        {"denied_regions": frozenset({"eastus", "us-east4"})},
        {"mode": Mode.PIN, "pinned": EndpointId(AWS)},
        {"mode": Mode.OBSERVE, "home": EndpointId(AWS)},
    ],
    indirect=True,
)
def test_who_may_not_serve_is_said_and_not_called(copies: Copies) -> None:
    done = warm(copies, "--data", "{}", "-n", "3", "--json")
    assert done.exit_code == 0, done.output
    document = document_of(done)
    assert [row["endpoint"] for row in document["copies"]] == [AWS]
    assert list(document["not_called"]) == [AZURE, GCP]
    assert copies.runs == [AWS] * 3


@pytest.mark.parametrize(
    ("copies", "said"),
    [
        ({"wishes": frozenset()}, "lets no caller send x-fiso-exclude (name exclude in its `wishes`"),
        ({"allowed_regions": frozenset({"eu-west-1"})}, "no copy of word-count may be called"),
    ],
    indirect=["copies"],
)
def test_a_policy_that_lets_no_copy_be_called_alone_is_one_line(copies: Copies, said: str) -> None:
    done = warm(copies, "--data", "{}")
    assert (done.exit_code, done.stdout) == (1, "")
    assert len(done.stderr.splitlines()) == 1
    assert said in done.stderr
    assert copies.runs == []


def test_a_function_with_one_copy_is_warmed_too(copies: Copies) -> None:
    entry = word_count()
    copies.rig.publish(replace(entry, endpoints=entry.endpoints[:1]))
    copies.rig.clock.advance(READ_AGAIN_S)
    copies.rig.invoke("word-count")  # what was read a minute ago is served once more
    before = len(copies.runs)
    done = warm(copies, "--data", "{}", "-n", "2")
    assert done.exit_code == 0, done.output
    assert copies.runs[before:] == [AWS] * 2


def test_a_key_by_which_a_request_runs_once_is_refused(copies: Copies, tmp_path: Path) -> None:
    (tmp_path / "one.http").write_text("POST /\nIdempotency-Key: a\n\n{}\n")
    done = warm(copies, "--data", f"@{tmp_path}/one.http")
    assert (done.exit_code, done.stdout, len(done.stderr.splitlines())) == (2, "", 1)
    assert copies.runs == []


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["endpoint", "warm", "nobody"], 1, "no function 'nobody' in the catalog; there are word-count"),
        (["endpoint", "warm", "word-count", "-n", "0"], 2, "greater than or equal to 1 "),
        (["endpoint", "warm", "word-count", "-n", "101"], 2, "less than or equal to 100 "),
        (["endpoint", "warm", "word-count", "-d", "@/no/such/file"], 2, "cannot read"),
        (["endpoint", "warm", "word-count", "--api-url", "http://127.0.0.1:9"], 1, "cannot reach"),
    ],
)
def test_what_cannot_be_done_is_one_line(copies: Copies, arguments: list[str], code: int, said: str) -> None:
    at = [] if "--api-url" in arguments else ["--api-url", copies.url]
    done = CliRunner().invoke(app, [*arguments, *at])
    assert (done.exit_code, done.stdout) == (code, "")
    assert len(done.stderr.splitlines()) == 1
    assert said in done.stderr
    assert copies.runs == []


def test_ctrl_c_shows_what_was_done_and_exits_130(copies: Copies) -> None:
    command = [*FISO, "endpoint", "warm", "word-count", "-d", "{}", "-n", "100", "--json"]
    copies.delay_s = 0.2
    with subprocess.Popen(
        bound(command), env=environment(copies.url), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as running:
        while len(copies.runs) < 9 and running.poll() is None:
            time.sleep(0.02)
        running.send_signal(signal.SIGINT)
        out, complaint = running.communicate(timeout=30)
    assert (running.returncode, complaint) == (130, b"")
    document = json.loads(out)
    assert document["interrupted"]
    assert all(0 < row["answered"] < 100 for row in document["copies"])
