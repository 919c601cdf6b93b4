"""Records for a stream: closed ones as an orchestrator leaves them, and images that nobody can read."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any
from uuid import UUID

from fiso.adapters.aws.dynamodb import closed_item, record_from_item
from fiso.domain.endpoint import EndpointId, FunctionName, Provider
from fiso.domain.record import AttemptSummary, InvocationRecord
from fiso.domain.request import InvocationId, TenantId
from fiso.prediction import features
from fiso_client.core.failures import Failure
from tests.builders import a_record, changed

FUNCTION = FunctionName("word-count")
REGIONS = {Provider.AWS: "us-east-1", Provider.AZURE: "eastus", Provider.GCP: "us-east4"}


def closed_records(rng: Random, count: int) -> list[InvocationRecord]:
    """Answers, failovers and failures of three endpoints, 10 ms apart, ending now; as the table gives them back."""
    start = datetime.now(UTC).replace(microsecond=0) - timedelta(milliseconds=10 * count)
    records = [_record(rng, start + timedelta(milliseconds=10 * number)) for number in range(count)]
    read = [record_from_item(closed_item(record)) for record in records]
    return [record for record in read if isinstance(record, InvocationRecord)]


def poisoned(rng: Random, number: int) -> Mapping[str, Any]:
    """An image that does not parse, or parses as something that cannot be; one damage after the other."""
    image = {name: dict(value) for name, value in closed_item(_record(rng, datetime.now(UTC))).items()}
    _DAMAGES[number % len(_DAMAGES)](image)
    return image


def _record(rng: Random, at: datetime) -> InvocationRecord:
    providers = rng.sample(list(Provider), k=2 if rng.random() < 0.1 else 1)
    failed = rng.random() < 0.05
    attempts = tuple(
        _attempt(rng, provider, at, failed=failed or place < len(providers) - 1)
        for place, provider in enumerate(providers)
    )
    last, provider = attempts[-1], providers[-1]
    return changed(
        a_record(),
        invocation_id=InvocationId(str(UUID(int=rng.getrandbits(128), version=4))),
        timestamp=at,
        cloud_provider=provider,
        function_name=FUNCTION,
        tenant=TenantId("rig"),
        execution_time_ms=last.latency_ms,
        cost_usd=sum(attempt.cost_usd or 0.0 for attempt in attempts),
        region=REGIONS[provider],
        cold_start=last.cold_start,
        error_occurred=failed,
        endpoint=last.endpoint,
        response_status=502 if failed else 200,
        features=dict.fromkeys(features.NAMES, 1.0) | {"in_flight": rng.uniform(0, 9)},
        raw_latency_ms=rng.uniform(50, 200),
        attempts=attempts,
    )


def _attempt(rng: Random, provider: Provider, at: datetime, *, failed: bool) -> AttemptSummary:
    return AttemptSummary(
        endpoint=EndpointId(provider.value),
        started_at=at,
        latency_ms=rng.lognormvariate(4.7, 0.3),
        status=None if failed else 200,
        failure=Failure.PROVIDER_FAULT if failed else None,
        cold_start=None if failed else rng.random() < 0.02,
        cost_usd=rng.uniform(1e-7, 1e-6),
    )


def _not_a_number(image: dict[str, Any]) -> None:
    image["execution_time_ms"] = {"N": "NaN"}


def _negative_latency(image: dict[str, Any]) -> None:
    image["detail"] = {"S": image["detail"]["S"].replace('"latency_ms":', '"latency_ms":-')}


def _cut_detail(image: dict[str, Any]) -> None:
    image["detail"] = {"S": image["detail"]["S"][:40]}


def _foreign_status(image: dict[str, Any]) -> None:
    image["status"] = {"S": "half-done"}


def _year_one(image: dict[str, Any]) -> None:
    image["timestamp"] = {"S": "0001-01-01T00:00:00+23:59"}


def _nameless(image: dict[str, Any]) -> None:
    image["function_name"] = {"S": ""}


_DAMAGES: tuple[Callable[[dict[str, Any]], None], ...] = (
    _not_a_number,
    _negative_latency,
    _cut_detail,
    _foreign_status,
    _year_one,
    _nameless,
)
