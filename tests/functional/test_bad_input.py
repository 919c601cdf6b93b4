"""A part of the bad-input experiment that takes seconds: the claims that it makes fail here first."""

import functools
import json
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from functions.orchestrator.handler import _ROUTES
from tests.lab.chaos.bad_input import contract
from tests.lab.chaos.bad_input.corpus import Specimen, http_event, specimens
from tests.lab.chaos.bad_input.generated import each_generated
from tests.lab.chaos.bad_input.watch import Sent, Worker, WorkerDied, broken_promises, working
from tests.lab.chaos.experiments.bad_input import Tally

GROWTH_KB = 64 * 1024


@pytest.fixture(scope="module")
def worker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    with working(tmp_path_factory.mktemp("bad-input") / "worker.log", seed=1) as started:
        for _ in range(30):
            assert started.send(http_event()).status == 200
        yield started


def test_every_known_specimen_gets_the_status_it_deserves(worker: Worker) -> None:
    base_kb = worker.mark()
    wrong = []
    for specimen in specimens():
        sent = worker.send(specimen.event)
        if sent.status != specimen.status or broken_promises(specimen.event, sent):
            wrong.append((specimen.name, sent.status, sent.response["body"][:200]))
        assert sent.peak_kb - base_kb <= GROWTH_KB, specimen.name
    assert wrong == []


def test_generated_events_break_no_promise(worker: Worker) -> None:
    statuses: Counter[int] = Counter()
    broken: list[object] = []

    def send(event: object) -> None:
        sent = worker.send(event)
        statuses[sent.status] += 1
        broken.extend((promise, sent.response, event) for promise in broken_promises(event, sent))

    each_generated(send, count=300, first=7)
    assert broken == []
    assert {200, 400, 404, 405} <= set(statuses), "the events are too alike to say anything"


def test_requests_made_of_the_document_break_no_promise_and_their_answers_are_described(worker: Worker) -> None:
    broken: list[object] = []

    def send(event: dict[str, Any]) -> Any:
        sent = worker.send(event)
        broken.extend((promise, sent.response, event) for promise in broken_promises(event, sent))
        return sent.response

    findings = contract.fuzz(send, examples=5, seed=7, is_whole=False)
    assert (broken, findings.undescribed, findings.errors) == ([], [], [])


def test_an_answer_that_the_document_does_not_describe_is_found() -> None:
    teapot = {"statusCode": 418, "headers": {"content-type": "text/plain"}, "body": "short and stout"}
    assert contract.fuzz(lambda _: teapot, examples=1, seed=7, is_whole=False).undescribed


def test_the_document_has_every_route_of_the_handler_and_no_other() -> None:
    document = yaml.safe_load(contract.OPENAPI.read_text())
    described = {(method.upper(), path) for path, item in document["paths"].items() for method in item}
    example = functools.partial(re.sub, r"\{\w+\}", "0" * 36)
    served = {route.name for route in _ROUTES}
    met = {
        route.name
        for method, path in described
        for route in _ROUTES
        if route.method == method and route.path.fullmatch(example(path))
    }
    assert met == served
    assert len(described) == len(served) + 1, "the invoke route stands twice, with and without a path"


def sent(status: int, *, invoked: int = 0, body: str = "", **headers: str) -> Sent:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    response = {"statusCode": status, "headers": named, "body": body}
    return Sent(response=response, took_ms=1, invoked=invoked, recorded=0, peak_kb=0)


PROBLEM = json.dumps({"status": 400, "invocation_id": "x"})
KIND = "application/problem+json"


@pytest.mark.parametrize(
    ("answer", "broken"),
    [
        (sent(200, content_type="a/b"), []),
        (sent(400, body=PROBLEM, content_type=KIND), []),
        (sent(400, body=PROBLEM, content_type=KIND, invoked=1), ["invoked"]),
        (sent(400, body=PROBLEM, content_type="text/html"), ["malformed"]),
        (sent(404, body=PROBLEM, content_type=KIND), ["malformed"]),
        (sent(200, location="/\r\nset-cookie: x"), ["malformed"]),
        (sent(503, body='{"status": 503, "invocation_id": "x"}', content_type=KIND), ["5xx"]),
    ],
)
def test_a_broken_promise_is_seen(answer: Sent, broken: list[str]) -> None:
    assert broken_promises(http_event(), answer) == broken


def test_haste_excuses_a_504_and_nothing_else() -> None:
    late = sent(504, body='{"status": 504, "invocation_id": "x"}', content_type=KIND)
    hasty = http_event(headers={"X-Fiso-Timeout-Ms": "150"})
    assert (broken_promises(hasty, late), broken_promises(http_event(), late)) == ([], ["5xx"])


def test_a_process_that_an_input_kills_is_noticed(tmp_path: Path) -> None:
    with working(tmp_path / "log", seed=1) as doomed:
        doomed._process.kill()
        doomed._process.wait()
        with pytest.raises(WorkerDied):
            doomed.send(http_event())


def test_the_history_keeps_what_broke_a_promise(worker: Worker, tmp_path: Path) -> None:
    with (tmp_path / "history.jsonl").open("w") as lines:
        Tally(worker, 0, lines).send(http_event("/nowhere"), "corpus", name="x")
    (line,) = [json.loads(text) for text in (tmp_path / "history.jsonl").read_text().splitlines()]
    assert (line["status"], line["invoked"], line["broken"]) == (404, 0, [])


def test_specimens_have_names_of_their_own() -> None:
    names = Counter(specimen.name for specimen in specimens())
    assert [name for name, count in names.items() if count > 1] == []
    assert isinstance(specimens()[0], Specimen)
