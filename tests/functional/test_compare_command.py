"""`fiso compare` against FISO's handler over HTTP on loopback: who differs, where, and what is never run unasked."""

import json
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
from tests.functional.copies_server import AWS, AZURE, GCP, JSON, Copies, serving_copies
from tests.functional.test_commands import on_a_terminal


@pytest.fixture
def copies(request: pytest.FixtureRequest) -> Iterator[Copies]:
    with serving_copies(getattr(request, "param", {})) as made:
        yield made


def compare(copies: Copies, *arguments: str, stdin: str = "") -> Result:
    return CliRunner().invoke(app, ["compare", "word-count", *arguments, "--api-url", copies.url], input=stdin)


def document_of(done: Result) -> Any:
    """What was printed; the handler, which runs in this process, may have logged before."""
    return json.loads(done.stdout[done.stdout.index("{\n") :])


def said(answer: str, **headers: str) -> FunctionAnswer:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return FunctionAnswer(status=200, body=answer.encode(), headers={**JSON, **named})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "1-one.json").write_text('"one"')
    (tmp_path / "2-two.json").write_text('"two"')
    (tmp_path / "3-three.http").write_text('POST /below?a=b\ncontent-type: application/json\n\n"three"\n')
    (tmp_path / ".hidden").write_text("not a case")
    return tmp_path


def test_every_case_runs_once_on_every_copy_and_all_are_alike(copies: Copies, folder: Path) -> None:
    done = compare(copies, "--data", f"@{folder}/")
    assert done.exit_code == 0, done.output
    assert done.stdout.endswith(f"word-count: 3 cases on {AWS}, {AZURE}, {GCP}: all alike\n")
    assert copies.runs == sorted([AWS, AZURE, GCP] * 3)
    sent = {(request.path_suffix, request.query, request.body) for _, request in copies.rig.caller.calls}
    assert ("/below", "a=b", b'"three"') in sent or ("below", "a=b", b'"three"') in sent
    assert not any("x-fiso-exclude" in request.headers for _, request in copies.rig.caller.calls)


def test_the_copy_that_differs_from_the_majority_is_named_with_the_place_and_its_record(
    copies: Copies, folder: Path
) -> None:
    copies.answers = {GCP: {'"two': said('{"said": "TWO"}'), '"three': said('{"said": "three"}', etag="1")}}
    done = compare(copies, "--data", f"@{folder}/", "--json")
    assert done.exit_code == 1
    document = document_of(done)
    assert (document["cases"], document["differing"]) == (3, 2)
    one, two, three = document["by_case"]
    assert one["is_alike"]
    assert two["odd"] == three["odd"] == [GCP]
    assert two["groups"] == [[AWS, AZURE], [GCP]]
    assert two["differences"] == [{"place": "body /said", "values": {AWS: '"two"', GCP: '"TWO"'}}]
    assert three["differences"] == [] or three["differences"][0]["place"] == "header etag"
    records = {record.invocation_id: record for record in copies.rig.records}
    assert records[two["invocations"][GCP]].result.endpoint == GCP

    table = on_a_terminal(copies.url, "compare", "word-count", "--data", f"@{folder}/", columns=80)
    assert "2 differ" in table
    assert "body /said" in table
    assert '"TWO"' in table
    assert max(map(len, table.splitlines())) <= 80


def test_a_header_in_another_script_reaches_the_copies(copies: Copies, tmp_path: Path) -> None:
    (tmp_path / "one.http").write_text("POST /\nx-name: Жук\n\n{}\n", encoding="utf-8")
    for command in (["compare", "word-count", "-d"], ["invoke", "word-count", "-H", "x-name: Жук", "-d"]):
        done = CliRunner().invoke(app, [*command, f"@{tmp_path}/one.http", "--api-url", copies.url])
        assert done.exit_code == 0, done.output
    sent = {request.headers["x-name"] for _, request in copies.rig.caller.calls}
    assert sent == {"Жук".encode().decode("latin-1")}  # as an HTTP server of Python's reads bytes


