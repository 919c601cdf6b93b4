"""Inspecting: decisions, endpoints and health as documents for people and machines. Reads only."""

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime

from fiso.billing import tariff
from fiso.codecs.record import instant
from fiso.codecs.typed import Document, Json
from fiso.domain.catalog import CatalogEntry
from fiso.domain.decision import Decision, Prediction, RankedCandidate
from fiso.domain.endpoint import Endpoint, EndpointId, FunctionName
from fiso.domain.state import Compared, EndpointState, LoadLevel
from fiso.prediction import features
from fiso.routing import canaries
from fiso.routing.equivalence import quarantined
from fiso.services.freshness.decision_sources import States, StatesRead
from fiso_client.core.breaker import CLOSED, Breaker
from fiso_client.core.conduct import Conduct


def decision_document(decision: Decision) -> Document:
    """The whole decision: ranking with features, predictions, scores, propensities; exclusions; versions."""
    siblings = sum(candidate.prediction.observations for candidate in decision.ranking)
    return {
        "function": decision.function,
        "decided_at": instant(decision.decided_at),
        "chosen": decision.chosen.endpoint.id,
        "reason": decision.reason.value,
        "latency_measure": decision.latency_measure.value,
        "ranking": [_candidate_document(candidate, siblings) for candidate in decision.ranking],
        "exclusions": [{"endpoint": e.endpoint, "code": e.code, "detail": e.detail} for e in decision.exclusions],
        "notes": [{"code": note.code, "detail": note.detail} for note in decision.notes],
        "policy_version": decision.policy_version,
        "snapshot_version": decision.snapshot_version,
        "model_version": decision.model_version,
        "tariff_version": decision.tariff_version,
    }


def endpoint_documents(
    entries: Iterable[CatalogEntry],
    reads: Mapping[FunctionName, StatesRead],
    breakers_of: Callable[[CatalogEntry, States], Mapping[EndpointId, Breaker]],
    now: datetime,
) -> list[Json]:
    """One document per endpoint of each entry.

    `breaker` is what holds for this execution environment, with what it heard of others. `state_age_s` is how old the
    row is; None, and nothing said of calls, where its state could not be read.
    """
    documents: list[Json] = []
    for entry in entries:
        read = reads[entry.name]
        breakers, out = breakers_of(entry, read.states), quarantined(entry, read.states)
        for endpoint in entry.endpoints:
            document = _endpoint_document(entry, endpoint, breakers.get(endpoint.id, CLOSED), now)
            document |= _read_document(read, endpoint) | {"is_quarantined": endpoint.id in out}
            documents.append(document | _canary_document(entry, endpoint, read, now))
    return documents


def _candidate_document(candidate: RankedCandidate, siblings: float) -> Document:
    prediction, endpoint = candidate.prediction, candidate.endpoint
    return {
        "endpoint": endpoint.id,
        "provider": endpoint.provider.value,
        "region": endpoint.region,
        "memory_mb": endpoint.memory_mb,
        **_price_document(endpoint),
        "score": candidate.score.value,
        "terms": dict(candidate.score.terms),
        "propensity": candidate.propensity,
        "is_demoted": candidate.is_deprioritised,
        "prediction": {
            "source": prediction.source.value,
            "latency_ms": prediction.latency_ms,
            "raw_latency_ms": prediction.raw_latency_ms,
            "cost_usd": prediction.cost_usd,
            "transfer_usd": prediction.transfer_usd,
            "model_cost_usd": prediction.model_cost_usd,
            "success_probability": prediction.success_probability,
            "compared_ms": prediction.compared_ms,
            "compared_p95_ms": prediction.compared_p95_ms,
            "p50_ms": prediction.p50_ms,
            "p95_ms": prediction.p95_ms,
            "deviation": prediction.deviation,
            "observations": prediction.observations,
            "known_by": known_by(prediction, siblings),
            "cold_probability": prediction.cold_probability,
        },
        "features": dict(zip(features.NAMES, prediction.features, strict=True)),
    }


def known_by(prediction: Prediction, siblings: float) -> str:
    """What it rests on, in a sentence."""
    calls = round(prediction.observations)
    if prediction.is_new:
        source = f"{round(siblings)} calls of its siblings" if siblings else "what is published of its cloud"
        return f"never called at this load; expected from {source}"
    return f"seen: {calls} calls at this load" if calls else "seen at other loads only"


def _price_document(endpoint: Endpoint) -> Document:
    """What it is sold under, and whether its price is that of its region's neighbours."""
    rate = tariff.current().rate(endpoint)
    return {"plan": endpoint.sold_as.value, "is_price_estimated": rate is not None and rate.is_estimated}


def _read_document(read: StatesRead, endpoint: Endpoint) -> Document:
    if read.age_s is None:
        return {"state_age_s": None}
    state = read.states.get(endpoint.id)
    seen: Document = _state_document(state, endpoint) if state else {"attempts": 0}
    return {"state_age_s": round(read.age_s, 1), **seen}


