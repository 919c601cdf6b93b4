"""Findings: what one demo run came to, and which of its claims held. Pure."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fiso.domain.decision import Reason
from fiso.domain.endpoint import Provider
from fiso.domain.model import RetrainingRun
from fiso_cli.traffic.samples import NOBODY, Sample, failures, overheads, percentile, problems

SCHEDULE = "schedule"


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """Everything that was counted. `answered` are the answers that carried an invocation id; `runs` are of this demo.

    `first_model` and `last_model` are the versions that decided the first and the last request.
    """

    samples: Sequence[Sample]
    logged: int
    folded: int
    runs: Sequence[RetrainingRun]
    killed: str
    first_model: str
    last_model: str
    had_champion: bool
    api_url: str
    console_url: str

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
    def promotions(self) -> Sequence[RetrainingRun]:
        """The runs that published a model."""
        return [run for run in self.runs if run.promoted]


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One claim: whether it held, and what was seen."""

    claim: str
    held: bool
    seen: str


def checks(findings: Findings) -> list[Check]:
    """Every claim of a run."""
    failed = failures(findings.samples)
    by_score = chosen_by_score(findings.samples)
    return [
        Check(
            claim="every request got its function's bytes",
            held=not failed and bool(findings.samples),
            seen=f"{len(failed)} of {len(findings.samples)} failed" + _worst(failed),
        ),
        Check(
            claim=f"failed over while {findings.killed} was down",
            held=findings.failovers >= 1,
            seen=f"{findings.failovers} failovers",
        ),
        Check(
            claim="logged = folded = answered",
            held=findings.logged == findings.folded == findings.answered,
            seen=f"{findings.logged} logged, {findings.folded} folded, {findings.answered} answered",
        ),
        Check(
            claim="each provider was the best for some function and user region",
            held=all(by_score.get(provider) for provider in Provider),
            seen=", ".join(f"{provider} {len(by_score.get(provider, ()))} contexts" for provider in Provider),
        ),
        Check(
            claim="the schedule fired the retrainer",
            held=findings.schedules_fired >= 1,
            seen=f"{findings.schedules_fired} times",
        ),
        _model_check(findings),
    ]


def chosen_by_score(samples: Sequence[Sample]) -> Mapping[str, frozenset[tuple[str, str]]]:
    """For each provider the contexts (function, user region) in which it was called first because it scored best."""
    found: dict[str, set[tuple[str, str]]] = {}
    for sample in samples:
        if sample.reason == Reason.SCORE and sample.provider:
            found.setdefault(sample.provider, set()).add((sample.function, sample.user_region or ""))
    return {provider: frozenset(contexts) for provider, contexts in found.items()}


def busiest(samples: Sequence[Sample], otherwise: str) -> str:
    """The provider that answered most so far: the one whose loss is felt."""
    answered = Counter(sample.provider for sample in samples if sample.provider)
    return answered.most_common(1)[0][0] if answered else otherwise


def run_document(findings: Findings) -> dict[str, object]:
    """What `.local/run.json` holds."""
    own_time = overheads(findings.samples)
    return {
        "invocations": len(findings.samples),
        "by_provider": dict(Counter(sample.provider or NOBODY for sample in findings.samples).most_common()),
        "failures": len(failures(findings.samples)),
        "failovers": findings.failovers,
        "overhead_p50_ms": percentile(own_time, 0.50),
        "overhead_p99_ms": percentile(own_time, 0.99),
        "records_logged": findings.logged,
        "records_folded": findings.folded,
        "schedules_fired": findings.schedules_fired,
        "model_version": findings.last_model,
        "api_url": findings.api_url,
        "console_url": findings.console_url,
    }


def _model_check(findings: Findings) -> Check:
    """What is published must serve without a redeploy. After an earlier run's champion, a refusal is sound too."""
    published = {run.challenger_version for run in findings.promotions}
    refusals = [run.reason for run in findings.runs if not run.promoted and run.trigger == SCHEDULE]
    if published:
        held, seen = findings.last_model in published, f"{findings.first_model}, then {findings.last_model}"
    else:
        last_word = refusals[0] if refusals else "no retraining by schedule was recorded"
        held, seen = findings.had_champion and bool(refusals), f"none was published: {last_word}"
    return Check(claim="a newly trained model serves without a redeploy", held=held, seen=seen)


def _worst(failed: Sequence[Sample]) -> str:
    return "".join(f"; {count} x {problem}" for problem, count in list(problems(failed).items())[:3])
