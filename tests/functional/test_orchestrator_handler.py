import base64
import json
from concurrent.futures import ThreadPoolExecutor

import pytest

from fiso import telemetry
from fiso.testing.endpoints import OK
from fiso_client.core.answers import FunctionAnswer
from fiso_client.core.failures import Failure, ProviderError
from functions.orchestrator import handler
from tests.builders import failing
from tests.functional.orchestrator_rig import LambdaContext, Rig, http_event, problem_of


def test_the_functions_own_answer_comes_back_byte_for_byte() -> None:
    binary = FunctionAnswer(status=201, body=b"\x00\xff\x80", headers={"content-type": "application/x-raw"})
    response = Rig(failing(binary)).send(http_event())
    assert response["statusCode"] == 201
    assert base64.b64decode(response["body"]) == b"\x00\xff\x80"
    assert response["headers"]["content-type"] == "application/x-raw"


def test_an_answer_names_the_choice_and_its_own_cost_in_time() -> None:
    headers = Rig(failing(OK)).send(http_event())["headers"]
    assert headers["x-fiso-provider"] in {"aws", "azure", "gcp"}
    assert headers["x-fiso-reason"] == "score"
    assert headers["x-fiso-attempts"] == "1"
    assert float(headers["x-fiso-overhead-ms"]) >= 0
    assert len(headers["x-fiso-invocation-id"]) == 36


def test_a_functions_own_error_passes_through_marked() -> None:
    own = FunctionAnswer(status=500, body=b"{}", is_function_error=True)
    response = Rig(failing(own)).send(http_event())
    assert (response["statusCode"], response["headers"]["x-fiso-function-error"]) == (500, "1")


@pytest.mark.parametrize(
    ("failure", "status"),
    [(Failure.UNREACHABLE, 503), (Failure.THROTTLED, 503), (Failure.PROVIDER_FAULT, 502), (Failure.BROKEN, 502)],
)
def test_failure_everywhere_is_an_honest_problem(failure: Failure, status: int) -> None:
    response = Rig(failing(ProviderError(failure, "x"))).send(http_event())
    document = problem_of(response)
    assert response["statusCode"] == document["status"] == status
    assert document["invocation_id"] == response["headers"]["x-fiso-invocation-id"]
    assert response["headers"]["retry-after"] == "2"


def test_a_wrong_method_names_the_right_ones() -> None:
    assert Rig(failing(OK)).send(http_event(method="PUT"))["headers"]["allow"] == "POST"


def test_a_body_that_is_not_json_is_nobodys_business_when_it_does_not_say_so() -> None:
    rig = Rig(failing(OK))
    assert rig.send(http_event(body="{", content_type="text/plain"))["statusCode"] == 200


def test_what_a_function_sees_is_what_was_sent() -> None:
    rig = Rig(failing(OK))
    event = http_event(
        path="/v1/invoke/word-count/a/b", idempotency_key="k1", traceparent=f"00-{'a' * 32}-{'b' * 16}-01"
    )
    rig.send(event | {"rawQueryString": "x=1&y=%20"})
    ((_, request),) = rig.caller.calls
    assert (request.path_suffix, request.query, request.idempotency_key) == ("/a/b", "x=1&y=%20", "k1")
    assert request.body == b'{"text": "a"}'
    assert request.traceparent is not None


def test_the_deadline_is_the_least_of_header_policy_and_what_lambda_gives() -> None:
    rig = Rig(failing(OK))
    rig.send(http_event(x_fiso_timeout_ms="5000"), LambdaContext(remaining_ms=3000))
    ((_, request),) = rig.caller.calls
    assert (request.deadline_at - request.received_at).total_seconds() == pytest.approx(2.25)


def test_explains_the_whole_decision_without_invoking() -> None:
    rig = Rig(failing(OK))
    document = json.loads(rig.send(http_event(path="/v1/explain/word-count"))["body"])
    assert {row["endpoint"] for row in document["ranking"]} == {"aws", "azure", "gcp"}
    assert set(document["ranking"][0]["terms"]) == {"latency", "cost", "reliability", "region_affinity"}
    assert sum(row["propensity"] for row in document["ranking"]) == pytest.approx(1)
    assert rig.caller.calls == []


