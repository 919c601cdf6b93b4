"""Retraining: from the archive to a new champion, or to a recorded refusal, in five named steps.

    champion -> archive -> data set -> data_quality_check -> challenger -> model_performance_validation
             -> a_b_testing_deployment -> champion_challenger_comparison -> production_deployment -> run

Each step is recorded with its figures and its verdict; after one that stops nothing follows. The retrainer promotes
nothing itself: it offers a candidate to whoever does (`promote.Registry`, another role's on AWS). Killed at any point
it leaves the old champion serving. A run is recorded when it begins and again when it ends; of one that was killed the
next one says so.
"""

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from fiso.codecs.signature import PublicKeys
from fiso.domain.archive import Extent
from fiso.domain.errors import ModelRefused, StoreError
from fiso.domain.model import ModelPointer, RetrainingRun, RunEnd, Step, Verdict
from fiso.domain.record import InvocationRecord
from fiso.learning import dataset, evaluate, implied, quality, training, validation
from fiso.learning.dataset import DataSet, Halves
from fiso.learning.train import Family
from fiso.learning.training import Training, TrainingSettings
from fiso.learning.validation import Duel
from fiso.ports import (
    Archive,
    Clock,
    Metrics,
    ModelStore,
    PromotionWitness,
    RetrainingRuns,
    Signer,
)
from fiso.prediction import artifact
from fiso.services.maintenance import hand_over, promote
from fiso.services.maintenance.promote import Champion, Promoter, PromotionDesk, Registry
from fiso.services.maintenance.trial import DEPLOYMENT, TrialRules, Trials

NO_MODEL = "baseline"
COMPARISON = "champion_challenger_comparison"
MOST_ROWS = 200_000
"""More teach a model of 100 small trees nothing that these do not; read and learned from they take 1 GB and minutes."""
DRIFT, DRIFTED = "drift", timedelta(days=1)
"""The trigger of a retraining that drift sets off, and what a look for it compares."""
READING = timedelta(minutes=5)
LONGEST = timedelta(minutes=20)
"""Longer than a function may run."""
LOOKED_AT = 20
"""Runs that are looked at for one without an end."""
FAILURES = frozenset({RunEnd.FAILED, RunEnd.OUT_OF_TIME, RunEnd.KILLED})

logger = logging.getLogger(__name__)


