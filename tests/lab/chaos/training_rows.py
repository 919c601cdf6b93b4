"""Rows for retraining: calls whose latency follows from provider and size."""

import random
from collections.abc import Iterator
from datetime import datetime, timedelta
from uuid import UUID

from fiso.domain.endpoint import Endpoint, EndpointId, Provider
from fiso.domain.record import AttemptSummary, InvocationRecord
from fiso.domain.request import InvocationId, TenantId
from fiso.prediction import features
from tests.builders import REGIONS, a_record, changed

LATENCY_MS = {Provider.AWS: 20.0, Provider.AZURE: 60.0, Provider.GCP: 35.0}
NOISE = 0.1
BASELINE_MS = 200.0
"""What served before the first model said of every call."""


def calls(count: int, *, first: int, start: datetime, slower: float = 1.0) -> Iterator[InvocationRecord]:
    """`count` calls, a second apart; the numbers from `first` on make their ids and their luck."""
    rng = random.Random(first)  # nosec B311 - draws of an experiment, no secrets
    for number in range(first, first + count):
        provider, size = rng.choice(list(Provider)), rng.choice([100, 10_000])
        latency_ms = LATENCY_MS[provider] * (3 if size > 1000 else 1) * slower * rng.lognormvariate(0, NOISE)
        yield _record(number, start + timedelta(seconds=number - first), provider, size, latency_ms)


def _record(number: int, at: datetime, provider: Provider, size: int, latency_ms: float) -> InvocationRecord:
    id = EndpointId(provider)
    endpoint = Endpoint(id=id, provider=provider, region=REGIONS[provider], memory_mb=512, address="https://x")
    row = features.snapshot(
        function_type="text", endpoint=endpoint, request_size_bytes=size, now=at, state=None, in_flight=0.0
    )
    return changed(
        a_record(),
        invocation_id=InvocationId(str(UUID(int=number))),
        timestamp=at,
        cloud_provider=provider,
        tenant=TenantId("chaos"),
        request_size_bytes=size,
        execution_time_ms=latency_ms,
        region=endpoint.region,
        endpoint=id,
        prediction_accuracy=None,
        features=dict(zip(features.NAMES, row, strict=True)),
        raw_latency_ms=BASELINE_MS,
        attempts=(AttemptSummary(endpoint=id, started_at=at, latency_ms=latency_ms, status=200, cost_usd=1e-6),),
        prediction_source="baseline",
        model_version="baseline",
    )
