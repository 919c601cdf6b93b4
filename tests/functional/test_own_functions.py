"""`fiso init` and `fiso endpoint add | check | remove`: one's own functions in a file that stays the user's."""

import json
import socket
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from fiso_cli.catalog.copy_words import read
from fiso_cli.errors import BadInput
from fiso_cli.main import app

ONE, TWO = "gcp:us-east4=http://127.0.0.1:7001", "azure:eastus=http://127.0.0.1:7002/api"
ARN = "arn:aws:lambda:eu-west-1:123456789012:function:stats"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def fiso(*words: str, code: int = 0) -> Result:
    done = CliRunner().invoke(app, words, prog_name="fiso")
    assert done.exit_code == code, done.output
    if code:
        assert isinstance(done.exception, SystemExit)
    return done


def refused(*words: str, code: int = 2) -> str:
    (line,) = fiso(*words, code=code).stderr.splitlines()
    return line


@pytest.mark.parametrize(
    ("word", "provider", "region", "address"),
    [
        (ONE, "gcp", "us-east4", "http://127.0.0.1:7001"),
        (ARN, "aws", "eu-west-1", ARN),
        (f"aws:eu-west-1={ARN}", "aws", "eu-west-1", ARN),
        ("https://us-east4-mine.cloudfunctions.net/f", "gcp", "us-east4", "https://us-east4-mine.cloudfunctions.net/f"),
        ("https://f-12.europe-west1.run.app", "gcp", "europe-west1", "https://f-12.europe-west1.run.app"),
        ("gcp:us-east4=https://f-abc-uk.a.run.app", "gcp", "us-east4", "https://f-abc-uk.a.run.app"),
        ("azure:eastus=https://f.azurewebsites.net/a=b", "azure", "eastus", "https://f.azurewebsites.net/a=b"),
    ],
)
def test_a_copy_is_one_word_that_says_only_what_its_address_does_not(
    word: str, provider: str, region: str, address: str
) -> None:
    found = read(word, memory_mb=256, known=[f"{provider}-{region}"])
    expected = {"provider": provider, "region": region, "memory_mb": 256, "address": address}
    assert found == {"id": f"{provider}-{region}-2", **expected}


@pytest.mark.parametrize("word", ["", "=", "https://f-abc-uk.a.run.app", "http://127.0.0.1:1", "gcp=x", "gcp:=x", "\n"])
def test_what_a_copy_lacks_is_said(word: str) -> None:
    with pytest.raises(BadInput, match=r"is not told by its address: write PROVIDER:REGION=ADDRESS"):
        read(word, memory_mb=512)


def test_from_nothing_to_a_file_that_checks_and_back(folder: Path) -> None:
    fiso("init", "stats", ONE, TWO, ONE, "--idempotent", "yes")
    begun = (folder / "fiso.yaml").read_text()
    assert "nothing wrong" in fiso("check").stdout
    assert [line for line in begun.splitlines() if len(line) > 120] == []

    added = json.loads(fiso("endpoint", "add", "stats", ARN, "--memory-mb", "1024", "--json").stdout)
    assert added["endpoint"]["id"] == "aws-eu-west-1"
    removed = fiso("endpoint", "remove", "stats", "aws-eu-west-1")
    assert "has gcp-us-east4, azure-eastus, gcp-us-east4-2 left" in removed.stdout
    assert (folder / "fiso.yaml").read_text() == begun

    fiso("endpoint", "add", "other", TWO)
    assert "other is out: apply takes --allow-removals" in fiso("endpoint", "remove", "other", "azure-eastus").stdout
    assert (folder / "fiso.yaml").read_text() == begun


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("init", "stats", ONE), "fiso.yaml is there already: `fiso endpoint add` writes into it"),
        (("endpoint", "add", "stats", TWO, "--id", "gcp-us-east4"), "stats has a copy gcp-us-east4 already"),
        (("endpoint", "add", "stats", "azure:eastus=https://10.0.0.1/x"), "endpoints[1].address: must name a public"),
        (("endpoint", "add", "stats", "gcp:us-east4=ftp://x"), "endpoints[1].address: must be an https URL"),
        (("endpoint", "add", "stats", "gcp:us-east4=http://u:p@127.0.0.1"), "must not hold a user or password"),
        (("endpoint", "add", "stats", "oracle:x=https://x.example.com"), "endpoints[1].provider: "),
        (("endpoint", "add", "stats", TWO, "--id", "A b"), "endpoints[1].id: "),
        (("endpoint", "add", "stats", TWO, "--memory-mb", "0"), "endpoints[1].memory_mb: "),
        (("endpoint", "add", "St ats", TWO), "'St ats' is no function's name"),
        (("endpoint", "add", "a: 1\n  b", TWO), "is no function's name"),
        (("init", "{file}", ONE, "-f", "new.yaml"), "'{file}' is no function's name"),
        (("endpoint", "add", "stats", f"aws:us-east-1={ARN}"), "names region eu-west-1"),
        (("endpoint", "remove", "stats", "nope"), "stats has no copy nope: it has gcp-us-east4"),
        (("endpoint", "remove", "nope", "nope"), "nope has no copy nope"),
        (("endpoint", "check", "nope"), "fiso.yaml has no function nope: it has stats"),
        (("endpoint", "add", "stats", TWO, "-f", "none.yaml"), "none.yaml is not there: `fiso init` writes one"),
        (("endpoint", "add", "stats", TWO, "-f", "."), ". cannot be read: Is a directory"),
    ],
)
def test_what_would_spoil_the_file_is_one_line_and_nothing_is_written(
    folder: Path, words: tuple[str, ...], said: str
) -> None:
    fiso("init", "stats", ONE)
    before = (folder / "fiso.yaml").read_text()
    assert said in refused(*words)
    assert (folder / "fiso.yaml").read_text() == before


