"""Twelve candidates that have been called before: the world that decisions are timed in. The same each time.

Four sizes of a function per provider, 40 answers of each folded one after another, a second apart; latencies fall with
the size and scatter by a fixed pattern.
"""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from fiso.billing import tariff
from fiso.domain.catalog import CatalogEntry
from fiso.domain.endpoint import Endpoint, EndpointId, FunctionName, Provider
from fiso.domain.policy import Policy
from fiso.domain.record import AttemptSummary, InvocationRecord
from fiso.domain.request import InvocationId, InvocationRequest, TenantId
from fiso.prediction import features
from fiso.prediction.artifact import Model
from fiso.routing.fold import fold
from fiso.services.request.decide import DecisionInputs, features_of
from tests.builders import a_record, changed

REGIONS = {Provider.AWS: "us-east-1", Provider.AZURE: "eastus", Provider.GCP: "us-east4"}
MEMORIES_MB = (256, 512, 1_024, 1_536)
ANSWERS_EACH = 40
BEGAN = datetime(2026, 11, 23, 9, 30, tzinfo=UTC)
FUNCTION = FunctionName("word-count")
_USUAL_MS = {Provider.AWS: 90.0, Provider.AZURE: 140.0, Provider.GCP: 110.0}


def request_of(body: bytes = b'{"text": "the quick brown fox"}', *, at: datetime) -> InvocationRequest:
    """A request that is decided on at that time."""
    return InvocationRequest(
        invocation_id=InvocationId("00000000-0000-4000-8000-000000000001"),
        function=FUNCTION,
        tenant=TenantId("bench"),
        received_at=at,
        deadline_at=at + timedelta(seconds=10),
        body=body,
        user_region="us-east-1",
    )


def known_world(model: Model) -> DecisionInputs:
    """Twelve candidates with what 40 answers of each taught."""
    endpoints = tuple(
        Endpoint(
            id=EndpointId(f"{provider}/{memory_mb}"),
            provider=provider,
            region=region,
            memory_mb=memory_mb,
            address="https://x",
        )
        for provider, region in REGIONS.items()
        for memory_mb in MEMORIES_MB
    )
    entry = CatalogEntry(name=FUNCTION, function_type="text", endpoints=endpoints, policy=Policy(version=1))
    inputs = DecisionInputs(entry=entry, snapshot_version=1, tariff=tariff.current(), model=model)
    for number in range(ANSWERS_EACH):
        inputs = with_answers(inputs, number, model)
    return inputs


def worlds_after(inputs: DecisionInputs, model: Model) -> Iterator[DecisionInputs]:
    """The world as it goes on: every endpoint answered once more each time. Without end."""
    number = ANSWERS_EACH
    while True:
        inputs = with_answers(inputs, number, model)
        number += 1
        yield inputs


def with_answers(inputs: DecisionInputs, number: int, model: Model) -> DecisionInputs:
    """The world after answer number so and so of every endpoint."""
    for place, endpoint in enumerate(inputs.entry.endpoints):
        at = answered_at(number) - timedelta(seconds=len(inputs.entry.endpoints) - place)
        inputs = replace(inputs, states=fold(inputs.states, _record(inputs, endpoint, number, at=at, model=model)))
    return inputs


def answered_at(number: int) -> datetime:
    """When all endpoints have answered so and so often: the time to decide in that world."""
    return BEGAN + timedelta(seconds=(number + 1) * len(REGIONS) * len(MEMORIES_MB))


def _record(inputs: DecisionInputs, endpoint: Endpoint, number: int, *, at: datetime, model: Model) -> InvocationRecord:
    request = request_of(at=at)
    row = features_of(endpoint, request, inputs, at)
    pattern = 0.9 + 0.02 * (number * 7 % 11)
    latency_ms = _USUAL_MS[endpoint.provider] * (512 / endpoint.memory_mb) ** 0.5 * pattern
    cost_usd = inputs.tariff.cost_usd(endpoint, latency_ms)
    attempt = AttemptSummary(
        endpoint=endpoint.id, started_at=at, latency_ms=latency_ms, status=200, cold_start=False, cost_usd=cost_usd
    )
    return changed(
        a_record(),
        invocation_id=InvocationId(f"{endpoint.id}-{number}"),
        timestamp=at,
        cloud_provider=endpoint.provider,
        function_name=FUNCTION,
        request_size_bytes=len(request.body),
        execution_time_ms=latency_ms,
        cost_usd=cost_usd,
        region=endpoint.region,
        endpoint=endpoint.id,
        features=dict(zip(features.NAMES, row, strict=True)),
        raw_latency_ms=model.predict(row).latency_ms,
        attempts=(attempt,),
        model_version=model.version,
    )
