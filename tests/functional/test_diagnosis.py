"""Diagnosis through the genuine handler and the console: whose fault trouble is, told by command, page and API."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from fiso import telemetry
from fiso.domain.endpoint import FunctionName
from fiso.domain.policy import Idempotent
from fiso.testing.memory import InMemoryRetrainingRuns
from fiso.testing.rig import Rig, http_event, word_count
from fiso_cli.main import app as command
from fiso_client.core.answers import FunctionAnswer
from functions.console import app
from functions.console.sources import Sources
from tests.functional.console_browser import Browser, parse
from tests.functional.lease_servers import serving
from tests.functional.test_attribution import COPIES, WAYS, a_rig, invoke, quick, turned_bad
from tests.functional.test_commands import on_a_terminal
from tests.functional.test_cross_origin import seen_by_a_browser

JSON = {"content-type": "application/json"}
FAULTS = {"TLS errors": "network", "throttled": "throttle"}


def browser(rig: Rig) -> Browser:
    stores = rig.stores
    sources = Sources(
        log=stores.log,
        states=stores.states,
        snapshots=stores.snapshots,
        models=stores.models,
        runs=InMemoryRetrainingRuns(),
        clock=rig.clock,
    )
    return Browser(app=app.create(sources, stage="prod"), gateway="aws")


def diagnosis(rig: Rig, query: str = "since=7d") -> dict[str, Any]:
    return browser(rig).get("/api/diagnosis", query).document


def findings(rig: Rig) -> list[dict[str, Any]]:
    return [finding for function in diagnosis(rig)["functions"] for finding in function["findings"]]


@pytest.mark.parametrize("idempotent", [Idempotent.NO, Idempotent.YES])
@pytest.mark.parametrize("every_s", [1.0, 0.02])
@pytest.mark.parametrize("way", [way for way in WAYS if way != "slow"])
def test_a_bad_copy_is_named_with_what_to_do(way: str, every_s: float, idempotent: Idempotent) -> None:
    rig, _, best = turned_bad(WAYS[way], count=60, every_s=every_s, idempotent=idempotent)
    (found,) = findings(rig)
    assert (found["copy"], found["verdict"]) == (best, FAULTS.get(way, "copy"))
    assert found["sure"] in ("certain", "likely")
    assert found["is_wrong"]
    assert found["since"] > diagnosis(rig)["since"]
    assert found["evidence"]
    assert found["what_to_do"]
    (bad,) = [row for row in found["figures"] if row["copy"] == best]
    assert bad["odd"] == bad["calls"] == found["bad"]
    assert sum(row["calls"] for row in found["figures"]) > bad["calls"]
    assert not diagnosis(rig)["is_well"]


def test_a_copy_that_lost_one_call_of_twenty_a_day_is_named_and_not_accused() -> None:
    rig, _, best = turned_bad(WAYS["its own 500"], count=2, every_s=4_320.0, idempotent=Idempotent.NO)
    (found,) = findings(rig)
    assert (found["copy"], found["sure"], found["is_wrong"]) == (best, "not enough calls", False)


@pytest.mark.parametrize("status", [500, 400])
def test_what_all_copies_do_alike_is_the_functions_or_its_callers(status: int) -> None:
    rig = a_rig(idempotent=Idempotent.NO)
    invoke(rig, 30, every_s=1.0)
    for copy in COPIES:
        rig.endpoints.set(copy, quick(status, b"{}", JSON))
    invoke(rig, 40, every_s=1.0)
    (found,) = findings(rig)
    assert found["copy"] is None
    assert found["verdict"] == ("function" if status == 500 else "caller")
    assert diagnosis(rig)["is_well"] == (status == 400)


def test_trouble_that_is_over_is_told_as_such_and_is_nothing_wrong() -> None:
    rig, _, best = turned_bad(WAYS["its own 500"], count=40, every_s=1.0, idempotent=Idempotent.NO, exploration=0.2)
    rig.answer(best, FunctionAnswer(status=200, body=b'{"count": 3}', headers=JSON))
    invoke(rig, 300, every_s=1.0)
    (found,) = findings(rig)
    assert found["until"] is not None
    assert not found["is_wrong"]


@pytest.mark.parametrize(
    ("names", "verdict"), [(("word-count", "thumbnails"), "copy"), (("word-count", "thumbnails", "resize"), "provider")]
)
def test_of_functions_own_errors_in_one_place_three_are_their_providers_fault(
    names: tuple[str, ...], verdict: str
) -> None:
    rig = Rig(*(replace(word_count(idempotent=Idempotent.NO), name=FunctionName(name)) for name in names))
    for copy in COPIES:
        rig.answer(copy, FunctionAnswer(status=200, body=b"{}", headers=JSON))
    for _ in range(30):
        for name in names:
            rig.invoke(name, body=b"{}")
        rig.advance(1)
    rig.endpoints.set(rig.records[-1].attempts[-1].endpoint, WAYS["its own 500"])
    for _ in range(200):
        for name in names:
            rig.invoke(name, body=b"{}")
        rig.advance(1)
    found = findings(rig)
    assert {finding["verdict"] for finding in found} == {verdict}
    assert all(finding["evidence"].startswith("status 500; ") for finding in found)
    assert len(found) == len(names)


def test_a_well_stage_is_well_with_its_figures() -> None:
    rig = a_rig()
    invoke(rig, 30, every_s=1.0)
    (function,) = diagnosis(rig)["functions"]
    assert function["findings"] == []
    assert (function["calls"], function["bad"]) == (30, 0)
    assert "All is well" in browser(rig).get("/console/diagnosis").body


@pytest.mark.parametrize("query", ["since=0h", "since=8d", "since=yesterday", "since=1h&since=2h", "function=%3Cb%3E"])
def test_what_cannot_be_asked_is_refused(query: str) -> None:
    assert browser(a_rig()).get("/api/diagnosis", query).status == 400


def test_a_function_that_is_not_there_is_not_found() -> None:
    assert browser(a_rig()).get("/api/diagnosis", "function=nobody").status == 404


def test_the_page_and_the_invocations_own_show_verdict_evidence_and_each_other() -> None:
    page = {"content-type": "text/html<script>"}
    rig, _, best = turned_bad(quick(404, b"<html>", page), count=60, every_s=1.0, idempotent=Idempotent.NO)
    (found,) = findings(rig)
    answer = browser(rig).get("/console/diagnosis", "function=word-count&since=1h")
    assert parse(answer.body).blocked == []
    assert "<script>alert" not in answer.body
    for told in (best, "Something is wrong", "once in", f"console/invocations/{found['example']}"):
        assert told in answer.body
    own = browser(rig).get(f"/console/invocations/{found['example']}").body
    assert "Whose fault, and what shows it" in own
    assert "status 404" in own
    assert "console/diagnosis?function=word-count" in own


def test_one_invocation_has_verdict_and_evidence_of_each_attempt() -> None:
    rig, _, best = turned_bad(WAYS["its own 500"], count=30, every_s=1.0, idempotent=Idempotent.YES)
    (found,) = findings(rig)
    document = rig.request("GET", f"/v1/invocations/{found['example']}").document
    (bad,) = [attempt for attempt in document["attempts"] if attempt["endpoint"] == best]
    assert bad["verdict"] == "copy"
    assert "status 500" in bad["evidence"]


def test_a_fault_is_counted_for_the_cloud_that_had_it_not_for_the_one_that_answered_after_it() -> None:
    rig, _, best = turned_bad(WAYS["its own 500"], count=3, every_s=1.0, idempotent=Idempotent.YES)
    counted = {d["provider"] for name, _, d in rig.metrics.values if name == "Faults"}
    assert counted == {best.partition("-")[0]}


def test_a_browser_shows_the_page_with_its_style(tmp_path: Path) -> None:
    rig, _, best = turned_bad(WAYS["its own 500"], count=60, every_s=1.0, idempotent=Idempotent.NO)
    with serving(Stage(rig).handle) as server:
        dom = seen_by_a_browser(f"{server.url}/console/diagnosis", tmp_path)
    assert f"<b>{best}</b>" in dom
    assert "Something is wrong" in dom
    assert 'aria-current="page">Diagnosis' in dom


@dataclass
class Stage:
    """A rig and its console behind one address."""

    rig: Rig
    url: str = ""

    def handle(self, path: str, headers: dict[str, str], body: bytes) -> tuple[int, dict[str, str], bytes]:
        path, _, query = path.partition("?")
        if path.startswith(("/api/", "/console")):
            answer = browser(self.rig).get(path, query)
            return answer.status, answer.headers, answer.body.encode()
        sent = self.rig.send(http_event("GET", path, body.decode()) | {"headers": headers})
        return sent["statusCode"], sent["headers"], sent["body"].encode()


@pytest.fixture
def bad() -> Iterator[Stage]:
    rig, _, _ = turned_bad(WAYS["a 404 page"], count=60, every_s=1.0, idempotent=Idempotent.NO)
    stage = Stage(rig)
    with serving(stage.handle) as server:
        stage.url = server.url
        telemetry.logger()  # before the command stands in for standard output
        yield stage


def run(stage: Stage, *arguments: str) -> Result:
    return CliRunner().invoke(command, ["diagnose", *arguments, "--api-url", stage.url])


def test_the_command_says_whose_fault_it_is_and_exits_1(bad: Stage) -> None:
    done = run(bad)
    assert done.exit_code == 1
    for told in ("something is wrong", "copy, certain", "status 404 text/html", "check that the function exists"):
        assert told in done.stdout
    document = json.loads(
        run(bad, "word-count", "--since", "6h", "--json").stdout.partition("{\n")[2].join(["{\n", ""])
    )
    assert document["functions"][0]["findings"][0]["verdict"] == "copy"


def test_the_command_exits_0_when_all_is_well(bad: Stage) -> None:
    bad.rig = a_rig()
    invoke(bad.rig, 5, every_s=1.0)
    done = run(bad)
    assert done.exit_code == 0
    assert "all is well: 5 invocations" in done.stdout


@pytest.mark.parametrize("arguments", [("nobody",), ("--since", "soon"), ("--nothing",)])
def test_the_command_exits_2_when_it_cannot_be_found_out(bad: Stage, arguments: tuple[str, ...]) -> None:
    assert run(bad, *arguments).exit_code == 2


def test_the_command_exits_2_when_nobody_answers() -> None:
    assert CliRunner().invoke(command, ["diagnose", "--api-url", "http://127.0.0.1:1"]).exit_code == 2


def test_the_command_fits_80_columns(bad: Stage) -> None:
    shown = on_a_terminal(bad.url, "diagnose")
    assert "check that the function" in " ".join(shown.split())
    assert [line for line in shown.splitlines() if len(line.split("\r")[-1]) > 80] == []
