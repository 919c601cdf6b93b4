"""Rows for other clouds' monitoring: an attempt each, of one cloud's copies."""

from dataclasses import replace
from datetime import timedelta

import pytest

from fiso.domain.endpoint import EndpointId, Plan, Provider
from fiso.domain.lease import LeaseId
from fiso.domain.record import InvocationRecord, RecordStatus
from fiso.domain.trace import Traced
from fiso.services.log.monitored import COLUMNS, rows
from fiso_client.core.failures import Failure, Fault
from tests.builders import NOW, a_record, a_summary, an_attempt, changed

AZURE, GOOGLE = EndpointId("azure-eastus-512"), EndpointId("gcp-us-east4-512")


def failed_over() -> InvocationRecord:
    """Azure's copy failed, once more, then Google's answered."""
    first = an_attempt(
        AZURE, plan=Plan.FLEX_CONSUMPTION.value, status=None, failure=Failure.TIMED_OUT, verdict=Fault.PROVIDER
    )
    second = replace(first, started_at=NOW + timedelta(seconds=1), status=503, failure=None)
    third = an_attempt(GOOGLE, plan=Plan.REQUEST_BASED.value, started_at=NOW + timedelta(seconds=2), latency_ms=40.0)
    return a_record(
        endpoint=GOOGLE,
        cloud_provider=Provider.GCP,
        region="us-east4",
        attempts=(third, second, first),
        candidates=(a_summary(AZURE, latency_ms=70.0), a_summary(GOOGLE, latency_ms=50.0)),
        traced=Traced(trace_id="0" * 31 + "1"),
    )


def test_each_cloud_is_told_of_the_attempts_on_its_own_copies() -> None:
    azure, google, aws = (
        rows([failed_over()], of, stage="prod") for of in (Provider.AZURE, Provider.GCP, Provider.AWS)
    )
    told = [(row["attempt"], row["failure"], row["response_status"], row["error_occurred"]) for row in azure]
    assert told == [(1, Failure.TIMED_OUT, None, True), (2, None, 503, True)]
    assert (len(google), len(aws)) == (1, 0)
    assert google[0] == {
        "TimeGenerated": (NOW + timedelta(seconds=2)).isoformat(timespec="microseconds").replace("+00:00", "Z"),
        "invocation_id": failed_over().invocation_id,
        "attempt": 3,
        "stage": "prod",
        "function_name": "word-count",
        "endpoint": GOOGLE,
        "region": "us-east4",
        "response_status": 200,
        "error_occurred": False,
        "failure": None,
        "verdict": None,
        "cold_start": None,
        "is_slow": None,
        "execution_time_ms": 40.0,
        "billed_ms": None,
        "cost_usd": 1e-6,
        "request_size_bytes": 17,
        "response_size_bytes": 2,
        "predicted_ms": 50.0,
        "recent_mean_ms": 1.0,
        "prediction_accuracy": 0.9,
        "prediction_source": "model",
        "model_version": "m1",
        "trace_id": "0" * 31 + "1",
    }


def test_what_belongs_to_the_answer_is_told_of_the_attempt_that_gave_it_alone() -> None:
    for row in rows([failed_over()], Provider.AZURE, stage="prod"):
        assert row["region"] is row["response_size_bytes"] is row["prediction_accuracy"] is None
        assert row["predicted_ms"] == 70.0


def test_rows_have_the_declared_columns_in_their_types() -> None:
    types = {"datetime": str, "string": str, "int": int, "long": int, "real": float, "boolean": bool}
    for row in [*rows([failed_over()], Provider.AZURE, stage="prod"), *rows([failed_over()], Provider.GCP, stage="p")]:
        assert list(row) == list(COLUMNS)
        assert all(value is None or isinstance(value, types[COLUMNS[name]]) for name, value in row.items())


@pytest.mark.parametrize(
    "record",
    [
        changed(failed_over(), lease_id=LeaseId("lease")),
        replace(failed_over(), status=RecordStatus.UNKNOWN),
        replace(failed_over(), attempts=()),
        replace(failed_over(), attempts=tuple(replace(each, plan="of the future") for each in failed_over().attempts)),
    ],
)
def test_what_nobody_saw_for_sure_is_told_to_nobody(record: InvocationRecord) -> None:
    assert [rows([record], each, stage="prod") for each in Provider] == [[], [], []]


def test_an_older_record_without_plans_tells_of_the_copy_that_answered() -> None:
    before = replace(failed_over(), attempts=tuple(replace(each, plan=None) for each in failed_over().attempts))
    assert [len(rows([before], each, stage="prod")) for each in (Provider.AZURE, Provider.GCP)] == [0, 1]
