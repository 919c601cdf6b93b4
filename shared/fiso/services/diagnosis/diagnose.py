"""Diagnose: whose fault trouble is, for all functions, from records and states that were read already. Pure.

What one copy shows alone may be its provider's doing: where copies of several functions in one region turn bad in the
same time, each against its own siblings, the region is at fault.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta

from fiso.domain.catalog import CatalogEntry
from fiso.domain.endpoint import Endpoint, EndpointId, FunctionName, Provider
from fiso.domain.record import InvocationRecord
from fiso.domain.state import EndpointState
from fiso.routing.equivalence import quarantined
from fiso.services.diagnosis import advice
from fiso.services.diagnosis.cases import Case
from fiso.services.diagnosis.findings import CopyStanding, Diagnosis, Finding, Sureness, severity
from fiso.services.diagnosis.functions import findings_of
from fiso.services.diagnosis.history import Call, figures, histories
from fiso_client.core.conduct import Conduct
from fiso_client.core.failures import Fault

States = Mapping[EndpointId, EndpointState]
TOGETHER = timedelta(minutes=10)
"""How far apart the first bad calls of copies may be that fail for one reason."""


def diagnose(
    entries: Sequence[CatalogEntry], records: Iterable[InvocationRecord], states: Mapping[FunctionName, States]
) -> list[Diagnosis]:
    """One diagnosis per function of the catalog, the worst first."""
    calls = histories(records)
    looked_at = max(1, sum(len(entry.endpoints) for entry in entries))
    cases = [_case(entry, calls.get(entry.name, []), states.get(entry.name, {}), looked_at) for entry in entries]
    found = _by_place({case.entry.name: findings_of(case) for case in cases})
    diagnoses = [_diagnosis(case, found[case.entry.name]) for case in cases]
    return sorted(diagnoses, key=_worst_first)


def _case(entry: CatalogEntry, calls: Sequence[Call], states: States, looked_at: int) -> Case:
    out = frozenset(quarantined(entry, states))
    return Case(entry=entry, calls=calls, states=states, quarantined=out, looked_at=looked_at)


def _by_place(found: Mapping[FunctionName, list[Finding]]) -> dict[FunctionName, list[Finding]]:
    """The same; copies' faults that are their provider's in that region are named as such."""
    places: defaultdict[tuple[Provider, str], list[Finding]] = defaultdict(list)
    for finding in (finding for findings in found.values() for finding in findings):
        if finding.copy is not None and finding.is_sign_of_place:
            places[finding.copy.provider, finding.copy.region].append(finding)
    return {
        name: [_of_place(one, places[one.copy.provider, one.copy.region]) if one.copy else one for one in findings]
        for name, findings in found.items()
    }


def _of_place(finding: Finding, neighbours: Sequence[Finding]) -> Finding:
    """The finding, as the provider's fault where other functions' copies there are at fault in the same time.
    One other is not enough where the functions themselves answer (a 500, an empty or foreign body)."""
    beside = [other for other in neighbours if other.function != finding.function and _overlap(finding, other)]
    if not beside or not finding.is_sign_of_place or finding.copy is None:
        return finding
    names = sorted({other.function for other in beside})
    said = (
        f"{', '.join(names[:3])} fail{'s' if len(names) == 1 else ''} in {finding.copy.provider} {finding.copy.region}"
    )
    is_transports = finding.is_of_transport and any(other.is_of_transport for other in beside)
    if len(names) == 1 and not is_transports:
        return replace(finding, why=f"{finding.why}; {said} as well, perhaps deployed together")
    return replace(
        finding,
        verdict=Fault.PROVIDER,
        # two may have been deployed together, and three may need one secret
        sure=Sureness.CERTAIN if len(names) > 1 and is_transports else Sureness.LIKELY,
        why=f"{said} as well; {finding.why}",
        what_to_do=f"{advice.for_place(finding.copy)} If nothing is said there: {finding.what_to_do}",
    )


def _overlap(one: Finding, other: Finding) -> bool:
    if one.since is None or other.since is None:
        return False
    is_both = (other.until is None or one.since <= other.until) and (one.until is None or other.since <= one.until)
    return is_both and (one.is_since_before or other.is_since_before or abs(one.since - other.since) <= TOGETHER)


def _diagnosis(case: Case, findings: Sequence[Finding]) -> Diagnosis:
    return Diagnosis(
        function=case.entry.name,
        figures=figures(case.calls),
        copies=tuple(_standing(case, endpoint) for endpoint in case.entry.endpoints),
        findings=tuple(sorted(findings, key=severity)),
    )


def _standing(case: Case, endpoint: Endpoint) -> CopyStanding:
    own, conduct = case.of(endpoint.id), case.conduct_of(endpoint.id) or Conduct()
    return CopyStanding(
        endpoint=endpoint,
        figures=figures(own),
        standing="demoted" if conduct.is_convicted else "suspected" if conduct.is_suspected else "well",
        odd_share=conduct.odd / conduct.calls if conduct.calls else None,
        last_at=own[-1].at if own else None,
    )


def _worst_first(diagnosis: Diagnosis) -> tuple[object, ...]:
    if not diagnosis.findings:
        return (2, (), diagnosis.function)
    return (0 if not diagnosis.is_well else 1, severity(diagnosis.findings[0]), diagnosis.function)