def _utc_now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Retrainer:
    """The retraining use case. Only rows of the last `lookback_days` count; the minimums are rows, too. Candidates are
    offered to `desk`; without one they are promoted here, signed with `signer` as this `stage`'s. Of more than
    `most_rows` a run says how `train_on`, a platform and its options, learns from them."""

    models: ModelStore
    archive: Archive
    runs: RetrainingRuns
    signer: Signer
    keys: PublicKeys
    minimum_rows: int
    minimum_new_rows: int
    lookback_days: int
    families: Sequence[str] = (Family.BOOSTING,)
    most_rows: int = MOST_ROWS
    train_on: str = ""
    stage: str = ""
    witness: PromotionWitness | None = None
    desk: PromotionDesk | None = None
    clock: Clock = _utc_now
    metrics: Metrics | None = None
    trial: TrialRules | None = None

    def __post_init__(self) -> None:
        for name in self.families:
            Family(name)  # a family that is not one ends the start, and not every run

    def retrain(self, *, now: datetime, trigger: str, ends_at: datetime | None = None) -> RetrainingRun:
        """One retraining, recorded; after `ends_at` nothing long is begun. `StoreError` only when not even that it
        begins can be recorded."""
        self._close_killed(now)
        on_trial = self._on_trial(now, ends_at)
        if on_trial is not None:
            busy = f"{on_trial} is on trial: until that has ended no other is trained"
            return self._recorded(now, trigger, lambda run: self._ended(run, RunEnd.REFUSED, busy))
        return self._recorded(now, trigger, lambda run: self._run(run, ends_at))

    def look(self, *, now: datetime, ends_at: datetime | None = None) -> RetrainingRun | None:
        """At the challenger that is on trial, if one is: the run that made it, as it stands now."""
        return self._trials(self.trial or TrialRules()).look(now, ends_at=ends_at)

    def _on_trial(self, now: datetime, ends_at: datetime | None) -> str | None:
        """What is still on trial after a look at it."""
        if self.trial is None:
            return None
        trials = self._trials(self.trial)
        try:
            return trials.is_under_way() if trials.look(now, ends_at=ends_at) is not None else None
        except (ModelRefused, StoreError) as error:
            logger.warning("the trial is looked at another time: %s", error)
            return trials.is_under_way()

    def _trials(self, rules: TrialRules) -> Trials:
        return Trials(
            models=self.models,
            archive=self.archive,
            runs=self.runs,
            desk=self._desk(),
            keys=self.keys,
            stage=self.stage,
            rules=rules,
            metrics=self.metrics,
        )

    def roll_back(self, *, now: datetime, trigger: str) -> RetrainingRun:
        """A promotion of the model before the champion, recorded: the old file, with a new number."""
        return self._recorded(now, trigger, self._rolled_back)

    def _desk(self) -> PromotionDesk:
        return self.desk if self.desk is not None else Registry(promoter=self._promoter())

    def _promoter(self) -> Promoter:
        return Promoter(models=self.models, signer=self.signer, keys=self.keys, stage=self.stage, witness=self.witness)

    def _champion(self) -> Champion:
        """Verified; where this promotes itself, numbered and known to the witness as well."""
        if self.desk is None:
            return self._promoter().champion()
        return promote.found(self.models, self.keys, stage=self.stage)

    def _recorded(self, now: datetime, trigger: str, does: Callable[[RetrainingRun], RetrainingRun]) -> RetrainingRun:
        run = RetrainingRun(
            started_at=now,
            trigger=trigger,
            rows=0,
            promoted=False,
            reason=RunEnd.UNDER_WAY.value,
            champion_version=NO_MODEL,
            end=RunEnd.UNDER_WAY,
        )
        self.runs.append(run)
        ended = replace(run, end=RunEnd.FAILED, reason="it ended by an error; the function's log says which")
        try:
            ended = does(run)
        finally:
            self._finish(ended)
        return ended

    def _finish(self, run: RetrainingRun) -> None:
        self.runs.append(run)
        logger.info("challenger %s: %s", run.end, run.reason)
        if self.metrics is not None:
            self.metrics.add("RetrainingFailed", run.end in FAILURES, "Count")

    def _close_killed(self, now: datetime) -> None:
        """Runs that cannot be under way any more, and told of no end."""
        try:
            for run in self.runs.latest(LOOKED_AT):
                if run.end is RunEnd.UNDER_WAY and now - run.started_at >= LONGEST:
                    reason = "it was stopped before its end: out of memory, or of the function's time"
                    self._finish(replace(run, end=RunEnd.KILLED, ended_at=now, reason=reason))
        except StoreError as error:
            logger.warning("runs before this one are closed another time: %s", error)

    def _ended(self, run: RetrainingRun, end: RunEnd, reason: str) -> RetrainingRun:
        return replace(run, end=end, reason=reason, promoted=end is RunEnd.PROMOTED, ended_at=self.clock())

    def _rolled_back(self, run: RetrainingRun) -> RetrainingRun:
        try:
            champion = self._champion()
            run = replace(run, champion_version=champion.pointer.version if champion.pointer else NO_MODEL)
            now_serves = self._desk().roll_back()
        except ModelRefused as error:
            if champion.before is None:
                return self._ended(run, RunEnd.REFUSED, str(error))
            return self._ended(run, RunEnd.FAILED, f"the model before the champion cannot serve: {error}")
        except StoreError as error:
            return self._ended(run, RunEnd.FAILED, f"the model before the champion cannot serve: {error}")
        return self._ended(replace(run, challenger_version=now_serves), RunEnd.PROMOTED, "rolled back")

    def _run(self, run: RetrainingRun, ends_at: datetime | None) -> RetrainingRun:
        extent, newest = Extent(), implied.Newest()
        try:
            champion = self._champion()
            log = newest.passing(self._log(run.started_at, ends_at, extent))
            data = dataset.capped(dataset.build(log, now=run.started_at))
        except StoreError as error:
            return self._ended(run, RunEnd.FAILED, f"champion or archive could not be read: {error}")
        run = replace(
            run,
            rows=len(data),
            champion_version=_version_of(champion.pointer, data),
            read_since=extent.oldest,
            standing=round(extent.standing),
            left_out=extent.left_out,
        )
        learned_until = _learned_until(champion)
        new_rows = len(data) if learned_until is None else data.after(learned_until.timestamp())
        halves = _split(data, run, new_rows)
        checked = self._checked(data, halves, new_rows)
        run = replace(run, steps=(checked,))
        if checked.verdict is Verdict.STOPPED:
            return self._ended(run, RunEnd.REFUSED, checked.reason)
        handed = hand_over.step(
            extent, most_rows=self.most_rows, stage=self.stage, family=self.families[0], train_on=self.train_on
        )
        run = replace(run, steps=(checked, handed) if handed is not None else run.steps)
        if ends_at is not None and self.clock() >= ends_at:
            return self._ended(run, RunEnd.OUT_OF_TIME, f"reading {run.rows:,} rows left no time to train")
        return self._challenge(run, champion, halves, newest, ends_at)

    def _log(self, now: datetime, ends_at: datetime | None, extent: Extent) -> Iterable[InvocationRecord]:
        """What there is to learn from. Reading has at most half of the time: training has no end that can be set."""
        started = self.clock()
        reads_until = (
            started + READING if ends_at is None else min(started + READING, started + (ends_at - started) / 2)
        )
        since = (now - timedelta(days=self.lookback_days)).date()
        return self.archive.since(since, most=self.most_rows, ends_at=reads_until, extent=extent)

    def _checked(self, data: DataSet, halves: Halves, new_rows: int) -> Step:
        """The first step, with what there must be at least."""
        step = quality.check(data)
        refusal = evaluate.refusal_before_training(
            len(data),
            new_rows=new_rows,
            minimum_rows=self.minimum_rows,
            minimum_new_rows=self.minimum_new_rows,
        )
        if step.verdict is Verdict.PASSED:
            refusal = refusal or evaluate.refusal_of_split(halves)
            step = step if refusal is None else replace(step, verdict=Verdict.STOPPED, reason=refusal)
        return replace(step, figures={**step.figures, "new_rows": float(new_rows)})

    def _challenge(
        self,
        run: RetrainingRun,
        champion: Champion,
        halves: Halves,
        newest: implied.Newest,
        ends_at: datetime | None,
    ) -> RetrainingRun:
        families = tuple(Family(name) for name in self.families)
        settings = TrainingSettings(
            families=families,
            version_prefix=f"{run.started_at:%Y%m%dT%H%M%SZ}",
            trained_at=run.started_at,
            parent=champion.pointer.version if champion.pointer is not None else None,
        )
        began = self.clock()
        try:
            made = training.train(_to_learn_from(halves, families[0]), settings)
        except ModelRefused as error:
            return self._ended(run, RunEnd.FAILED, f"the challenger could not be published: {error}")
        took = self.clock() - began
        duel = validation.duel(champion.model, made.trained, made.halves)
        run = replace(
            run,
            challenger_version=made.files.pointer.version,
            champion_error=duel.champion_error,
            challenger_error=duel.challenger_error,
        )
        for step in _judged(made, duel, newest):
            run = replace(run, steps=(*run.steps, step))
            if step.verdict is Verdict.STOPPED:
                return self._offered(run, champion, made, refusal=step.reason)
        if ends_at is not None and self.clock() + took > ends_at:
            logger.warning("no time is left to learn from all rows: the model that was judged is promoted")
            return self._offered(run, champion, made, refusal=None)
        try:
            made = replace(made, files=training.refitted(made, settings))
        except ModelRefused as error:
            return self._ended(run, RunEnd.FAILED, f"the challenger could not be published: {error}")
        run = replace(run, challenger_version=made.files.pointer.version)
        return self._offered(run, champion, made, refusal=None)

    def _offered(self, run: RetrainingRun, champion: Champion, made: Training, *, refusal: str | None) -> RetrainingRun:
        """The last step. A candidate that was refused is kept, so that it can be looked at; where that cannot be, it is
        no failure."""
        beside = champion.pointer if champion.model is not None and refusal is None else None
        try:
            if self.trial is not None and beside is not None:
                return self._trials(self.trial).begin(run, made.files, beside, self.clock())
            self._desk().offer(made.files, replaces=champion.pointer, promote=refusal is None)
        except (ModelRefused, StoreError) as error:
            if refusal is None:
                problem = f"the challenger could not be published: {error}"
                return self._ended(_with(run, DEPLOYMENT, Verdict.STOPPED, problem), RunEnd.FAILED, problem)
            logger.warning("the refused candidate is not kept: %s", error)
        if refusal is not None:
            return self._ended(run, RunEnd.REFUSED, refusal)
        run = _with(run, DEPLOYMENT, Verdict.PASSED, f"{made.files.pointer.version} serves from the next request on")
        return self._ended(run, RunEnd.PROMOTED, run.steps[-2].reason)


