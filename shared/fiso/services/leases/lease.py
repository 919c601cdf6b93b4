"""Leasing: a decision as a lease that a client can act on by itself. Nothing is invoked, nothing logged.

what is known -> decide -> lease -> token
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from fiso.codecs.lease_token import Keyring, seal, unseal
from fiso.codecs.record import instant
from fiso.codecs.typed import Document
from fiso.domain.decision import Decision, RankedCandidate
from fiso.domain.errors import LeaseRefused, LeasingNotSetUp
from fiso.domain.lease import LIFETIME, Lease, LeasedEndpoint, LeaseId
from fiso.domain.policy import FailOverOn, Policy
from fiso.domain.record import loggable
from fiso.domain.request import InvocationRequest
from fiso.services.freshness.cached import CachedValue, StoreWaitBudget
from fiso.services.request.decide import decide
from fiso.services.request.orchestrate import Orchestrator, within
from fiso.services.request.recording import candidate_summary
from fiso.services.resilience.dispatch import attempt_timeout_ms

KEYS_STALE_S = 300.0
"""A key that was taken away still verifies for about this long; one that was added is looked for when it is met."""
_MILLISECOND = timedelta(milliseconds=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Granted:
    """A lease, its token, and what the client needs beside it. `decision` and `policy` are what it came from."""

    lease: Lease
    token: str
    decision: Decision
    policy: Policy


@dataclass(frozen=True, slots=True, kw_only=True)
class Keys:
    """The keys that sign leases, as known here."""

    cached: CachedValue[Keyring]
    budget: StoreWaitBudget
    missing: str
    """What to set when there are none."""

    def ring(self) -> Keyring:
        """The keys. `LeasingNotSetUp` while none could be read."""
        self.budget.renew()
        ring = self.cached.get_or_wait()
        if ring is None:
            raise LeasingNotSetUp(self.missing)
        return ring

    def open(self, token: str) -> Lease:
        """The lease in a token; a key that is not known may be new, so the keys are read once more for it."""
        try:
            return unseal(token, self.ring())
        except LeaseRefused as refused:
            if refused.code != "unknown_key":
                raise
        self.cached.refresh_in_background()
        self.budget.await_pending()
        return unseal(token, self.ring())


def grant(request: InvocationRequest, orchestrator: Orchestrator, keys: Keys, *, new_id: Callable[[], UUID]) -> Granted:
    """Decide for a request like `route` does, and lease the decision instead of acting on it.

    Raises what deciding raises, `LeasingNotSetUp` and `LeaseTooLarge`.
    """
    ring = keys.ring()
    inputs = orchestrator.inputs(request)
    decision = decide(within(inputs, request), inputs, now=request.received_at, draw=orchestrator.draw())
    policy = inputs.entry.policy
    lease = lease_of(request, decision, policy, LeaseId(str(new_id())))
    return Granted(lease=lease, token=seal(lease, ring), decision=decision, policy=policy)


def lease_of(request: InvocationRequest, decision: Decision, policy: Policy, id: LeaseId) -> Lease:
    """A decision with a term. As many endpoints may be called as FISO itself would try. The predictions' features must
    be this very request's own: they are what its record will say the model saw."""
    # Tokens carry whole milliseconds: the lease must equal itself when it comes back in a report.
    issued_at = decision.decided_at - timedelta(microseconds=decision.decided_at.microsecond % 1000)
    tries = decision.ranking[: policy.max_attempts]
    return Lease(
        id=id,
        function=decision.function,
        tenant=request.tenant,
        issued_at=issued_at,
        expires_at=issued_at + LIFETIME,
        endpoints=tuple(_leased(candidate) for candidate in tries),
        others=tuple(candidate_summary(candidate) for candidate in decision.ranking[len(tries) :]),
        exclusions=loggable(decision.exclusions),
        reason=decision.reason,
        request_size_bytes=len(request.body),
        user_region=request.user_region,
        policy_version=decision.policy_version,
        snapshot_version=decision.snapshot_version,
        model_version=decision.model_version,
        tariff_version=decision.tariff_version,
    )


def lease_document(granted: Granted) -> Document:
    """What a client gets: where to call, in which order, how long to wait, until when, and the token to report with."""
    lease, decision = granted.lease, granted.decision
    return {
        "lease_id": lease.id,
        "function": lease.function,
        "tenant": lease.tenant,
        "issued_at": instant(lease.issued_at),
        "expires_at": instant(lease.expires_at),
        "expires_in_ms": (lease.expires_at - lease.issued_at) // _MILLISECOND,
        "outage_ms": granted.policy.lease_outage_s * 1000,
        "reported_until": instant(lease.reported_until),
        "reason": lease.reason.value,
        "idempotent": granted.policy.idempotent.value,
        "repeats_safe_methods": granted.policy.repeats_safe_methods,
        "timeout_ms": granted.policy.timeout_ms,
        "fail_over_on": [on.value for on in FailOverOn if on in granted.policy.fail_over_on],
        "endpoints": [_endpoint_document(candidate) for candidate in decision.ranking[: len(lease.endpoints)]],
        "policy_version": lease.policy_version,
        "snapshot_version": lease.snapshot_version,
        "model_version": lease.model_version,
        "tariff_version": lease.tariff_version,
        "token": granted.token,
    }


def _leased(candidate: RankedCandidate) -> LeasedEndpoint:
    endpoint, prediction = candidate.endpoint, candidate.prediction
    return LeasedEndpoint(
        summary=candidate_summary(candidate),
        provider=endpoint.provider,
        region=endpoint.region,
        memory_mb=endpoint.memory_mb,
        features=prediction.features,
        raw_latency_ms=prediction.raw_latency_ms,
        prediction_source=prediction.source.value,
    )


def _endpoint_document(candidate: RankedCandidate) -> Document:
    endpoint, prediction = candidate.endpoint, candidate.prediction
    return {
        "id": endpoint.id,
        "provider": endpoint.provider.value,
        "region": endpoint.region,
        "memory_mb": endpoint.memory_mb,
        "address": endpoint.address,
        "path": endpoint.path,
        "payload": endpoint.payload.value,
        "authentication": endpoint.authentication.value,
        "secret_ref": endpoint.secret_ref,
        "propensity": candidate.propensity,
        "is_demoted": candidate.is_deprioritised,
        "latency_ms": prediction.latency_ms,
        "p50_ms": prediction.p50_ms,
        "p95_ms": prediction.p95_ms,
        "cost_usd": prediction.cost_usd,
        "success_probability": prediction.success_probability,
        "patience_ms": attempt_timeout_ms(candidate),
    }
