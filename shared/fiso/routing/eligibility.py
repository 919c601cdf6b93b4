"""Eligibility: which endpoints may serve a request under a policy, and why each other one may not."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from fiso.domain.catalog import CatalogEntry
from fiso.domain.decision import Exclusion
from fiso.domain.endpoint import Endpoint
from fiso.domain.policy import Mode, Policy


@dataclass(frozen=True, slots=True, kw_only=True)
class Eligibility:
    """The candidates, in catalog order, and every endpoint left out with its reason."""

    candidates: tuple[Endpoint, ...]
    exclusions: tuple[Exclusion, ...]


def eligible(entry: CatalogEntry) -> Eligibility:
    """Split a function's endpoints into candidates and exclusions. Each exclusion names the first rule that applies."""
    candidates: list[Endpoint] = []
    exclusions: list[Exclusion] = []
    for endpoint in entry.endpoints:
        broken = _refusal(endpoint, entry) or next(_broken_rules(endpoint, entry.policy), None)
        if broken is None:
            candidates.append(endpoint)
        else:
            exclusions.append(broken)
    return Eligibility(candidates=tuple(candidates), exclusions=tuple(exclusions))


def _refusal(endpoint: Endpoint, entry: CatalogEntry) -> Exclusion | None:
    why = entry.refused.get(endpoint.id)
    return None if why is None else Exclusion(endpoint=endpoint.id, code="address_refused", detail=why)


def _broken_rules(endpoint: Endpoint, policy: Policy) -> Iterator[Exclusion]:
    provider, region = endpoint.provider, endpoint.region

    def out(code: str, detail: str) -> Exclusion:
        return Exclusion(endpoint=endpoint.id, code=code, detail=detail)

    if policy.residency and region not in policy.residency:
        yield out("residency", f"region {region} is outside the residency {_listed(policy.residency)}")
    if provider in policy.denied_providers:
        yield out("provider_denied", f"provider {provider} is denied")
    if policy.allowed_providers and provider not in policy.allowed_providers:
        yield out("provider_not_allowed", f"provider {provider} is not among {_listed(policy.allowed_providers)}")
    if region in policy.denied_regions:
        yield out("region_denied", f"region {region} is denied")
    if policy.allowed_regions and region not in policy.allowed_regions:
        yield out("region_not_allowed", f"region {region} is not among {_listed(policy.allowed_regions)}")
    if policy.mode is Mode.PIN and endpoint.id != policy.pinned:
        yield out("not_pinned", f"traffic is pinned to {policy.pinned}")


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names))