def _judged(made: Training, duel: Duel, newest: implied.Newest) -> Iterable[Step]:
    """The three steps between training and promotion."""
    model = artifact.read(made.files.artifact, sha256=made.files.pointer.sha256)
    yield validation.validate(duel, made.trained, model, implied.value(newest.records(), model))
    yield validation.shadow(duel)
    gain, rest = duel.gain, duel.gain_of_the_rest
    verdict = evaluate.judge(
        champion_error=duel.champion_error,
        challenger_error=duel.challenger_error,
        constant_error=duel.constant_error,
        gain=gain,
        gain_of_the_rest=rest,
    )
    figures = {} if gain is None else {"gain": gain.value, "gain_low": gain.low, "gain_high": gain.high}
    yield Step(
        name=COMPARISON,
        verdict=Verdict.PASSED if verdict.promoted else Verdict.STOPPED,
        reason=verdict.reason,
        figures={name: float(f"{value:.5g}") for name, value in figures.items()},
    )


def _with(run: RetrainingRun, name: str, verdict: Verdict, reason: str) -> RetrainingRun:
    return replace(run, steps=(*run.steps, Step(name=name, verdict=verdict, reason=reason)))


def _split(data: DataSet, run: RetrainingRun, new_rows: int) -> Halves:
    """After drift the newest half of the drifting day judges and the rest teaches: held out whole, the day would judge
    a challenger that has seen nothing of it, and refuse it until most rows are of the world after."""
    if run.trigger == DRIFT:
        newest = min(new_rows, data.after((run.started_at - DRIFTED).timestamp()) // 2)
        halves = dataset.split(data, newest=newest)
        if evaluate.refusal_of_split(halves) is None:
            return halves
    return dataset.split(data, newest=new_rows)


def _learned_until(champion: Champion) -> datetime | None:
    """Until when it has seen rows; None when nobody whom we trust says so."""
    return champion.pointer.trained_at if champion.pointer is not None and champion.model is not None else None


def _to_learn_from(halves: Halves, family: Family) -> Halves:
    """All rows, or where several tenants report, what FISO saw alone if that is better: by rows that FISO saw, newer
    than what is learned from and older than what judges. Where those are too few, what FISO saw alone."""
    alone = replace(halves, train=halves.train.seen_by_fiso)
    is_same = halves.train.has_one_tenant or len(alone.train) == len(halves.train)
    if is_same or evaluate.refusal_of_split(alone):
        return halves
    inner, own = dataset.split(halves.train), dataset.split(alone.train)
    if evaluate.refusal_of_split(inner) or evaluate.refusal_of_split(own):
        return alone
    errors = [training.error_of(family, each.train, inner.held_out) for each in (inner, own)]
    return halves if errors[0] < errors[1] else alone


def _version_of(champion: ModelPointer | None, data: DataSet) -> str:
    """The published version; before the first one, whatever served last."""
    if champion is not None:
        return champion.version
    return next((version for version in reversed(data.served_by) if version), NO_MODEL)
