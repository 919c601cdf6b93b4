"""Tables: what `invoke`, `explain` and `endpoints` show. Pure: from values to rich tables."""

from collections.abc import Sequence

from rich.table import Table

from fiso.codecs.typed import Document
from fiso_cli.traffic.documents import items, mapping, number, number_or_none, text, text_or_none
from fiso_cli.traffic.samples import ProviderTally
from fiso_cli.traffic.terminal import UNKNOWN, counts, ms, share, usd

TERMS = ("latency", "cost", "reliability", "region_affinity")


def table(title: str, left: Sequence[str], right: Sequence[str] = (), last: Sequence[str] = ()) -> Table:
    """An empty table: columns aligned left, then right, then left again."""
    made = Table(title=title, title_justify="left", header_style="bold")
    for names, justify in ((left, "left"), (right, "right"), (last, "left")):
        for name in names:
            made.add_column(name, justify="right" if justify == "right" else "left")
    return made


def of_tallies(rows: Sequence[ProviderTally], title: str) -> Table:
    """One line per provider."""
    made = table(
        title,
        ["provider"],
        ["requests", "share", "p50 ms", "p95 ms", "p99 ms", "FISO p50 ms", "FISO p99 ms", "failovers", "failures"],
        ["reasons"],
    )
    for row in rows:
        figures = (row.p50_ms, row.p95_ms, row.p99_ms, row.overhead_p50_ms, row.overhead_p99_ms)
        made.add_row(
            row.provider,
            str(row.requests),
            share(row.share),
            *(ms(value) for value in figures),
            str(row.failovers),
            str(row.failures),
            counts(row.reasons),
        )
    return made


def of_ranking(decision: Document) -> Table:
    """The candidates of a decision in the order in which they would be called."""
    made = table(
        f"{text(decision['function'])}: {text(decision['chosen'])} is called first ({text(decision['reason'])})",
        ["rank", "endpoint", "provider/region"],
        ["score", *TERMS, "latency ms", "cost USD", "success", "propensity"],
        ["source"],
    )
    for rank, row in enumerate(items(decision["ranking"]), start=1):
        made.add_row(str(rank), *_candidate_cells(mapping(row)))
    return made


def of_lease(lease: Document) -> Table:
    """The endpoints of a lease in the order in which a client should call them."""
    made = table(
        f"{text(lease['function'])}: lease until {text(lease['expires_at'])[11:19]} UTC ({text(lease['reason'])}), "
        f"repeatable: {text(lease['idempotent'])}",
        ["rank", "endpoint", "provider/region"],
        ["propensity", "latency ms", "p95 ms", "wait ms"],
        ["payload", "authentication", "address"],
    )
    for rank, row in enumerate(map(mapping, items(lease["endpoints"])), start=1):
        figures = (ms(number_or_none(row.get(name))) for name in ("latency_ms", "p95_ms", "patience_ms"))
        secret = text_or_none(row.get("secret_ref"))
        made.add_row(
            str(rank),
            text(row["id"]),
            f"{text(row['provider'])}/{text(row['region'])}",
            share(number_or_none(row["propensity"])),
            *figures,
            text(row["payload"]),
            text(row["authentication"]) + (f" ({secret})" if secret else ""),
            text(row["address"]) + text(row["path"]),
        )
    return made


def of_exclusions(decision: Document) -> Table:
    """The endpoints that were left out, and why."""
    made = table("left out", ["endpoint", "code", "why"])
    for row in map(mapping, items(decision["exclusions"])):
        made.add_row(text(row["endpoint"]), text(row["code"]), text(row["detail"]))
    return made


def of_endpoints(document: Document) -> Table:
    """Every endpoint with its state."""
    made = table(
        f"endpoints of catalog version {document.get('snapshot_version')}",
        ["function", "endpoint", "provider/region"],
        ["MB", "calls", "latency ms", "load", "errors", "cold", "USD"],
        ["mode", "breaker"],
    )
    for row in map(mapping, items(document["endpoints"])):
        made.add_row(*_endpoint_cells(row))
    return made


def breaker_cell(endpoint: Document) -> str:
    """The breaker's state; until when it is open, and why."""
    state = text(endpoint["breaker"])
    if state == "closed":
        return state
    until = text_or_none(endpoint.get("breaker_opened_until"))
    failures = number_or_none(endpoint.get("consecutive_failures"))
    why = text_or_none(endpoint.get("last_failure"))
    parts = [state]
    if until:
        parts.append(f"until {until[11:19]} UTC")
    if why:
        parts.append(f"after {why}" + (f" x{failures:.0f}" if failures else ""))
    return ", ".join(parts)


def _candidate_cells(row: Document) -> list[str]:
    prediction, terms = mapping(row["prediction"]), mapping(row["terms"])
    deprioritised = " (breaker open)" if row.get("is_demoted") else ""
    return [
        text(row["endpoint"]) + deprioritised,
        f"{text(row['provider'])}/{text(row['region'])}",
        f"{number(row['score']):.4f}",
        *(f"{number(terms[name]):.3f}" for name in TERMS),
        ms(number_or_none(prediction["latency_ms"])),
        usd(number_or_none(prediction["cost_usd"])),
        share(number_or_none(prediction["success_probability"])),
        share(number_or_none(row["propensity"])),
        text(prediction["source"]),
    ]


def _endpoint_cells(row: Document) -> list[str]:
    load = number_or_none(row.get("load_factor"))
    return [
        text(row["function"]),
        text(row["endpoint"]),
        f"{text(row['provider'])}/{text(row['region'])}",
        f"{number(row['memory_mb']):.0f}",
        "not read" if "attempts" not in row else f"{number(row['attempts']):.0f}",
        ms(number_or_none(row.get("latency_ms"))),
        UNKNOWN if load is None else f"{load:.3f}",
        share(number_or_none(row.get("error_rate"))),
        share(number_or_none(row.get("cold_share"))),
        usd(number_or_none(row.get("cost_usd"))),
        text(row["mode"]),
        breaker_cell(row),
    ]
