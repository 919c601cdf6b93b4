"""Valid domain values with sensible defaults, for tests that care about one or two of their fields."""

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import count
from typing import Any

from fiso.codecs import spilled_line
from fiso.codecs.lease_token import Keyring
from fiso.codecs.record import open_to_document, to_document
from fiso.domain.catalog import CatalogEntry, Snapshot
from fiso.domain.decision import Prediction, PredictionSource, Reason, Spread
from fiso.domain.endpoint import Endpoint, EndpointId, FunctionName, Provider
from fiso.domain.lease import Lease, LeasedEndpoint, LeaseId
from fiso.domain.policy import Idempotent, Policy
from fiso.domain.record import (
    AttemptSummary,
    CandidateSummary,
    DecisionSummary,
    InvocationRecord,
    OpenRecord,
    RecordStatus,
    RequestSummary,
    ResultSummary,
)
from fiso.domain.request import InvocationId, InvocationRequest, TenantId
from fiso.domain.state import EndpointState
from fiso.ports import SpilledLine
from fiso.prediction import features
from fiso.routing.fold import fold
from fiso.services.log.spill import MARK
from fiso.testing.clock import START
from fiso_client.core.answers import FunctionAnswer
from fiso_client.core.failures import ProviderError

NOW = START
KEYRING = Keyring.parsed(f"k1:{'a' * 32}")
"""What the rig's leases are signed with, and its spilled lines marked."""
_line_numbers = count()
REGIONS = {Provider.AWS: "us-east-1", Provider.AZURE: "eastus", Provider.GCP: "us-east4"}


def an_endpoint(provider: Provider = Provider.AWS, **changes: Any) -> Endpoint:
    fields: dict[str, Any] = {
        "id": EndpointId(str(provider)),
        "provider": provider,
        "region": REGIONS[provider],
        "memory_mb": 512,
        "address": f"https://{provider}.example",
    }
    return Endpoint(**(fields | changes))


def three_endpoints() -> tuple[Endpoint, ...]:
    return tuple(an_endpoint(provider) for provider in Provider)


def a_policy(**changes: Any) -> Policy:
    fields: dict[str, Any] = {"version": 1, "idempotent": Idempotent.YES, "exploration": 0.0}
    return Policy(**(fields | changes))


def an_entry(*endpoints: Endpoint, name: str = "word-count", **policy: Any) -> CatalogEntry:
    return CatalogEntry(
        name=FunctionName(name),
        function_type="text",
        endpoints=endpoints or three_endpoints(),
        policy=a_policy(**policy),
    )


def a_snapshot(*entries: CatalogEntry, version: int = 1) -> Snapshot:
    chosen = entries or (an_entry(),)
    return Snapshot(version=version, published_at=NOW, functions={entry.name: entry for entry in chosen})


def a_request(**changes: Any) -> InvocationRequest:
    fields: dict[str, Any] = {
        "invocation_id": InvocationId("00000000-0000-4000-8000-000000000001"),
        "function": FunctionName("word-count"),
        "tenant": TenantId("local"),
        "received_at": NOW,
        "deadline_at": NOW + timedelta(seconds=10),
        "body": b'{"text": "a b a"}',
        "headers": {"content-type": "application/json"},
    }
    return InvocationRequest(**(fields | changes))


def a_spread(p95_ms: float = 150.0, *, cold: float = 0.0) -> Spread:
    """Calls that all take one time, cold or not."""
    return Spread(warm_ms=p95_ms, variation=0.0, cold=cold, start_ms=0.0)


def a_prediction(endpoint: str = "aws", **changes: Any) -> Prediction:
    fields: dict[str, Any] = {
        "endpoint": EndpointId(endpoint),
        "latency_ms": 100.0,
        "cost_usd": 2e-6,
        "success_probability": 0.999,
        "source": PredictionSource.MODEL,
        "features": tuple(0.0 for _ in features.NAMES),
        "raw_latency_ms": 100.0,
    }
    return Prediction(**(fields | changes))


def a_state(endpoint: str = "aws", **changes: Any) -> EndpointState:
    return EndpointState(function=FunctionName("word-count"), endpoint=EndpointId(endpoint), **changes)


def a_feature_row(
    state: EndpointState | None, *, now: datetime = NOW, in_flight: float = 0.0, size: int = 17, **endpoint: Any
) -> tuple[float, ...]:
    return features.snapshot(
        function_type="text",
        endpoint=an_endpoint(**endpoint),
        request_size_bytes=size,
        now=now,
        state=state,
        in_flight=in_flight,
    )


def an_attempt(endpoint: str = "aws", **changes: Any) -> AttemptSummary:
    fields: dict[str, Any] = {
        "endpoint": EndpointId(endpoint),
        "started_at": NOW,
        "latency_ms": 100.0,
        "status": 200,
        "cost_usd": 1e-6,
    }
    return AttemptSummary(**(fields | changes))


def a_request_summary(**changes: Any) -> RequestSummary:
    fields: dict[str, Any] = {
        "function_name": FunctionName("word-count"),
        "tenant": TenantId("local"),
        "request_size_bytes": 17,
    }
    return RequestSummary(**(fields | changes))


