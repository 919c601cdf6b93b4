"""What is written for whoever runs FISO: the ids of a request, rounds that are heard, predictions in their log."""

import io
import json
import logging
from collections.abc import Sequence
from typing import Any

import pytest

from fiso import telemetry
from fiso.adapters.aws.dynamodb import closed_item
from fiso.domain.errors import StoreUnavailable
from fiso.domain.model import RetrainingRun
from fiso.testing.memory import InMemoryArchive, InMemoryDeadLetters, InMemoryEndpointStates, InMemoryRecordLists
from fiso.testing.rig import http_event
from functions.orchestrator import handler
from functions.retrainer import handler as retrainer
from functions.stream_consumer.archiver import archive
from functions.stream_consumer.wiring import Stores
from tests.builders import NOW, a_record, a_summary
from tests.logged import log_of


class Lambda:
    """Lambda's context."""

    aws_request_id = "lambda-7"

    def get_remaining_time_in_millis(self) -> int:
        return 9_000


class Lines:
    """A log of lines that may be away."""

    def __init__(self, *, is_away: bool = False) -> None:
        self.is_away, self.lines = is_away, list[str]()

    def put(self, lines: Sequence[str]) -> None:
        if self.is_away:
            raise StoreUnavailable("away")
        self.lines += lines


def written(event: object, context: object) -> list[dict[str, Any]]:
    """The lines of the orchestrator's own logger meanwhile; it fails, as without an environment it must."""
    telemetry.logger()
    shown = logging.getLogger("functions").handlers[0]
    assert isinstance(shown, logging.StreamHandler)
    before, text = shown.setStream(caught := io.StringIO()), ""
    try:
        assert handler.lambda_handler(event, context)["statusCode"] == 500  # type: ignore[arg-type]
        text = caught.getvalue()
    finally:
        shown.setStream(before)
    return [json.loads(line) for line in text.splitlines() if line.startswith("{")]


def test_each_line_has_the_gateways_id_lambdas_and_fisos_and_none_of_the_request_before() -> None:
    event = http_event() | {"requestContext": {"http": {}, "requestId": "JKJaXmPLvHcESHA="}}
    (line,) = [line for line in written(event, Lambda()) if line["message"] == "unexpected error"]
    assert (line["gateway_request_id"], line["lambda_request_id"]) == ("JKJaXmPLvHcESHA=", "lambda-7")
    assert len(line["invocation_id"]) == 36
    (line,) = [line for line in written({"requestContext": []}, object()) if line["message"] == "unexpected error"]
    assert not {"gateway_request_id", "lambda_request_id"} & line.keys()


@pytest.mark.parametrize("id", [7, ["x"], None, {}])
def test_an_id_that_is_none_breaks_no_line(id: object) -> None:
    (line,) = written({"requestContext": {"requestId": id}}, Lambda())
    assert "gateway_request_id" not in line
    (line,) = written({"requestContext": {"requestId": "x" * 9_000}}, Lambda())
    assert line["gateway_request_id"] == "x" * 64


def test_a_retraining_says_why_it_promoted_nothing_and_is_heard(capsys: pytest.CaptureFixture[str]) -> None:
    run = RetrainingRun(
        started_at=NOW, trigger="schedule", rows=7, promoted=False, reason="too few", champion_version="m"
    )
    retrainer.tell(run)
    telemetry.flush()
    assert '"RetrainerRuns":[1.0]' in capsys.readouterr().out.replace(" ", "")


def predicted(number: int, endpoint: str, **changes: Any) -> Any:
    said = (a_summary("aws", latency_ms=80.0), a_summary("gcp", latency_ms=300.0))
    known = {"historical_avg_latency": 50.0}
    return a_record(number, candidates=said, features=known, endpoint=endpoint, **changes)


def test_the_log_of_predictions_holds_what_was_predicted_of_each_endpoint_and_what_came() -> None:
    records = [predicted(1, "aws"), predicted(2, "aws", execution_time_ms=160.0), predicted(3, "gcp")]
    items, predictions = [closed_item(record) for record in records], Lines()
    stream = [{"dynamodb": {"SequenceNumber": "1", "NewImage": item}} for item in items]
    stores = Stores(
        log=log_of(*items),
        states=InMemoryEndpointStates(),
        archive=InMemoryArchive(),
        lists=InMemoryRecordLists(),
        letters=InMemoryDeadLetters(),
        predictions=predictions,
    )
    assert archive(stream, stores) == {"batchItemFailures": []}
    first, second = (json.loads(line) for line in predictions.lines)
    assert first == {
        "function": "word-count",
        "endpoint": "aws",
        "model_version": "m1",
        "prediction_source": "model",
        "answers": 2,
        "predicted_ms": 80.0,
        "latency_ms": 130.0,
        "error_ms": 50.0,  # 20 and 80
        "skill": 0.47,  # of both, ln 1.6: 80 ms is nearer than 50 ms by that
    }
    assert (second["endpoint"], second["error_ms"], second["skill"]) == ("gcp", 200.0, -0.405)
    predictions.is_away = True
    assert archive(stream, stores) == {"batchItemFailures": []}, "a batch does not come again for its lines"
