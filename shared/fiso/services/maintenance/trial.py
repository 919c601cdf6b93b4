"""Trials: a challenger that won on what was recorded decides a share of the requests before it becomes the champion.

    offered -> on trial beside the champion -> looked at every few minutes -> the champion, or gone at once on harm

Which requests it decides is a hash of the request or its tenant with the trial's salt, in every environment alike. The
pointer names both, each with a manifest that is signed; an environment that cannot read the challenger leaves all to
the champion, and its records belong to no arm. A look compares what was recorded of both arms, from the trial's first
request on (`learning.arms`): nothing is kept between looks but the run, so each may be repeated, and one that was
killed is made again. A trial that nobody ends is over by itself (`TrialTerms.until`), and the champion decides all.
docs/decisions/0035-a-models-trial.md
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from hashlib import blake2b

from fiso.codecs.signature import PublicKeys
from fiso.domain.errors import ModelRefused
from fiso.domain.model import DrawnBy, ModelPointer, RetrainingRun, RunEnd, Step, TrialTerms, Verdict
from fiso.domain.steering import CHALLENGER, CHAMPION
from fiso.learning import arms
from fiso.learning.arms import Outcome
from fiso.learning.validation import SHADOW
from fiso.ports import Archive, Metrics, ModelFiles, ModelStore, RetrainingRuns
from fiso.prediction import manifest
from fiso.services.maintenance.promote import PromotionDesk, pointed_to

DEPLOYMENT = "production_deployment"
SETTLED = timedelta(minutes=5)
"""Records that old are in the archive: a look that counted some of a minute would count others the next time."""
MOST_ROWS = 200_000
READING = timedelta(minutes=5)
LOOKED_AT = 20
LONGEST_RUN = timedelta(minutes=20)

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialRules:
    """Which share of the requests a challenger decides, until it has decided so many, and `hours` at most."""

    share: float = 0.1
    requests: int = 1_000
    hours: float = 20.0
    drawn_by: DrawnBy = DrawnBy.REQUEST

    def terms(self, challenger: ModelPointer, champion: ModelPointer, now: datetime) -> TrialTerms:
        """The salt is this pair's own: who was drawn in one trial is not in the next."""
        told = f"{challenger.sha256}\n{champion.sha256}\n{now.isoformat()}"
        return TrialTerms(
            share=self.share,
            salt=blake2b(told.encode(), digest_size=6).hexdigest(),
            until=now + timedelta(hours=self.hours),
            drawn_by=self.drawn_by,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Trials:
    """Begins trials and looks at them. `StoreError` where what is needed cannot be read or the end not be recorded."""

    models: ModelStore
    archive: Archive
    runs: RetrainingRuns
    desk: PromotionDesk
    keys: PublicKeys
    stage: str
    rules: TrialRules
    metrics: Metrics | None = None

    def begin(self, run: RetrainingRun, files: ModelFiles, champion: ModelPointer, now: datetime) -> RetrainingRun:
        """The run, on trial. `ModelRefused` and `StoreError` as of an offer."""
        terms = self.rules.terms(files.pointer, champion, now)
        self.desk.begin_trial(files, terms, replaces=champion)
        reason = f"{files.pointer.version} decides {terms.share:.0%} of the requests, by a hash of the {terms.drawn_by}"
        figures = {"trial_share": terms.share, "trial_requests": 0.0}
        steps = tuple(_noted(step, Verdict.UNDER_WAY, reason, figures) for step in run.steps)
        return replace(run, end=RunEnd.ON_TRIAL, reason=reason, steps=steps)

    def is_under_way(self) -> str | None:
        """Which version is on trial."""
        champion = pointed_to(self.models)
        return champion.trial.version if champion is not None and champion.trial is not None else None

    def look(self, now: datetime, *, ends_at: datetime | None = None) -> RetrainingRun | None:
        """The run whose challenger is on trial, as it stands now; None while there is none."""
        champion, latest = pointed_to(self.models), self.runs.latest(LOOKED_AT)
        run = next((each for each in latest if each.end is RunEnd.ON_TRIAL), None)
        on_trial = champion.trial if champion is not None else None
        if run is None:
            if on_trial is not None and not any(_may_be_under_way(each, now) for each in latest):
                logger.warning("nobody began the trial of %s: it is ended", on_trial.version)
                self.desk.end_trial(on_trial.version, promote=False)
            return None
        if champion is None or on_trial is None or on_trial.version != run.challenger_version:
            return self._ended_by_others(run, champion, now)
        try:
            stated = manifest.opened(champion.manifest, self.keys)
            terms = manifest.terms_of(on_trial, stated, stage=self.stage, keys=self.keys)
        except ModelRefused as error:
            self.desk.end_trial(on_trial.version, promote=False)
            return self._end(run, RunEnd.REFUSED, f"its trial was none: {error}", {}, now)
        return self._judged(run, on_trial, terms, self._outcomes(run, terms, now, ends_at), now)

    def _outcomes(
        self, run: RetrainingRun, terms: TrialTerms, now: datetime, ends_at: datetime | None
    ) -> Sequence[Outcome]:
        reads_until = now + READING if ends_at is None else min(now + READING, now + (ends_at - now) / 2)
        records = self.archive.since(run.started_at.date(), most=MOST_ROWS, ends_at=reads_until)
        return [each for each in arms.outcomes(records, terms.salt) if each.at <= now - SETTLED]

    def _judged(
        self, run: RetrainingRun, on_trial: ModelPointer, terms: TrialTerms, found: Sequence[Outcome], now: datetime
    ) -> RetrainingRun:
        harm = arms.harm(found, CHALLENGER, CHAMPION, by_tenant=terms.drawn_by is DrawnBy.TENANT)
        own, others = arms.figures(found, CHALLENGER), arms.figures(found, CHAMPION)
        figures = {
            "trial_share": terms.share,
            "trial_requests": float(own.requests),
            "trial_requests_of_champion": float(others.requests),
            "trial_failures": float(own.failures),
            "trial_failures_of_champion": float(others.failures),
            "trial_latency_ms": own.latency_ms,
            "trial_latency_ms_of_champion": others.latency_ms,
            "trial_cost_usd": own.cost_usd,
            "trial_cost_usd_of_champion": others.cost_usd,
            "trial_log_evidence_of_harm": harm.log_e,
            "trial_blocks": float(harm.blocks),
        }
        known = {name: float(f"{value:.5g}") for name, value in figures.items() if value is not None}
        if self.metrics is not None:
            self.metrics.add("ModelTrialStopped", harm.at is not None, "Count")
        if harm.at is not None:
            self.desk.end_trial(on_trial.version, promote=False)
            logger.error("the trial of %s was stopped: %s", on_trial.version, harm.why)
            reason = f"on trial it did harm by request {own.requests}: {harm.why}"
            return self._end(run, RunEnd.REFUSED, reason, known, now)
        if own.requests < self.rules.requests and now < terms.until:
            reason = f"on trial: {own.requests} of {self.rules.requests} requests, no harm so far"
            return self._recorded(replace(run, reason=reason, steps=_with_trial(run, Verdict.UNDER_WAY, reason, known)))
        if not own.requests:
            self.desk.end_trial(on_trial.version, promote=False)
            return self._end(run, RunEnd.REFUSED, "no request was decided by it while it was on trial", known, now)
        try:
            self.desk.end_trial(on_trial.version, promote=True)
        except ModelRefused as error:
            self.desk.end_trial(on_trial.version, promote=False)
            return self._end(run, RunEnd.REFUSED, str(error), known, now)
        return self._end(run, RunEnd.PROMOTED, f"on trial for {own.requests} requests it did no harm", known, now)

    def _ended_by_others(self, run: RetrainingRun, champion: ModelPointer | None, now: datetime) -> RetrainingRun:
        """By a promotion, a way back, or a look that was killed before it could record what it had done."""
        if champion is not None and champion.version == run.challenger_version:
            return self._end(run, RunEnd.PROMOTED, "promoted while it was on trial", {}, now)
        return self._end(
            run, RunEnd.REFUSED, "its trial was ended by somebody, or another model took its place", {}, now
        )

    def _end(
        self, run: RetrainingRun, end: RunEnd, reason: str, figures: dict[str, float], now: datetime
    ) -> RetrainingRun:
        is_promoted = end is RunEnd.PROMOTED
        steps = _with_trial(run, Verdict.PASSED if is_promoted else Verdict.STOPPED, reason, figures)
        if is_promoted:
            served = f"{run.challenger_version} serves from the next request on"
            steps = (*steps, Step(name=DEPLOYMENT, verdict=Verdict.PASSED, reason=served))
        logger.info("challenger %s: %s", end, reason)
        return self._recorded(replace(run, end=end, promoted=is_promoted, reason=reason, ended_at=now, steps=steps))

    def _recorded(self, run: RetrainingRun) -> RetrainingRun:
        self.runs.append(run)
        return run


def _may_be_under_way(run: RetrainingRun, now: datetime) -> bool:
    """A run that has begun a trial and not recorded it yet."""
    return run.end is RunEnd.UNDER_WAY and now - run.started_at < LONGEST_RUN


def _with_trial(run: RetrainingRun, verdict: Verdict, reason: str, figures: dict[str, float]) -> tuple[Step, ...]:
    return tuple(_noted(step, verdict, reason, figures) for step in run.steps)


def _noted(step: Step, verdict: Verdict, reason: str, figures: dict[str, float]) -> Step:
    """The step of the traffic with what the trial says; any other as it is."""
    if step.name != SHADOW:
        return step
    return replace(step, verdict=verdict, reason=reason, figures={**step.figures, **figures})