def an_open_record(number: int = 1, **changes: Any) -> OpenRecord:
    fields: dict[str, Any] = {
        "invocation_id": invocation_id(number),
        "timestamp": NOW,
        "deadline_at": NOW + timedelta(seconds=28),
    }
    own = {name: changes.pop(name) for name in fields.keys() & changes.keys()}
    return OpenRecord(**(fields | own), request=a_request_summary(**changes))


def a_record(number: int = 1, **changes: Any) -> InvocationRecord:
    """A record that was answered; the changes are told by field, whichever part of the record it stands in."""
    record = InvocationRecord(
        invocation_id=invocation_id(number),
        timestamp=NOW + timedelta(milliseconds=number),
        status=RecordStatus.FINAL,
        request=a_request_summary(),
        decision=DecisionSummary(
            reason=Reason.SCORE,
            features=dict.fromkeys(features.NAMES, 1.0),
            raw_latency_ms=110.0,
            prediction_source="model",
            policy_version=1,
            snapshot_version=1,
            model_version="m1",
            tariff_version="t1",
        ),
        result=ResultSummary(
            response_status=200,
            error_occurred=False,
            response_size_bytes=2,
            endpoint=EndpointId("aws"),
            cloud_provider=Provider.AWS,
            region="us-east-1",
            execution_time_ms=100.0,
            overhead_ms=2.0,
            cost_usd=1e-6,
            cold_start=False,
            prediction_accuracy=0.9,
        ),
        attempts=(an_attempt(),),
    )
    return changed(record, **changes)


def changed(record: InvocationRecord, **changes: Any) -> InvocationRecord:
    """The record with some fields changed, of itself or of its parts: no two have a field of the same name."""
    for part in ("request", "decision", "result"):
        summary = getattr(record, part)
        own = {name: changes.pop(name) for name in type(summary).__slots__ if name in changes}
        changes[part] = replace(changes.get(part, summary), **own)
    return replace(record, **changes)


def a_summary(endpoint: str = "aws", **changes: Any) -> CandidateSummary:
    fields: dict[str, Any] = {
        "endpoint": EndpointId(endpoint),
        "latency_ms": 100.0,
        "cost_usd": 2e-6,
        "success_probability": 0.999,
        "score": 0.9,
        "propensity": 1.0,
    }
    return CandidateSummary(**(fields | changes))


def a_leased_endpoint(provider: Provider = Provider.AWS, **summary: Any) -> LeasedEndpoint:
    return LeasedEndpoint(
        summary=a_summary(str(provider), **summary),
        provider=provider,
        region=REGIONS[provider],
        memory_mb=512,
        features=tuple(0.5 for _ in features.NAMES),
        raw_latency_ms=110.0,
        prediction_source="model",
    )


def a_lease(**changes: Any) -> Lease:
    fields: dict[str, Any] = {
        "id": LeaseId("00000000-0000-4000-8000-00000000000a"),
        "function": FunctionName("word-count"),
        "tenant": TenantId("local"),
        "issued_at": NOW,
        "expires_at": NOW + timedelta(seconds=60),
        "endpoints": (a_leased_endpoint(), a_leased_endpoint(Provider.GCP, propensity=0.0)),
        "others": (a_summary("azure", propensity=0.0),),
        "exclusions": (),
        "reason": Reason.SCORE,
        "request_size_bytes": 17,
        "user_region": None,
        "policy_version": 1,
        "snapshot_version": 1,
        "model_version": "m1",
        "tariff_version": "t1",
    }
    return Lease(**(fields | changes))


def a_spilled_line(record: InvocationRecord | OpenRecord, written_at: datetime) -> SpilledLine:
    """As the orchestrator writes it, with what its logger adds."""
    document = to_document(record) if isinstance(record, InvocationRecord) else open_to_document(record)
    written = spilled_line.written(document, KEYRING)
    text = json.dumps({"level": "ERROR", "message": MARK, MARK: written, "cause": "throttled"})
    return SpilledLine(id=str(next(_line_numbers)), written_at=written_at, text=text)


def states_after(
    calls: int, latency_ms: Mapping[str, float], *, every_s: float = 1.0, **changes: Any
) -> Mapping[EndpointId, EndpointState]:
    """What is folded after so many answers of each provider's endpoint, the last of them just now."""
    folded: dict[EndpointId, EndpointState] = {}
    for number in range(calls):
        at = NOW - timedelta(seconds=every_s * (calls - number))
        for place, (name, usual_ms) in enumerate(latency_ms.items()):
            attempt = an_attempt(name, latency_ms=usual_ms + number % 7, started_at=at)
            record = a_record(
                len(latency_ms) * number + place,
                endpoint=EndpointId(name),
                cloud_provider=Provider(name),
                attempts=(attempt,),
                **changes,
            )
            folded = fold(folded, record)
    return folded


def invocation_id(number: int) -> InvocationId:
    return InvocationId(f"00000000-0000-4000-8000-{number:012d}")


def failing(*failures: ProviderError | FunctionAnswer) -> Callable[..., FunctionAnswer | ProviderError]:
    """Answers calls in order; the last one stands for all that follow."""
    waiting = list(failures)

    def respond(*_: object) -> FunctionAnswer | ProviderError:
        return waiting.pop(0) if len(waiting) > 1 else waiting[0]

    return respond
