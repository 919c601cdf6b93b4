"""Findings: what one demo run came to, which of its claims held, and how both are printed. Pure."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from fiso_cli.counting import Runs
from fiso_cli.rendering import Part, Table, counts, figure, ms, text
from fiso_cli.traffic.samples import NOBODY, Sample, failures, overheads, percentile, problems, tallies
from fiso_cli.traffic.tables import of_tallies
from localcloud.profile import Provider

SCHEDULE = "schedule"
REASONS = ("score", "explore", "failover", "hedge", "policy", "control", "-")
LABEL = "Distances and cold starts are emulated here. Local latencies are not cloud latencies."


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """Everything that was counted. `runs` are the retrainings of this demo; `had_champion`: of an earlier one, too."""

    samples: Sequence[Sample]
    logged: int
    folded: int
    runs: Runs
    killed: str
    had_champion: bool
    api_url: str

    @property
    def answered(self) -> int:
        """Answers with an invocation id: each must have its record."""
        return len({sample.invocation_id for sample in self.samples if sample.invocation_id})

    @property
    def failovers(self) -> int:
        """Requests that another endpoint answered than the one called first."""
        return sum(sample.is_failover for sample in self.samples)

    @property
    def schedules_fired(self) -> int:
        """Retraining runs that the schedule started."""
        return sum(run.trigger == SCHEDULE for run in self.runs)

    @property
    def models(self) -> Sequence[str]:
        """The versions that decided, in the order of the requests."""
        return [sample.model_version for sample in self.samples if sample.model_version] or ["none"]

    @property
    def first_and_last_model(self) -> str:
        """How they changed."""
        return f"{self.models[0]}, then {self.models[-1]}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One claim: whether it held, and what was seen."""

    claim: str
    held: bool
    seen: str

    def __str__(self) -> str:
        return f"{'held  ' if self.held else 'FAILED'}  {self.claim} ({self.seen})"


def checks(found: Findings) -> list[Check]:
    """Every claim of a run."""
    failed, by_score = failures(found.samples), chosen_by_score(found.samples)
    worst = "".join(f"; {count} x {problem}" for problem, count in list(problems(failed).items())[:3])
    seen = f"{found.logged} logged, {found.folded} folded, {found.answered} answered"
    contexts = ", ".join(f"{provider} {len(by_score.get(provider, ()))} contexts" for provider in Provider)
    return [
        Check(
            claim="every request got its function's bytes",
            held=not failed and bool(found.samples),
            seen=f"{len(failed)} of {len(found.samples)} failed{worst}",
        ),
        Check(
            claim=f"failed over while {found.killed} was down",
            held=found.failovers >= 1,
            seen=f"{found.failovers} failovers",
        ),
        Check(claim="logged = folded = answered", held=found.logged == found.folded == found.answered, seen=seen),
        Check(
            claim="each provider was the best for some function and user region",
            held=set(Provider) <= by_score.keys(),
            seen=contexts,
        ),
        Check(
            claim="the schedule fired the retrainer",
            held=found.schedules_fired >= 1,
            seen=f"{found.schedules_fired} times",
        ),
        _model_check(found),
    ]


def _model_check(found: Findings) -> Check:
    """What is published must serve without a redeploy. After an earlier run's champion, a refusal is sound too."""
    published = {run.challenger_version for run in found.runs if run.promoted}
    refusals = [run.reason for run in found.runs if not run.promoted and run.trigger == SCHEDULE]
    if published:
        held, seen = found.models[-1] in published, found.first_and_last_model
    else:
        last_word = refusals[0] if refusals else "no retraining by schedule was recorded"
        held, seen = found.had_champion and bool(refusals), f"none was published: {last_word}"
    return Check(claim="a newly trained model serves without a redeploy", held=held, seen=seen)


def chosen_by_score(samples: Sequence[Sample]) -> Mapping[str, set[tuple[str, str]]]:
    """For each provider the contexts (function, user region) in which it was called first because it scored best."""
    found: dict[str, set[tuple[str, str]]] = {}
    for sample in samples:
        if sample.reason == "score" and sample.provider:
            found.setdefault(sample.provider, set()).add((sample.function, sample.user_region or ""))
    return found


def run_document(found: Findings) -> dict[str, object]:
    """What `.local/run.json` holds."""
    own_time = overheads(found.samples)
    return {
        "invocations": len(found.samples),
        "by_provider": dict(Counter(sample.provider or NOBODY for sample in found.samples).most_common()),
        "failures": len(failures(found.samples)),
        "failovers": found.failovers,
        "overhead_p50_ms": percentile(own_time, 0.50),
        "overhead_p99_ms": percentile(own_time, 0.99),
        "records_logged": found.logged,
        "records_folded": found.folded,
        "schedules_fired": found.schedules_fired,
        "model_version": found.models[-1],
        "api_url": found.api_url,
        "console_url": f"{found.api_url}/console",
    }


def parts(found: Findings) -> list[Part]:
    """The run in tables and figures."""
    title = f"{len(found.samples)} requests; {found.killed} was down for the middle third"
    return [
        of_tallies(tallies(found.samples), title),
        of_contexts(found.samples),
        of_runs(found.runs),
        of_figures(found),
        LABEL,
    ]


def of_contexts(samples: Sequence[Sample]) -> Table:
    """Why who was called: one line per function and user region, one column per provider."""
    providers = sorted({sample.provider or NOBODY for sample in samples})
    found = Counter((s.function, s.user_region or "", s.provider or NOBODY, s.reason or "-") for s in samples)

    def reasons(provider: str) -> Callable[[tuple[str, str]], str]:
        return lambda row: counts({reason: n for reason in REASONS if (n := found[(*row, provider, reason)])})

    return Table(
        title="who was called, and why",
        columns=[
            text("function", lambda row: row[0]),
            text("user region", lambda row: row[1]),
            *(text(provider, reasons(provider)) for provider in providers),
        ],
        rows=sorted({(s.function, s.user_region or "") for s in samples}),
    )


def of_runs(runs: Runs) -> Table:
    """Every retraining, oldest first: a promotion or a refusal, with its reason."""
    return Table(
        title="retraining",
        columns=[
            text("started UTC", lambda run: f"{run.started_at:%H:%M:%S}"),
            text("by", "trigger"),
            text("result", lambda run: f"promoted {run.challenger_version}" if run.promoted else "refused"),
            figure("rows", spare=1),
            text("reason"),
        ],
        rows=sorted(runs, key=lambda run: run.started_at),
    )


def of_figures(found: Findings) -> str:
    """Overhead and records on one line."""
    own_time = overheads(found.samples)
    return (
        f"FISO's own time: p50 {ms(percentile(own_time, 0.50))} ms, p99 {ms(percentile(own_time, 0.99))} ms; "
        f"records: {found.logged} logged, {found.folded} folded of {found.answered} answered; "
        f"model: {found.first_and_last_model}"
    )


def curl_line(api_url: str) -> str:
    """A request to paste."""
    return f"curl -i '{api_url}/v1/invoke/word-count' -H 'content-type: text/plain' -d 'one two two three three three'"