def _endpoint_document(entry: CatalogEntry, endpoint: Endpoint, breaker: Breaker, now: datetime) -> Document:
    policy, pin = entry.policy, entry.policy.pin
    return {
        "function": entry.name,
        "endpoint": endpoint.id,
        "provider": endpoint.provider.value,
        "region": endpoint.region,
        "memory_mb": endpoint.memory_mb,
        **_price_document(endpoint),
        "mode": policy.mode.value,
        "idempotent": policy.idempotent.value,
        "is_pinned": policy.pinned == endpoint.id,
        "pin": {"by": pin.by, "at": instant(pin.at), "reason": pin.reason, "until": _maybe_instant(pin.until)}
        if pin and policy.pinned == endpoint.id
        else None,
        "breaker": breaker.state(now).value,
        "breaker_opened_until": _maybe_instant(breaker.opened_until),
        "breaker_cause": breaker.cause or None,
        "returning_share": round(breaker.share(now), 3) if breaker.share(now) < 1 else None,
        "capped_per_s": round(breaker.cap.current_per_s(now), 2)
        if breaker.cap and not breaker.cap.is_over(now)
        else None,
    }


def _canary_document(entry: CatalogEntry, endpoint: Endpoint, read: StatesRead, now: datetime) -> Document:
    """Of a canary: its step and share of requests, what was counted, and why it was stopped if it was."""
    canary = entry.policy.canary
    if canary is None or canary.endpoint != endpoint.id:
        return {}
    state = read.states.get(endpoint.id)
    known = state.canary if state and state.canary and state.canary.run == canary.run else None
    stands = canaries.standing(canary, known, now)
    told: Document = {
        "release": canary.release,
        "step": stands.draw.step + 1 if stands else None,
        "share": stands.share if stands else None,
        "has_passed": stands is None,
        "requests": known.errors.n_a if known else 0,
        "errors": known.errors.odd_a if known else 0,
        "others_requests": known.errors.n_b if known else 0,
        "others_errors": known.errors.odd_b if known else 0,
        "stopped_at": _maybe_instant(known.stopped_at) if known else None,
        "why": known.why or None if known else None,
    }
    return {"canary": told}


def _state_document(state: EndpointState, endpoint: Endpoint) -> Document:
    return {
        "attempts": state.attempts,
        "failures": state.failures,
        "failovers_from": state.failovers_from,
        "error_rate": round(state.error_rate, 4),
        "consecutive_failures": state.consecutive_failures,
        "latency_ms": state.latency_ms,
        "latency_deviation_ms": state.latency_deviation_ms,
        "in_flight": round(state.in_flight, 3),
        "load_factor": round(state.in_flight / endpoint.concurrency_limit, 4),
        "cold_share": state.cold_starts / state.cold_known if state.cold_known else None,
        "cost_usd": state.cost_usd,
        "levels": {str(2**bucket): _level_document(level) for bucket, level in sorted(state.levels.items())},
        "folded": state.folded,
        "last_called_at": _maybe_instant(state.last_called_at),
        "last_failed_at": _maybe_instant(state.last_failed_at),
        "last_failure": state.last_failure or None,
        "equivalence": _compared_document(state.equivalence) if state.equivalence else None,
        **_conduct_document(state.conduct),
    }


def _compared_document(found: Compared) -> Document:
    """How its answers compared with its siblings', since a version of the policy."""
    return {
        "policy_version": found.policy_version,
        "compared": found.compared,
        "differed": found.differed,
        "disputed": found.disputed,
        "first_id": found.first_id or None,
        "first_place": found.first_place or None,
        "first_at": _maybe_instant(found.first_at),
    }


def _conduct_document(conduct: Conduct | None) -> Document:
    """How its answers compare with its siblings'."""
    if conduct is None:
        return {"standing": "well"}
    standing = "demoted" if conduct.is_convicted else "suspected" if conduct.is_suspected else "well"
    return {
        "standing": standing,
        "standing_since": _maybe_instant(conduct.last_odd_at) if conduct.is_suspected else None,
        "oddity": conduct.oddity or None,
        "odd_share": round(conduct.odd / conduct.calls, 4) if conduct.calls else None,
        "usual_body": conduct.shape or None,
    }


def _level_document(level: LoadLevel) -> Document:
    """One level of load, under the requests in flight it begins at."""
    return {
        "answers": level.answers,
        "warm": level.warm,
        "latency_ms": level.latency_ms or None,
        "cost_usd": level.cost_usd,
        "cold_share": round(level.cold_share, 4),
        "changed_at": _maybe_instant(level.changed_at),
    }


def _maybe_instant(moment: datetime | None) -> str | None:
    return instant(moment) if moment else None
