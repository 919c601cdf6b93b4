"""Hypothesis strategies for domain values."""

from datetime import timedelta

from hypothesis import strategies as st

from fiso.domain.decision import Exclusion, Prediction, Reason
from fiso.domain.endpoint import EndpointId, FunctionName, Provider
from fiso.domain.record import (
    AttemptSummary,
    CandidateSummary,
    DecisionSummary,
    InvocationRecord,
    RecordStatus,
    RequestSummary,
    ResultSummary,
    ShadowOutcome,
    ShadowSummary,
)
from fiso.domain.request import InvocationId, TenantId
from fiso.prediction import features
from fiso_client.core.failures import Failure
from tests.builders import NOW, a_prediction

positive = st.floats(min_value=1e-9, max_value=1e9)
unit = st.floats(min_value=0, max_value=1)
names = st.text("abcdefgh-", min_size=1, max_size=8)
ids = names.map(EndpointId)
moments = st.integers(0, 10**9).map(lambda ms: NOW + timedelta(milliseconds=ms))


@st.composite
def predictions(draw: st.DrawFn) -> Prediction:
    return a_prediction(
        draw(ids),
        latency_ms=draw(positive),
        cost_usd=draw(st.none() | st.just(0.0) | positive),
        success_probability=draw(unit),
    )


candidates = st.lists(predictions(), min_size=1, max_size=6, unique_by=lambda p: p.endpoint)

attempts = st.builds(
    AttemptSummary,
    endpoint=ids,
    started_at=moments,
    latency_ms=positive,
    status=st.none() | st.integers(100, 599),
    failure=st.none() | st.sampled_from(Failure),
    cold_start=st.none() | st.booleans(),
    billed_ms=st.none() | positive,
    cost_usd=st.none() | positive,
    plan=st.sampled_from((None, "on_demand", "on_demand/arm64", "a plan of newer code")),
)
summaries = st.builds(
    CandidateSummary,
    endpoint=ids,
    latency_ms=positive,
    cost_usd=st.none() | positive,
    success_probability=unit,
    score=unit,
    propensity=unit,
    compared_ms=st.none() | positive,
    p95_ms=st.none() | positive,
)


decisions = st.builds(
    DecisionSummary,
    reason=st.none() | st.sampled_from(Reason),
    user_region=st.none() | names,
    lease_id=st.none() | names,
    features=st.just({}) | st.just(dict.fromkeys(features.NAMES, 1.5)),
    raw_latency_ms=st.none() | positive,
    prediction_source=st.none() | st.just("model"),
    candidates=st.lists(summaries, max_size=3).map(tuple),
    exclusions=st.lists(st.builds(Exclusion, endpoint=ids, code=names, detail=names), max_size=3).map(tuple),
    policy_version=st.none() | st.integers(0, 99),
    snapshot_version=st.none() | st.integers(0, 99),
    model_version=st.none() | names,
    tariff_version=st.none() | names,
)


shadows = st.builds(
    ShadowSummary,
    endpoint=ids,
    outcome=st.sampled_from(ShadowOutcome),
    place=st.none() | names,
    third=st.none() | ids,
    odd=st.none() | ids,
    cost_usd=st.none() | positive,
)


@st.composite
def records(draw: st.DrawFn, function: str | None = None) -> InvocationRecord:
    """Any closed record; its attempts end at its endpoint, or it has none."""
    tried = draw(st.lists(attempts, max_size=3))
    last = tried[-1] if tried else None
    return InvocationRecord(
        invocation_id=InvocationId(draw(st.uuids()).hex),
        timestamp=draw(moments),
        status=draw(st.sampled_from([RecordStatus.FINAL, RecordStatus.UNKNOWN])),
        request=RequestSummary(
            function_name=FunctionName(function or draw(names)),
            tenant=TenantId(draw(st.text(max_size=8))),
            request_size_bytes=draw(st.integers(0, 10**7)),
        ),
        decision=draw(decisions),
        result=ResultSummary(
            response_status=draw(st.integers(100, 599)),
            error_occurred=draw(st.booleans()),
            response_size_bytes=draw(st.integers(0, 10**7)),
            endpoint=last.endpoint if last else None,
            cloud_provider=draw(st.sampled_from(Provider)) if last else None,
            region=draw(st.none() | names),
            execution_time_ms=last.latency_ms if last else None,
            billed_ms=draw(st.none() | positive),
            overhead_ms=draw(st.none() | positive),
            cost_usd=draw(st.none() | positive),
            cold_start=draw(st.none() | st.booleans()),
            memory_utilization=draw(st.none() | unit),
            prediction_accuracy=draw(st.none() | unit),
        ),
        attempts=tuple(tried),
        shadow=draw(st.none() | shadows),
    )
