"""Functions: what is wrong with one, copy by copy, and then what several copies do alike. Pure."""

from collections import Counter
from collections.abc import Sequence

from fiso.domain.endpoint import EndpointId
from fiso.domain.request import TenantId
from fiso.services.diagnosis import advice
from fiso.services.diagnosis.cases import EXPECTED, SEVERAL, Case, finding_of, is_within, usual_verdict, what_of
from fiso.services.diagnosis.chance import of_split, worst_stretch
from fiso.services.diagnosis.copies import differing, of_copy
from fiso.services.diagnosis.findings import LIKELY, Finding, Sureness
from fiso.services.diagnosis.history import Call, by_copy
from fiso_client.core.failures import Fault


def findings_of(case: Case) -> list[Finding]:
    """What is wrong with a function, copy by copy, and then with what several copies do alike."""
    found: dict[EndpointId, Finding] = {}
    for id, copy in case.copies.items():
        finding = of_copy(case, copy)
        if finding is not None:
            found[id] = finding
    told = [*found.values(), *differing(case)]
    left = [call for call in case.calls if call.endpoint not in found or not is_within(call, found[call.endpoint])]
    alike = _alike(case, left)
    return [*told, *([alike] if alike else [])]


def _alike(case: Case, left: Sequence[Call]) -> Finding | None:
    """Bad calls that no copy's own fault explains: the function's, or its callers'."""
    row = [call.is_bad for call in left]
    stretch = worst_stretch(row, EXPECTED)
    if stretch is None or case.badness(stretch, EXPECTED) > LIKELY:
        return None
    within = left[stretch.first : stretch.last + 1]
    bad = [call for call in within if call.is_bad]
    verdict, tenant = usual_verdict(bad), _tenant_of(within)
    copies = by_copy(within)
    several = [id for id, calls in copies.items() if sum(call.is_bad for call in calls) >= SEVERAL]
    if verdict in (Fault.COPY, Fault.PROVIDER) and len(copies) > 1:
        verdict = Fault.FUNCTION
    if len(several) > 1 or (tenant is not None and verdict is Fault.CALLER):
        sure, why = Sureness.CERTAIN, f"{len(several)} copies answer alike"
    elif len(copies) > 1 or verdict is Fault.CALLER:
        sure, why = Sureness.LIKELY, "the few calls of its siblings went no better"
    else:
        sure, why = Sureness.LIKELY, "only one copy was called: nobody to tell the copy's fault from the function's"
    if tenant is not None:
        why = f"all of it is tenant {tenant}'s; others' calls do well"
    return finding_of(
        case,
        None,
        left,
        stretch,
        bad,
        verdict=verdict,
        sure=sure,
        chance=None,
        why=why,
        what_to_do=advice.for_verdict(verdict, None, what_of(bad), tenant),
        tenant=tenant,
    )


def _tenant_of(calls: Sequence[Call]) -> TenantId | None:
    """The one tenant whose calls are bad, where others' are not beyond chance."""
    (tenant, count), *_ = Counter(call.tenant for call in calls if call.is_bad).most_common(1)
    own = [call for call in calls if call.tenant == tenant]
    bad = sum(call.is_bad for call in calls)
    if len(own) == len(calls) or count < 0.8 * bad:
        return None
    chance = of_split(count, len(own), bad - count, len(calls) - len(own))
    return tenant if chance <= LIKELY else None
