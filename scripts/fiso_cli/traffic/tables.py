"""Tables: what `invoke`, `explain`, `endpoints` and `lease` show. Pure: from values to tables."""

from collections.abc import Sequence

from fiso.codecs.typed import Document
from fiso_cli.rendering import UNKNOWN, Part, Table, at, counts, decimals, figure, ms, share, text, usd
from fiso_cli.traffic.documents import rows_of
from fiso_cli.traffic.samples import ProviderTally

RANKING_NOTES = (
    "latency, cost and success are predicted; a term's score is the best candidate's over this one's",
    "chance: how likely an endpoint is called first",
)
LEASE_NOTES = (
    "chance: how likely it came first; wait ms: how long a client waits for it before it asks the next",
    "payload: how the body is handed over: http as a whole request, event as the JSON itself",
)


def of_tallies(rows: Sequence[ProviderTally], title: str) -> Table:
    """One line per provider."""
    return Table(
        title=title,
        columns=[
            text("provider"),
            figure("requests"),
            figure("share", form=share, spare=5),
            figure("p50 ms", "p50_ms", ms),
            figure("p95 ms", "p95_ms", ms, spare=4),
            figure("p99 ms", "p99_ms", ms),
            figure("FISO p50 ms", "overhead_p50_ms", ms, spare=3),
            figure("FISO p99 ms", "overhead_p99_ms", ms, spare=6),
            figure("failovers", spare=2),
            figure("failures"),
            text("reasons", lambda row: counts(row.reasons), spare=1),
        ],
        rows=rows,
    )


def of_decision(decision: Document) -> list[Part]:
    """The candidates in the order in which they would be called, and the endpoints that were left out."""
    candidates = rows_of(decision, "ranking")
    ranking = Table(
        title=f"{at(decision, 'function')}: {at(decision, 'chosen')} is called first ({at(decision, 'reason')})",
        columns=[
            text("endpoint", lambda row: f"{row['endpoint']}{' (breaker open)' if row.get('is_demoted') else ''}"),
            text("provider/region", _place, spare=3),
            figure("score", form=decimals(4)),
            *(figure(f"{term} score", f"terms.{key}", decimals(3), spare=spare) for term, key, spare in _TERMS),
            figure("latency ms", "prediction.latency_ms", ms),
            *([figure("p95 ms", "prediction.compared_p95_ms", ms)] if at(decision, "latency_measure") == "p95" else []),
            text("plan", plan_cell, spare=4),
            figure("cost USD", "prediction.cost_usd", usd),
            *([figure("data USD", "prediction.transfer_usd", usd)] if any(map(_sends, candidates)) else []),
            figure("success", "prediction.success_probability", share, spare=2),
            figure("chance", "propensity", share),
            text("source", "prediction.source", spare=1),
        ],
        rows=candidates,
        notes=[
            *RANKING_NOTES,
            *(["latencies are compared by their p95"] if at(decision, "latency_measure") == "p95" else []),
            *_never_called(candidates),
            _versions(decision, model="model_version", tariffs="tariff_version", policy="policy_version"),
        ],
    )
    excluded = rows_of(decision, "exclusions")
    left_out = Table(title="left out", columns=[text("endpoint"), text("code"), text("why", "detail")], rows=excluded)
    return [ranking, left_out] if excluded else [ranking]


def _never_called(rows: Sequence[Document]) -> list[str]:
    known = ((row["endpoint"], str(at(row, "prediction.known_by"))) for row in rows)
    return [f"{endpoint}: {sentence}" for endpoint, sentence in known if sentence.startswith("never")]


def plan_cell(row: Document) -> str:
    """The plan that a price is of; `~` where it is that of the region's neighbours."""
    return f"{'~' if row.get('is_price_estimated') else ''}{row.get('plan', '')}"


def _sends(row: Document) -> bool:
    prediction = row.get("prediction")
    return bool(prediction.get("transfer_usd")) if isinstance(prediction, dict) else False


