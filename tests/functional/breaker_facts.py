"""Two functions on three clouds, and what tests of breakers say of them."""

from datetime import timedelta

from fiso.domain.catalog import CatalogEntry
from fiso.domain.endpoint import Endpoint
from fiso.services.resilience.breakers import Breakers, Failed
from fiso_client.core.breaker import CLOSED, BreakerState
from fiso_client.core.failures import Failure
from tests.builders import NOW, an_entry, three_endpoints

FIRST, SECOND = an_entry(name="first"), an_entry(name="second")
AWS, AZURE, GCP = three_endpoints()


def middle() -> float:
    return 0.5


def fails(
    breakers: Breakers, entry: CatalogEntry, *endpoints: Endpoint, failure: Failure = Failure.TIMED_OUT, times: int = 1
) -> None:
    for _ in range(times):
        breakers.failed(entry.name, [Failed(endpoint=endpoint, failure=failure) for endpoint in endpoints], NOW)


def state(breakers: Breakers, entry: CatalogEntry, endpoint: Endpoint, at_s: float = 0) -> BreakerState:
    return breakers.of(entry).get(endpoint.id, CLOSED).state(NOW + timedelta(seconds=at_s))
