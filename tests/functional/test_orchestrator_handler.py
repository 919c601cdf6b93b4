"""What a request goes through, from event to answer. What each answer looks like is in `tests/golden/test_http.py`."""

import base64
import json
from concurrent.futures import ThreadPoolExecutor

import pytest

from fiso import telemetry
from fiso.codecs import spilled_line
from fiso.codecs.record import to_document
from fiso.domain.decision import Reason
from fiso.domain.endpoint import EndpointId, Provider
from fiso.domain.policy import Idempotent, Mode
from fiso.domain.record import InvocationRecord, OpenRecord
from fiso.services.log.spill import MARK
from fiso.testing.memory import away
from fiso.testing.rig import LambdaContext, Rig, http_event, word_count
from fiso_client.core.answers import FunctionAnswer
from fiso_client.core.failures import Failure, ProviderError
from functions.orchestrator import handler
from tests.builders import failing
from tests.edge import problem_of

pytestmark = pytest.mark.usefixtures("each_door")


DEDUPLICATES = Idempotent.DEDUPLICATES_ON_KEY


@pytest.mark.parametrize(
    ("idempotent", "method", "key", "has_intent"),
    [
        (Idempotent.NO, "POST", "", True),
        (Idempotent.NO, "POST", "k1", True),
        (Idempotent.NO, "GET", "", False),
        (DEDUPLICATES, "POST", "", True),
        (DEDUPLICATES, "POST", "k1", False),
        (Idempotent.YES, "POST", "", False),
    ],
)
def test_what_must_not_be_repeated_has_its_intent_written_before_any_call(
    idempotent: Idempotent, method: str, key: str, has_intent: bool
) -> None:
    """An environment that dies in between leaves it open; of what may be repeated nobody needs to know."""
    seen: list[object] = []

    def respond(*_: object) -> FunctionAnswer:
        seen.extend(rig.stores.log.records.values())
        return FunctionAnswer(status=200, body=b"")

    rig = Rig(word_count(idempotent=idempotent), respond=respond)
    rig.send(http_event(method, **({"idempotency_key": key} if key else {})))
    assert [type(record) for record in seen] == [OpenRecord] * has_intent
    assert isinstance(rig.only_record, InvocationRecord)


def test_a_failover_is_recorded_with_every_attempt() -> None:
    rig = Rig(respond=failing(ProviderError(Failure.UNREACHABLE, "refused"), FunctionAnswer(status=200, body=b"")))
    rig.send(http_event(x_fiso_user_region="us-east-1"))
    record = rig.only_record
    assert record.decision.reason is Reason.FAILOVER
    assert [attempt.failure for attempt in record.attempts] == [Failure.UNREACHABLE, None]
    assert record.result.endpoint == record.attempts[-1].endpoint
    assert rig.metrics.total("Failovers") == 1
    assert len(json.dumps(to_document(record), separators=(",", ":"))) <= 2048


@pytest.mark.parametrize(
    ("failure", "status"),
    [(Failure.UNREACHABLE, 503), (Failure.THROTTLED, 503), (Failure.PROVIDER_FAULT, 502), (Failure.BROKEN, 502)],
)
def test_failure_everywhere_is_an_honest_problem_with_the_id_of_its_record(failure: Failure, status: int) -> None:
    rig = Rig(respond=failing(ProviderError(failure, "x")))
    response = rig.send(http_event())
    document = problem_of(response)
    assert response["statusCode"] == document["status"] == rig.only_record.result.response_status == status
    assert document["invocation_id"] == response["headers"]["x-fiso-invocation-id"] == rig.only_record.invocation_id
    assert rig.only_record.result.error_occurred


def test_nothing_eligible_is_recorded_and_nothing_is_called() -> None:
    rig = Rig(word_count(residency=frozenset({"moon-1"})))
    rig.send(http_event())
    assert rig.calls == []
    assert rig.only_record.result.response_status == 503


def test_naming_unknown_functions_leaves_no_trace_and_costs_no_read_of_any_store() -> None:
    rig = Rig()
    for number in range(20):
        assert rig.invoke(f"nobody-{number}").status == 404
    assert rig.stores.log.records == {}
    assert rig.stores.states.operations["of_function"] == 0
    rig.invoke("word-count")
    assert rig.stores.states.operations["of_function"] == 1


def test_explaining_calls_and_records_nothing() -> None:
    rig = Rig()
    ranking = rig.request("POST", "/v1/explain/word-count", body="{}").document["ranking"]
    assert sum(row["propensity"] for row in ranking) == pytest.approx(1)
    assert rig.calls == []
    assert rig.stores.log.records == {}


def test_a_log_that_is_away_fails_no_request_and_loses_no_record(caplog: pytest.LogCaptureFixture) -> None:
    rig = Rig(word_count(idempotent=Idempotent.NO))
    rig.stores.log.before = away("throttled")
    answer = rig.invoke("word-count")
    assert answer.status == 200
    lines = [getattr(line, MARK) for line in caplog.records if line.message == MARK]
    marked, older = lines[::2], lines[1::2]  # the rig accepts older forms, so each stands there twice
    spilled = [spilled_line.read(line, rig.stores.lease_keys.keys) for line in marked]
    assert [json.loads(spilled_line.text_of(line)) for line in marked] == older
    assert [type(record) for record in spilled] == [OpenRecord, InvocationRecord]
    assert {record.invocation_id for record in spilled} == {answer.headers["x-fiso-invocation-id"]}
    assert rig.metrics.total("LogSpill") == 2


