"""Documents: a diagnosis for machines, as the console's API answers it and the command prints it."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from fiso.codecs.record import instant
from fiso.codecs.typed import Document, Json
from fiso.domain.endpoint import EndpointId
from fiso.services.diagnosis.findings import CopyStanding, Diagnosis, Finding
from fiso.services.diagnosis.history import Figures


def diagnosis_document(
    diagnoses: Sequence[Diagnosis], *, since: datetime, now: datetime, records: int, is_cut: bool
) -> Document:
    """All functions, the worst first. `is_cut`: there were more records in that time than were read."""
    return {
        "since": instant(since),
        "read_at": instant(now),
        "records": records,
        "is_cut": is_cut,
        "is_well": all(diagnosis.is_well for diagnosis in diagnoses),
        "functions": [_function(diagnosis) for diagnosis in diagnoses],
    }


def _function(diagnosis: Diagnosis) -> Json:
    return {
        "function": diagnosis.function,
        "is_well": diagnosis.is_well,
        **_figures(diagnosis.figures),
        "findings": [_finding(finding) for finding in diagnosis.findings],
        "copies": [_copy(copy) for copy in diagnosis.copies],
    }


def _finding(finding: Finding) -> Json:
    copy = finding.copy
    return {
        "copy": copy.id if copy else None,
        "provider": copy.provider.value if copy else None,
        "region": copy.region if copy else None,
        "verdict": finding.verdict.value,
        "sure": finding.sure.value,
        "chance": float(f"{finding.chance:.2g}") if finding.chance is not None else None,
        "is_wrong": finding.is_wrong,
        "what": finding.what,
        "why": finding.why,
        "since": instant(finding.since) if finding.since else None,
        "is_since_before": finding.is_since_before,
        "until": instant(finding.until) if finding.until else None,
        "calls": finding.calls,
        "bad": finding.bad,
        "tenant": finding.tenant,
        "example": finding.example,
        "evidence": finding.evidence or None,
        "what_to_do": finding.what_to_do,
        "figures": _by_copy(finding.figures),
    }


def _by_copy(figures: Mapping[EndpointId, Figures]) -> Json:
    return [{"copy": id, **_figures(own)} for id, own in figures.items()]


def _copy(copy: CopyStanding) -> Json:
    return {
        "copy": copy.endpoint.id,
        "provider": copy.endpoint.provider.value,
        "region": copy.endpoint.region,
        "standing": copy.standing,
        "odd_share": round(copy.odd_share, 4) if copy.odd_share is not None else None,
        "last_called_at": instant(copy.last_at) if copy.last_at else None,
        **_figures(copy.figures),
    }


def _figures(figures: Figures) -> dict[str, Json]:
    return {
        "calls": figures.calls,
        "bad": figures.bad,
        "odd": figures.odd,
        "median_ms": round(figures.median_ms, 3) if figures.median_ms is not None else None,
        "verdicts": {verdict.value: count for verdict, count in sorted(figures.verdicts.items())},
    }
