"""One record of each kind, with every field of a record set in one of them and empty in another.

Numbers have at most seven significant digits, so that what is read is what was written.
"""

from datetime import timedelta

from fiso.domain.decision import Exclusion, Reason
from fiso.domain.endpoint import EndpointId, Provider
from fiso.domain.record import InvocationRecord, RecordStatus, ShadowOutcome, ShadowSummary
from fiso.domain.request import TenantId
from fiso.prediction import features
from fiso_client.core.failures import Failure
from tests.builders import NOW, a_record, a_summary, an_attempt, an_open_record

EXCLUDED = Exclusion(endpoint=EndpointId("azure"), code="residency", detail="eastus is not among us-east-1, ünï")
FEATURES = {name: 0.5 + place for place, name in enumerate(features.NAMES)}
NOTHING_CALLED = {
    "cloud_provider": None,
    "execution_time_ms": None,
    "region": None,
    "endpoint": None,
    "error_occurred": True,
    "prediction_accuracy": None,
    "attempts": (),
}

OPEN = an_open_record(1)
COMPLETE = a_record(
    2,
    request_size_bytes=1_048_576,
    response_size_bytes=0,
    execution_time_ms=123.4567,
    cost_usd=1.234567e-06,
    cpu_utilization=0.25,
    memory_utilization=0.5,
    cold_start=True,
    user_region="eu-central-1",
    tenant=TenantId("tenant #1, ünï"),
    billed_ms=124.0,
    features=FEATURES,
    candidates=(
        a_summary(propensity=0.95, compared_ms=101.5, p95_ms=250.0),
        a_summary("gcp", score=0.4, propensity=0.05, cost_usd=None),
    ),
    exclusions=(EXCLUDED,),
    attempts=(an_attempt(cold_start=True, billed_ms=124.0, plan="on_demand/arm64"),),
)
CLOSED: dict[str, InvocationRecord] = {
    "complete": COMPLETE,
    "nothing eligible": a_record(
        3,
        **NOTHING_CALLED,
        reason=None,
        response_status=503,
        cost_usd=0.0,
        features={},
        raw_latency_ms=None,
        exclusions=(EXCLUDED,),
        prediction_source=None,
        model_version=None,
    ),
    "function's own error": a_record(
        4,
        error_occurred=True,
        response_status=500,
        reason=Reason.EXPLORE,
        attempts=(an_attempt(status=500, cost_usd=None),),
        cost_usd=None,
    ),
    "every attempt failed": a_record(
        5,
        error_occurred=True,
        response_status=502,
        response_size_bytes=0,
        prediction_accuracy=None,
        prediction_source="baseline",
        attempts=(
            an_attempt("gcp", status=None, failure=Failure.UNREACHABLE, cost_usd=0.0),
            an_attempt(status=None, failure=Failure.TIMED_OUT),
        ),
        reason=Reason.FAILOVER,
    ),
    "failover": a_record(
        6,
        reason=Reason.FAILOVER,
        attempts=(
            an_attempt("azure", status=None, failure=Failure.THROTTLED, latency_ms=3.5, cost_usd=0.0),
            an_attempt(started_at=NOW + timedelta(milliseconds=4)),
        ),
    ),
    "hedge": a_record(
        7,
        cloud_provider=Provider.GCP,
        region="us-east4",
        endpoint=EndpointId("gcp"),
        reason=Reason.HEDGE,
        attempts=(
            an_attempt(status=None, failure=Failure.OVERTAKEN, latency_ms=180.0),
            an_attempt("gcp", started_at=NOW + timedelta(milliseconds=150), latency_ms=30.0),
        ),
    ),
    "leased": a_record(8, overhead_ms=None, reason=Reason.CONTROL, lease_id="00000000-0000-4000-8000-00000000000a"),
    "shadowed": a_record(
        10,
        shadow=ShadowSummary(
            endpoint=EndpointId("gcp"),
            outcome=ShadowOutcome.DIFFERS,
            place="body /items/0/price",
            third=EndpointId("azure"),
            odd=EndpointId("gcp"),
            cost_usd=2e-06,
        ),
    ),
    "shadowed alike": a_record(
        11, shadow=ShadowSummary(endpoint=EndpointId("gcp"), outcome=ShadowOutcome.EQUAL, cost_usd=1e-06)
    ),
    "closed as unknown": a_record(
        9,
        **NOTHING_CALLED,
        timestamp=NOW,
        status=RecordStatus.UNKNOWN,
        reason=None,
        response_status=504,
        cost_usd=None,
        overhead_ms=None,
        features={},
        raw_latency_ms=None,
        prediction_source=None,
        policy_version=None,
        snapshot_version=None,
        model_version=None,
        tariff_version=None,
    ),
}