def test_the_last_copy_takes_the_function_along_with_its_policy(folder: Path) -> None:
    fiso("init", "stats", ONE)
    assert "stats is out: apply takes --allow-removals" in fiso("endpoint", "remove", "stats", "gcp-us-east4").stdout
    assert "stats" not in (folder / "fiso.yaml").read_text()
    assert "0 functions, nothing wrong" in fiso("check").stdout


def test_the_home_is_not_taken_away_from_under_a_policy(folder: Path) -> None:
    fiso("init", "stats", ONE, TWO)
    assert "fiso.yaml:11: functions.stats.policy.home: no endpoint 'gcp-us-east4'" in refused(
        "endpoint", "remove", "stats", "gcp-us-east4"
    )


def test_mistakes_that_were_there_before_stay_the_users(folder: Path) -> None:
    text = "version: 1\nfunctions:\n  old: {type: t}\n  stats:\n    type: t\n    endpoints:\n"
    copy = '      - {id: a, provider: gcp, region: us-east4, memory_mb: 512, address: "http://127.0.0.1:1"}\n'
    (folder / "fiso.yaml").write_text(text + copy)
    fiso("endpoint", "add", "stats", TWO)
    assert "functions.old.endpoints: is missing" in refused("check")


@pytest.mark.parametrize("text", ["", "[", "- 1\n", "version: 1\nfunctions: 7\n", "a: &a [*a]\n", "\ufeff"])
def test_a_file_that_is_no_catalog_is_told_as_such(folder: Path, text: str) -> None:
    (folder / "fiso.yaml").write_text(text)
    for words in (("endpoint", "remove", "stats", "a"), ("endpoint", "check")):
        assert "fiso.yaml" in fiso(*words, code=2).stderr
    assert (folder / "fiso.yaml").read_text() == text


def test_nobody_to_ask_is_one_line(folder: Path) -> None:
    for words in ((), ("stats",)):
        assert "there is nobody to ask: fiso init FUNCTION PROVIDER:REGION=ADDRESS" in refused("init", *words)
    assert not (folder / "fiso.yaml").exists()


def test_check_connects_and_calls_nothing() -> None:
    with socket.create_server(("127.0.0.1", 0)) as there, socket.create_server(("127.0.0.1", 0)) as closed:
        away = closed.getsockname()[1]
        closed.close()
        fiso("init", "stats", f"gcp:us-east4=http://127.0.0.1:{there.getsockname()[1]}", ARN)
        assert "stats gcp-us-east4: can be reached" in fiso("endpoint", "check").stdout
        taken, _ = there.accept()
        assert taken.recv(100) == b""
        taken.close()
        fiso("endpoint", "add", "stats", f"azure:eastus=http://127.0.0.1:{away}")
        found = json.loads(fiso("endpoint", "check", "stats", "--json", code=1).stdout)["endpoints"]
    assert [each["tried"] for each in found] == [True, False, True]
    assert ["problem" in each for each in found] == [False, False, True]
