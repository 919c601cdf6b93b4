"""Region affinity: how well a provider suits the region that a user is in. The brief's table, nothing else."""

from collections.abc import Mapping

from fiso.domain.endpoint import Provider

DEFAULT_USER_REGION = "us-east-1"
UNLISTED = 0.5

AFFINITY: Mapping[str, Mapping[Provider, float]] = {
    "us-east-1": {Provider.AWS: 1.0, Provider.AZURE: 0.8, Provider.GCP: 0.7},
    "us-west-2": {Provider.GCP: 1.0, Provider.AWS: 0.9, Provider.AZURE: 0.7},
    "eu-west-1": {Provider.AZURE: 1.0, Provider.AWS: 0.8, Provider.GCP: 0.8},
}


def affinity(provider: Provider, user_region: str | None) -> float:
    """In [0, 1]. A request that names no region counts as from us-east-1; an unlisted region gives 0.5 to all."""
    return AFFINITY.get(user_region or DEFAULT_USER_REGION, {}).get(provider, UNLISTED)