def test_what_is_said_to_differ_is_no_difference(copies: Copies) -> None:
    for number, copy in enumerate((AWS, AZURE, GCP)):
        copies.answers[copy] = {"": said(f'{{"items": [{{"at": {number}}}]}}', etag=str(number))}
    assert compare(copies, "--data", "{}").exit_code == 1
    done = compare(copies, "--data", "{}", "--ignore", "/items/*/at", "--ignore-header", "etag")
    assert done.exit_code == 0, done.output


def test_a_copy_that_gives_no_answer_differs(copies: Copies) -> None:
    copies.answers = {AZURE: {"": ProviderError(Failure.PROVIDER_FAULT, "away")}}
    done = compare(copies, "--data", "{}", "--json")
    assert done.exit_code == 1
    (case,) = document_of(done)["by_case"]
    assert list(case["no_answer"]) == [AZURE]
    assert case["groups"] == [[AWS, GCP]]


@pytest.mark.parametrize("copies", [{"denied_regions": frozenset({"eastus"})}], indirect=True)
def test_a_copy_that_the_policy_leaves_out_is_said_and_not_called(copies: Copies) -> None:
    done = compare(copies, "--data", "{}")
    assert done.exit_code == 0, done.output
    assert f"not compared: {AZURE} (status 503" in done.stdout
    assert AZURE not in copies.runs


@pytest.mark.parametrize("copies", [{"mode": Mode.PIN, "pinned": EndpointId(AWS)}], indirect=True)
def test_with_one_copy_left_nothing_can_be_compared(copies: Copies) -> None:
    done = compare(copies, "--data", "{}")
    assert done.exit_code == 2
    assert "fewer than two copies of word-count may be called" in done.output


@pytest.mark.parametrize("copies", [{"idempotent": Idempotent.NO}], indirect=True)
def test_what_must_not_run_twice_is_not_run_unasked(copies: Copies) -> None:
    refused = compare(copies, "--data", "{}")
    assert refused.exit_code == 2
    assert "declared idempotent: no" in refused.output
    assert copies.runs == []
    agreed = compare(copies, "--data", "{}", "--yes")
    assert agreed.exit_code == 0, agreed.output
    assert copies.runs == sorted([AWS, AZURE, GCP])


@pytest.mark.parametrize("copies", [{"wishes": frozenset()}], indirect=True)
def test_a_policy_that_takes_no_wishes_is_told(copies: Copies) -> None:
    done = compare(copies, "--data", "{}")
    assert done.exit_code == 2
    assert "FISO took no case: status 400" in done.output


def test_two_copies_that_differ_name_nobody(copies: Copies) -> None:
    entry = word_count()
    copies.rig.publish(replace(entry, endpoints=entry.endpoints[:2]))
    copies.rig.clock.advance(READ_AGAIN_S)
    compare(copies, "--data", "{}")  # what was read a minute ago is served once more
    copies.answers = {AZURE: {"": said('{"said": 1}')}}
    done = compare(copies, "--data", "{}")
    assert done.exit_code == 1
    assert f"{AWS} | {AZURE}" in done.stdout
    assert "nobody can say which is right" in done.stdout


def test_an_unknown_function_and_an_absent_stage_are_errors_and_no_difference(copies: Copies) -> None:
    unknown = CliRunner().invoke(app, ["compare", "nobody", "--api-url", copies.url])
    assert unknown.exit_code == 2
    assert "no function 'nobody'" in unknown.output
    away = CliRunner().invoke(app, ["compare", "word-count", "--api-url", "http://127.0.0.1:9"])
    assert away.exit_code == 2
    entry = word_count()
    copies.rig.publish(replace(entry, endpoints=entry.endpoints[:1]))
    copies.rig.clock.advance(READ_AGAIN_S)
    compare(copies, "--data", "{}")  # what was read a minute ago is served once more
    alone = compare(copies, "--data", "{}")
    assert (alone.exit_code, alone.stdout) == (2, "")
    assert f"word-count has one copy, {AWS}" in alone.output
    bad = compare(copies, "--ignore", "items")
    assert bad.exit_code == 2
    assert "no JSON pointer" in bad.output