def test_lists_every_endpoint_with_its_state() -> None:
    rig = Rig(failing(OK))
    document = json.loads(rig.send(http_event(method="GET", path="/v1/endpoints"))["body"])
    assert [(row["endpoint"], row["breaker"]) for row in document["endpoints"]] == [
        ("aws", "closed"),
        ("azure", "closed"),
        ("gcp", "closed"),
    ]


def test_an_invocation_can_be_read_by_its_id() -> None:
    rig = Rig(failing(OK))
    invocation_id = rig.send(http_event())["headers"]["x-fiso-invocation-id"]
    document = json.loads(rig.send(http_event(method="GET", path=f"/v1/invocations/{invocation_id}"))["body"])
    assert (document["status"], document["function_name"]) == ("final", "word-count")


def test_health_says_what_is_degraded() -> None:
    document = json.loads(Rig(failing(OK)).send(http_event(method="GET", path="/healthz"))["body"])
    assert (document["status"], document["snapshot_version"], document["model_version"]) == ("degraded", 1, None)


TEXT = {"content-type": "text/plain; charset=utf-8"}


@pytest.mark.parametrize(
    ("answer", "is_base64"),
    [
        (FunctionAnswer(status=200, body="é, 漢\x00".encode(), headers=TEXT), False),
        (FunctionAnswer(status=200, body=b'{"a": 1}', headers={"content-type": "application/problem+json"}), False),
        (FunctionAnswer(status=200, body=b"\xff", headers=TEXT), True),
        (FunctionAnswer(status=200, body=b"packed", headers=TEXT | {"content-encoding": "gzip"}), True),
        (FunctionAnswer(status=200, body=b"text, but nobody says so"), True),
    ],
)
def test_text_goes_back_as_text_and_everything_else_in_base64(answer: FunctionAnswer, is_base64: bool) -> None:
    response = Rig(failing(answer)).send(http_event())
    assert response["isBase64Encoded"] is is_base64
    body = response["body"]
    assert (base64.b64decode(body) if is_base64 else body.encode()) == answer.body


@pytest.mark.parametrize(
    ("body", "kind"),
    [(b"t" * 6_200_000, "text/plain"), (b"\x00" * 4_600_000, "image/png"), (b'"' * 4_500_000, "text/plain")],
    ids=["text", "binary", "text that is shorter in base64"],
)
def test_what_lambda_can_return_goes_back(body: bytes, kind: str) -> None:
    response = Rig(failing(FunctionAnswer(status=200, body=body, headers={"content-type": kind}))).send(http_event())
    assert response["statusCode"] == 200
    assert len(json.dumps(response)) <= 6_291_556


@pytest.mark.parametrize(
    ("body", "kind"),
    [(b"t" * 6_291_556, "text/plain"), (b"\x00" * 4_700_000, "image/png"), (b"\xe6\xbc\xa2" * 1_600_000, "text/plain")],
    ids=["text", "binary", "text beyond ASCII"],
)
def test_an_answer_that_cannot_go_back_is_the_same_error_in_answer_and_record(body: bytes, kind: str) -> None:
    rig = Rig(failing(FunctionAnswer(status=200, body=body, headers={"content-type": kind})))
    response = rig.send(http_event())
    assert (response["statusCode"], problem_of(response)["title"]) == (502, "Answer too large")
    record = rig.only_record
    assert (record.result.response_status, record.result.error_occurred, record.attempts[0].status) == (502, True, 200)


def test_a_defect_is_answered_with_the_id_of_the_record_it_left_open(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> FunctionAnswer:
        raise ZeroDivisionError

    rig = Rig(broken)
    monkeypatch.setattr(handler, "application", lambda: rig.app)
    document = problem_of(handler.lambda_handler(http_event(), LambdaContext()))
    assert document["status"] == 500
    path = f"/v1/invocations/{document['invocation_id']}"
    assert json.loads(rig.send(http_event(method="GET", path=path))["body"])["status"] == "open"


def test_metrics_that_threads_add_during_a_flush_are_neither_lost_nor_an_error(
    capsys: pytest.CaptureFixture[str],
) -> None:
    collector = telemetry.PowertoolsMetrics("test")
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
    rig = Rig(failing(OK))
    monkeypatch.setattr(handler, "application", lambda: rig.app)
    assert handler.lambda_handler(http_event(), LambdaContext())["statusCode"] == 200
