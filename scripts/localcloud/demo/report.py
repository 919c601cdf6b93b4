"""Reports: what the demo prints at its end. Pure: from findings to rich tables and lines."""

from collections import Counter
from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from fiso.domain.decision import Reason
from fiso.domain.model import RetrainingRun
from fiso_cli.traffic.samples import NOBODY, Sample, overheads, percentile, tallies
from fiso_cli.traffic.tables import of_tallies, table
from fiso_cli.traffic.terminal import ms
from localcloud.demo.findings import Check, Findings

LABEL = "Distances and cold starts are emulated here. Local latencies are not cloud latencies."


def of_providers(findings: Findings) -> Table:
    """What each provider did, as the client saw it."""
    title = f"{len(findings.samples)} requests; {findings.killed} was down for the middle third"
    return of_tallies(tallies(findings.samples), title)


def of_contexts(samples: Sequence[Sample]) -> Table:
    """Why who was called: one line per function and user region, one column per provider."""
    providers = sorted({sample.provider or NOBODY for sample in samples})
    counts = Counter((s.function, s.user_region or "", s.provider or NOBODY, s.reason or "-") for s in samples)
    made = table("who was called, and why", ["function", "user region", *providers])
    for function, region in sorted({(s.function, s.user_region or "") for s in samples}):
        made.add_row(function, region, *(_reasons(counts, function, region, provider) for provider in providers))
    return made


def of_runs(runs: Sequence[RetrainingRun]) -> Table:
    """Every retraining, oldest first: a promotion or a refusal, with its reason."""
    made = table("retraining", ["started UTC", "by", "what came of it"], ["rows"], ["reason"])
    for run in sorted(runs, key=lambda run: run.started_at):
        result = f"promoted {run.challenger_version}" if run.promoted else "refused"
        made.add_row(f"{run.started_at:%H:%M:%S}", run.trigger, result, str(run.rows), run.reason)
    return made


def of_figures(findings: Findings) -> str:
    """Overhead and records on one line."""
    own_time = overheads(findings.samples)
    return (
        f"FISO's own time: p50 {ms(percentile(own_time, 0.50))} ms, p99 {ms(percentile(own_time, 0.99))} ms; "
        f"records: {findings.logged} logged, {findings.folded} folded of {findings.answered} answered; "
        f"model: {findings.first_model}, then {findings.last_model}"
    )


def of_check(check: Check) -> Text:
    """One claim on one line."""
    mark, style = ("held  ", "green") if check.held else ("FAILED", "bold red")
    return Text.assemble((mark, style), f"  {check.claim} ({check.seen})")


def curl_line(api_url: str) -> str:
    """A request to paste."""
    return f"curl -i '{api_url}/v1/invoke/word-count' -H 'content-type: text/plain' -d 'one two two three three three'"


def _reasons(counts: Counter[tuple[str, str, str, str]], function: str, region: str, provider: str) -> str:
    known = [(reason.value, counts[function, region, provider, reason.value]) for reason in Reason]
    known.append(("-", counts[function, region, provider, "-"]))
    return ", ".join(f"{reason} {count}" for reason, count in known if count)
