"""Rescoring: what a new policy would have called first in a logged situation, by the routing code itself. Pure."""

from fiso.domain.catalog import CatalogEntry
from fiso.domain.decision import Prediction, PredictionSource, Spread
from fiso.domain.endpoint import EndpointId
from fiso.domain.policy import Mode
from fiso.domain.record import CandidateSummary, InvocationRecord
from fiso.domain.request import InvocationRequest
from fiso.learning.ope import Probabilities
from fiso.routing import constraints, selection
from fiso.services.request.decide import ranking_of


def probabilities(entry: CatalogEntry, record: InvocationRecord) -> Probabilities:
    """The probability with which the entry's policy would have called each endpoint first; they sum to 1.

    How sure predictions were is not logged, so nothing is worth a try for knowledge: the policy's best candidate and
    its inverse-gap share remain. An eligible endpoint that was no candidate has no logged prediction; what the policy
    would have made of it is unknown, and all of the probability is put there, where no log can answer for it. An open
    breaker stays open under any policy, as in `services.decide`: only if all are open does it not matter.
    """
    policy, eligible = entry.policy, constraints.eligible(entry).candidates
    if policy.mode is Mode.OBSERVE and policy.home in {endpoint.id for endpoint in eligible}:
        eligible = tuple(endpoint for endpoint in eligible if endpoint.id == policy.home)
    logged = {candidate.endpoint: candidate for candidate in record.decision.candidates}
    unknown = [endpoint.id for endpoint in eligible if endpoint.id not in logged]
    if unknown:
        return dict.fromkeys(unknown, 1 / len(unknown))
    deprioritised = behind_open_breakers(record)
    predictions = [_prediction(logged[endpoint.id]) for endpoint in eligible]
    ranking = ranking_of(_request(record), entry, predictions, now=record.timestamp, deprioritised=deprioritised)
    chances = selection.propensities(ranking.primary, exploration=policy.exploration, seen=0.0)
    return {score.endpoint: chance for score, chance in zip(ranking.primary, chances, strict=True)}


def behind_open_breakers(record: InvocationRecord) -> frozenset[EndpointId]:
    """The candidates whose breaker was open, as far as a record tells.

    Where several candidates could have been called first, inverse-gap weighting left nobody with a score at 0; who has
    a propensity of 0 there was deprioritised. Where only one could, it may have been the policy's choice: nobody is
    named.
    """
    if sum(candidate.propensity > 0 for candidate in record.decision.candidates) < 2:
        return frozenset()
    return frozenset(c.endpoint for c in record.decision.candidates if c.propensity == 0 and c.score > 0)


def _request(record: InvocationRecord) -> InvocationRequest:
    """As much of the request as a policy looks at."""
    return InvocationRequest(
        invocation_id=record.invocation_id,
        function=record.request.function_name,
        tenant=record.request.tenant,
        received_at=record.timestamp,
        deadline_at=record.timestamp,
        body=bytes(record.request.request_size_bytes),
        user_region=record.decision.user_region,
    )


def _prediction(logged: CandidateSummary) -> Prediction:
    """As much of the prediction as is logged. What the trained cost target said is not: the tariff's cost stands."""
    return Prediction(
        endpoint=logged.endpoint,
        latency_ms=logged.latency_ms,
        cost_usd=logged.cost_usd,
        success_probability=logged.success_probability,
        source=PredictionSource.MODEL,
        features=(),
        raw_latency_ms=logged.latency_ms,
        compared_ms=logged.compared_ms,
        spread=None if logged.p95_ms is None else Spread.through(logged.latency_ms, logged.p95_ms),
    )