def test_observe_calls_home_whatever_scores_best() -> None:
    rig = Rig(word_count(mode=Mode.OBSERVE, home=EndpointId("azure-eastus")))
    rig.invoke("word-count")
    record = rig.only_record
    assert (record.result.cloud_provider, record.decision.reason) == (Provider.AZURE, Reason.POLICY)
    assert len(record.decision.candidates) == 3


def test_what_a_function_sees_is_what_was_sent() -> None:
    rig = Rig()
    event = http_event(
        path="/v1/invoke/word-count/a/b", idempotency_key="k1", traceparent=f"00-{'a' * 32}-{'b' * 16}-01"
    )
    rig.send(event | {"rawQueryString": "x=1&y=%20"})
    ((_, request),) = rig.caller.calls
    assert (request.path_suffix, request.query, request.idempotency_key) == ("/a/b", "x=1&y=%20", "k1")
    assert request.body == b'{"text": "a"}'
    assert "traceparent" in request.headers


def test_the_deadline_is_the_least_of_header_policy_and_what_lambda_gives() -> None:
    rig = Rig()
    rig.send(http_event(x_fiso_timeout_ms="5000"), LambdaContext(remaining_ms=3000))
    ((_, request),) = rig.caller.calls
    assert (request.deadline_at - request.received_at).total_seconds() == pytest.approx(2.25)


TEXT = {"content-type": "text/plain; charset=utf-8"}


@pytest.mark.gateway_form
@pytest.mark.parametrize(
    ("answer", "is_base64"),
    [
        (FunctionAnswer(status=200, body="é, 漢\x00".encode(), headers=TEXT), False),
        (FunctionAnswer(status=200, body=b'{"a": 1}', headers={"content-type": "application/problem+json"}), False),
        (FunctionAnswer(status=200, body=b"\xff", headers=TEXT), True),
        (FunctionAnswer(status=201, body=b"\x00\xff\x80", headers={"content-type": "application/x-raw"}), True),
        (FunctionAnswer(status=200, body=b"packed", headers=TEXT | {"content-encoding": "gzip"}), True),
        (FunctionAnswer(status=200, body=b"text, but nobody says so"), True),
    ],
)
def test_text_goes_back_as_text_and_everything_else_in_base64(answer: FunctionAnswer, is_base64: bool) -> None:
    response = Rig(respond=failing(answer)).send(http_event())
    assert (response["statusCode"], response["isBase64Encoded"]) == (answer.status, is_base64)
    body = response["body"]
    assert (base64.b64decode(body) if is_base64 else body.encode()) == answer.body


@pytest.mark.gateway_form
@pytest.mark.parametrize(
    ("body", "kind"),
    [(b"t" * 6_200_000, "text/plain"), (b"\x00" * 4_600_000, "image/png"), (b'"' * 4_500_000, "text/plain")],
    ids=["text", "binary", "text that is shorter in base64"],
)
def test_what_lambda_can_return_goes_back(body: bytes, kind: str) -> None:
    response = Rig(respond=failing(FunctionAnswer(status=200, body=body, headers={"content-type": kind}))).send(
        http_event()
    )
    assert response["statusCode"] == 200
    assert len(json.dumps(response)) <= 6_291_556


@pytest.mark.parametrize(
    ("body", "kind"),
    [(b"t" * 6_291_556, "text/plain"), (b"\x00" * 4_700_000, "image/png"), (b"\xe6\xbc\xa2" * 1_600_000, "text/plain")],
    ids=["text", "binary", "text beyond ASCII"],
)
def test_an_answer_that_cannot_go_back_is_the_same_error_in_answer_and_record(body: bytes, kind: str) -> None:
    rig = Rig(respond=failing(FunctionAnswer(status=200, body=body, headers={"content-type": kind})))
    response = rig.send(http_event())
    assert (response["statusCode"], problem_of(response)["title"]) == (502, "Answer too large")
    record = rig.only_record
    assert (record.result.response_status, record.result.error_occurred, record.attempts[0].status) == (502, True, 200)


def test_a_defect_is_answered_with_the_id_of_the_record_it_left_open(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> FunctionAnswer:
        raise ZeroDivisionError

    rig = Rig(word_count(idempotent=Idempotent.NO), respond=broken)
    monkeypatch.setattr(handler, "application", lambda: rig.app)
    document = problem_of(handler.lambda_handler(http_event(), LambdaContext()))
    assert document["status"] == 500
    assert rig.request("GET", f"/v1/invocations/{document['invocation_id']}").document["status"] == "open"


def test_metrics_that_threads_add_during_a_flush_are_neither_lost_nor_an_error(
    capsys: pytest.CaptureFixture[str],
) -> None:
    collector = telemetry.EmbeddedMetrics("test")
    names = [f"Dimension{number}" for number in range(8)]

    def add(dimension: str) -> None:
        for _ in range(200):
            collector.add("Counted", 1, "Count", **{dimension: "x"})

    with ThreadPoolExecutor(len(names)) as threads:
        running = [threads.submit(add, name) for name in names]
        while not all(each.done() for each in running):
            collector.flush()
    collector.flush()
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    counted = [line["Counted"] for line in lines if set(names) & line.keys()]
    assert sum(sum(each) if isinstance(each, list) else each for each in counted) == 1600


def test_a_flush_that_fails_takes_nobodys_answer_away(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> None:
        raise RuntimeError("dictionary changed size during iteration")

    monkeypatch.setattr(telemetry.metrics(), "flush", refuse)
    monkeypatch.setattr(handler, "application", lambda: Rig().app)
    assert handler.lambda_handler(http_event(), LambdaContext())["statusCode"] == 200