def of_lease(lease: Document) -> Table:
    """The endpoints of a lease in the order in which a client should call them."""
    token, expires_at = str(at(lease, "token")), str(at(lease, "expires_at"))
    return Table(
        title=f"{at(lease, 'function')}: lease until {expires_at[11:19]} UTC ({at(lease, 'reason')}), "
        f"repeatable: {at(lease, 'idempotent')}",
        columns=[
            text("endpoint", "id"),
            text("provider/region", _place, spare=5),
            figure("chance", "propensity", share, spare=3),
            figure("latency ms", "latency_ms", ms),
            figure("p95 ms", "p95_ms", ms, spare=4),
            figure("wait ms", "patience_ms", ms),
            text("payload", spare=1),
            text("authentication", _authentication, spare=2),
            text("address", lambda row: f"{row['address']}{row['path']}"),
        ],
        rows=rows_of(lease, "endpoints"),
        notes=[
            *LEASE_NOTES,
            f"token of {len(token)} characters, outcomes until {at(lease, 'reported_until')}",
            _versions(lease, model="model_version", policy="policy_version"),
        ],
    )


def of_endpoints(document: Document) -> Table:
    """Every endpoint with its state; how answers compare where some were compared."""
    rows = rows_of(document, "endpoints")
    return Table(
        title=f"endpoints of catalog version {at(document, 'snapshot_version')}",
        columns=[
            text("function"),
            text("endpoint"),
            text("provider/region", _place, spare=4),
            figure("MB", "memory_mb", spare=7),
            figure("calls", lambda row: row.get("attempts", "not read")),
            figure("latency ms", "latency_ms", ms),
            figure("load", "load_factor", decimals(3), spare=3),
            figure("errors", "error_rate", share),
            figure("cold", "cold_share", share, spare=6),
            text("plan", plan_cell, spare=8),
            figure("USD", "cost_usd", usd, spare=5),
            text("mode", spare=2),
            text("breaker", breaker_cell),
            *([text("answers", equivalence_cell, spare=1)] if any(map(_was_compared, rows)) else []),
            *([text("canary", canary_cell)] if any("canary" in row for row in rows) else []),
        ],
        rows=rows,
    )


_TERMS = (
    ("latency", "latency", 6),
    ("cost", "cost", 5),
    ("reliability", "reliability", 7),
    ("region", "region_affinity", 8),
)


def breaker_cell(endpoint: Document) -> str:
    """The breaker's state; until when it is open, and why."""
    state, until = str(endpoint.get("breaker", UNKNOWN)), endpoint.get("breaker_opened_until")
    failures, why = endpoint.get("consecutive_failures"), endpoint.get("last_failure")
    if state == "closed":
        return state
    parts = [
        state,
        f"until {str(until)[11:19]} UTC" if until else "",
        f"after {why}" + (f" x{failures}" if failures else "") if why else "",
    ]
    return ", ".join(part for part in parts if part)


def equivalence_cell(endpoint: Document) -> str:
    """How its answers compare with its siblings', and which invocation was the first to differ."""
    if not _was_compared(endpoint):
        return ""
    compared, differed, disputed = (at(endpoint, f"equivalence.{key}") for key in ("compared", "differed", "disputed"))
    if not differed and not disputed:
        return f"{compared} alike"
    out = "quarantined: " if endpoint.get("is_quarantined") else ""
    whom = f"{differed} of {compared} odd" if differed else f"{disputed} of {compared} disputed"
    return f"{out}{whom}, first {at(endpoint, 'equivalence.first_id')}"


def _was_compared(endpoint: Document) -> bool:
    return bool(at(endpoint, "equivalence.compared"))


def canary_cell(endpoint: Document) -> str:
    """A canary's share, or why it was stopped."""
    canary = endpoint.get("canary")
    if not isinstance(canary, dict):
        return ""
    if canary.get("stopped_at"):
        return f"stopped {str(canary['stopped_at'])[11:19]} UTC, {canary['why']}"
    return "passed" if canary.get("has_passed") else f"step {canary['step']}, {share(canary['share'])} of requests"


def _versions(document: Document, **keys: str) -> str:
    return ", ".join(f"{name} {at(document, key)}" for name, key in keys.items())


def _place(row: Document) -> str:
    return f"{row.get('provider')}/{row.get('region')}"


def _authentication(row: Document) -> str:
    return f"{row.get('authentication')}" + (f" ({row['secret_ref']})" if row.get("secret_ref") else "")
