"""Usage: what the log says that calls cost, per copy and hour, in requests and in computing."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple

from fiso.billing import tariff
from fiso.billing.tariff import Rate, Tariff
from fiso.domain.endpoint import LARGEST_MEMORY_MB, Endpoint, EndpointId, FunctionName
from fiso.domain.record import InvocationRecord
from fiso.domain.terms import Terms
from fiso_client.core.failures import NEVER_RAN
from fiso_client.core.grammar import is_region

HOUR_S, DAY_S = 3_600, 86_400
USUAL_MB = 128


class Copy(NamedTuple):
    """A function's copy: an endpoint's id is one within its function only."""

    function: FunctionName
    endpoint: EndpointId


@dataclass(slots=True)
class Use:
    """One copy in one hour. `unpriced` calls have no price in the log, and are in no sum."""

    calls: int = 0
    requests: Decimal = Decimal(0)
    compute: Decimal = Decimal(0)
    unpriced: int = 0

    @property
    def usd(self) -> Decimal:
        return self.requests + self.compute


@dataclass(slots=True)
class Usage:
    """All of a log. Hours are counted from 1970, UTC. `endpoints` begins as the catalog's; what the log tells of a copy
    that the catalog does not have, or no longer, is added to it."""

    endpoints: dict[Copy, Endpoint]
    terms: Mapping[Copy, Terms | None] = field(default_factory=dict)
    since: datetime | None = None
    tariff: Tariff = field(default_factory=tariff.current)
    by_copy: dict[Copy, dict[int, Use]] = field(default_factory=dict)
    _requests: dict[Copy, Decimal] = field(default_factory=dict)

    def watching(self, records: Iterable[InvocationRecord]) -> Iterator[InvocationRecord]:
        """The same records, each added on its way."""
        for record in records:
            self.add(record)
            yield record

    def add(self, record: InvocationRecord) -> None:
        function = record.request.function_name
        self._learn(function, record)
        for attempt in record.attempts:
            if attempt.cost_usd or attempt.failure not in NEVER_RAN:
                hour = int(attempt.started_at.timestamp()) // HOUR_S
                self._count(Copy(function, attempt.endpoint), hour, attempt.cost_usd)
        shadow = record.shadow
        if shadow is not None and shadow.cost_usd is not None:
            called = [shadow.endpoint] if shadow.third is None else [shadow.endpoint, shadow.third]
            for endpoint in called:
                hour = int(record.timestamp.timestamp()) // HOUR_S
                self._count(Copy(function, endpoint), hour, shadow.cost_usd / len(called))

    def _learn(self, function: FunctionName, record: InvocationRecord) -> None:
        """By the request that a copy ended: where it is, and its size. It is taken to be called like its function."""
        result = record.result
        if result.endpoint is None or result.cloud_provider is None or not is_region(result.region or ""):
            return
        copy = Copy(function, result.endpoint)
        if copy not in self.endpoints:
            size = int(record.decision.features.get("memory_mb", 0.0)) or USUAL_MB
            self.endpoints[copy] = Endpoint(
                id=result.endpoint,
                provider=result.cloud_provider,
                region=str(result.region),
                memory_mb=min(size, LARGEST_MEMORY_MB),
                address=function,
            )

    def _count(self, copy: Copy, hour: int, cost_usd: float | None) -> None:
        use = self.by_copy.setdefault(copy, {}).setdefault(hour, Use())
        use.calls += 1
        if cost_usd is None:
            use.unpriced += 1
            return
        cost = Decimal(repr(cost_usd))
        requests = min(cost, self._request_usd(copy))
        use.requests += requests
        use.compute += cost - requests

    def rate(self, copy: Copy) -> Rate | None:
        """At its function's own terms; None for a copy that the catalog or the price list does not know."""
        endpoint = self.endpoints.get(copy)
        return None if endpoint is None else self.tariff.under(self.terms.get(copy)).rate(endpoint)

    def _request_usd(self, copy: Copy) -> Decimal:
        if copy not in self._requests:
            rate = self.rate(copy)
            self._requests[copy] = Decimal(0) if rate is None else exact(rate.request_usd)
        return self._requests[copy]

    @property
    def span(self) -> tuple[int, int] | None:
        """What time the log is of, in seconds since 1970: `since` to the end of the last call's day (UTC), or from the
        beginning of the first call's where nothing says since when. None without a call."""
        hours = [hour for uses in self.by_copy.values() for hour in uses]
        if not hours:
            return None
        first, last = min(hours) * HOUR_S // DAY_S, max(hours) * HOUR_S // DAY_S
        start = first * DAY_S if self.since is None else int(self.since.timestamp())
        return min(start, min(hours) * HOUR_S), (last + 1) * DAY_S


def exact(usd: float) -> Decimal:
    """A price as it is written; what floats add to it is cut off."""
    return Decimal(f"{usd:.12g}")
