"""Cases: what is looked at of one function, and how a finding is made of a stretch of its calls. Pure."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fiso.domain.catalog import CatalogEntry
from fiso.domain.endpoint import Endpoint, EndpointId
from fiso.domain.request import TenantId
from fiso.domain.state import EndpointState
from fiso.services.diagnosis.chance import Stretch, base_rate, of_bad
from fiso.services.diagnosis.findings import Finding, Sureness, what_shows
from fiso.services.diagnosis.history import Call, by_copy, figures
from fiso_client.core.conduct import Conduct
from fiso_client.core.failures import Fault

EXPECTED = base_rate(0, 0)
"""The share of bad calls that nobody wonders about."""
SEVERAL = 3
"""So many bad calls of a copy, at least, make it one of several that do alike."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One function's calls in their order, with what stands in the catalog and the states. `looked_at` is how many
    copies are looked at altogether: the more, the rarer a chance has to be."""

    entry: CatalogEntry
    calls: Sequence[Call]
    states: Mapping[EndpointId, EndpointState]
    quarantined: frozenset[EndpointId]
    looked_at: int

    @property
    def copies(self) -> Mapping[EndpointId, Endpoint]:
        return {endpoint.id: endpoint for endpoint in self.entry.endpoints}

    def of(self, copy: EndpointId) -> list[Call]:
        return [call for call in self.calls if call.endpoint == copy]

    def conduct_of(self, copy: EndpointId) -> Conduct | None:
        state = self.states.get(copy)
        return state.conduct if state else None

    def badness(self, stretch: Stretch, rate: float) -> float:
        """How likely so many bad calls are where nothing is wrong."""
        return min(1.0, of_bad(stretch.bad, stretch.calls, rate) * stretch.choices * self.looked_at)


def finding_of(  # noqa: PLR0913 - a finding has so many sides
    case: Case,
    copy: Endpoint | None,
    row: Sequence[Call],
    stretch: Stretch,
    bad: Sequence[Call],
    *,
    verdict: Fault,
    sure: Sureness,
    chance: float | None,
    why: str,
    what_to_do: str,
    tenant: TenantId | None = None,
) -> Finding:
    since, last = row[stretch.first].at, row[stretch.last].at
    until = last if stretch.is_over else None
    siblings_until = row[stretch.last + 1].at if until and stretch.last + 1 < len(row) else None
    within = [c for c in case.calls if since <= c.at and (siblings_until is None or c.at < siblings_until)]
    told = bad[-1]
    return Finding(
        function=case.entry.name,
        copy=copy,
        verdict=verdict,
        sure=sure,
        what=what_of(bad),
        why=why,
        what_to_do=what_to_do,
        chance=chance,
        since=since,
        is_since_before=not any(call.oddity is None for call in row[: stretch.first]),
        until=until,
        calls=stretch.calls,
        bad=stretch.bad,
        figures={id: figures(calls) for id, calls in by_copy(within, case.copies).items()},
        example=told.invocation_id,
        evidence=what_shows(told),
        tenant=tenant,
        is_of_transport=2 * sum(call.failure is not None for call in bad) > len(bad),
    )


def usual_verdict(bad: Sequence[Call]) -> Fault:
    counts = Counter(call.told_by_itself for call in bad if call.told_by_itself is not None)
    return counts.most_common(1)[0][0] if counts else Fault.FUNCTION


def what_of(bad: Sequence[Call]) -> str:
    counts = Counter(call.oddity for call in bad if call.oddity is not None)
    return counts.most_common(1)[0][0] if counts else ""


def is_within(call: Call, finding: Finding) -> bool:
    return (
        finding.since is not None and finding.since <= call.at and (finding.until is None or call.at <= finding.until)
    )
