"""Findings: one trouble each, with whose fault it is, since when, how sure that is, and what shows it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from fiso.domain.endpoint import Endpoint, EndpointId, FunctionName
from fiso.domain.request import InvocationId, TenantId
from fiso.services.diagnosis.history import Call, Figures
from fiso_client.core.failures import Fault

CERTAIN, LIKELY = 1e-6, 1e-3
"""By chance alone, over everything that was looked at, at most so often."""


class Sureness(StrEnum):
    """How sure a verdict is: by chance alone at most once in a million, or in a thousand times; or too few calls."""

    CERTAIN = "certain"
    LIKELY = "likely"
    UNSURE = "not enough calls"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One trouble of a function: of one copy, or of all that were called (`copy` None).

    `what` is what its calls came to, in a few words; `chance` how likely so many bad calls beside the siblings' would
    be without any fault, None where the answers say it themselves. `since` is its first bad call; `is_since_before`
    when there was no good one before it, so that it may be older. `until` is None while it goes on. `figures` are all
    copies' in that time. `example` is the latest bad call. `is_of_transport`: most bad calls ended
    without an answer of the function's own.
    """

    function: FunctionName
    copy: Endpoint | None
    verdict: Fault
    sure: Sureness
    what: str
    why: str
    what_to_do: str
    chance: float | None = None
    since: datetime | None = None
    is_since_before: bool = False
    until: datetime | None = None
    calls: int = 0
    bad: int = 0
    figures: Mapping[EndpointId, Figures] = field(default_factory=dict)
    example: InvocationId | None = None
    evidence: str = ""
    tenant: TenantId | None = None
    is_of_transport: bool = False

    @property
    def is_sign_of_place(self) -> bool:
        """Whether it was found by its siblings: what a provider's trouble looks like from one function alone."""
        return self.verdict is Fault.COPY and self.chance is not None

    @property
    def is_wrong(self) -> bool:
        """Something to mend now: it goes on, and is no caller's own doing."""
        return self.until is None and self.verdict is not Fault.CALLER and self.sure is not Sureness.UNSURE


@dataclass(frozen=True, slots=True, kw_only=True)
class CopyStanding:
    """One copy of a function at a glance: what the records and the folded state say of it."""

    endpoint: Endpoint
    figures: Figures
    standing: str = "well"
    odd_share: float | None = None
    last_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """One function's. `findings` come worst first."""

    function: FunctionName
    figures: Figures
    copies: tuple[CopyStanding, ...]
    findings: tuple[Finding, ...]

    @property
    def is_well(self) -> bool:
        return not any(finding.is_wrong for finding in self.findings)


def sureness(chance: float) -> Sureness:
    if chance <= CERTAIN:
        return Sureness.CERTAIN
    return Sureness.LIKELY if chance <= LIKELY else Sureness.UNSURE


def severity(finding: Finding) -> tuple[bool, bool, int, int]:
    """Sorts the worst first."""
    order = list(Sureness)
    return not finding.is_wrong, finding.until is not None, order.index(finding.sure), -finding.bad


def what_shows(call: Call) -> str:
    """What one bad call's record says, in its own words where it has some."""
    return call.evidence or call.oddity or ""
