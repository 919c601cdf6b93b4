"""Retraining: from the archive to a new champion, or to a recorded refusal.

    champion -> archive -> data set -> challenger -> comparison on the newest rows -> sign -> publish | refuse -> run

Killed at any point it leaves the old champion serving: the store's pointer moves last, and only from the champion that
the challenger was compared with. A run is recorded when it begins and again when it ends; of one that was killed the
next one says so. What is not signed with a trusted key is no champion.
"""

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from math import inf
from typing import NamedTuple

import numpy as np

from fiso.codecs import signature
from fiso.codecs.signature import PublicKeys
from fiso.domain.archive import Extent
from fiso.domain.errors import ModelRefused, StoreError
from fiso.domain.model import ModelPointer, RetrainingRun, RunEnd
from fiso.domain.record import InvocationRecord
from fiso.domain.signed import SignedText
from fiso.learning import dataset, evaluate, export, train
from fiso.learning.dataset import DataSet, Floats, Halves
from fiso.learning.intervals import Estimate
from fiso.learning.train import Family, Fit, Trained
from fiso.ports import Archive, Clock, Metrics, ModelFiles, ModelStore, PromotionWitness, RetrainingRuns, Signer
from fiso.prediction import manifest
from fiso.prediction.artifact import LATENCY, Model

NO_MODEL = "baseline"
MOST_ROWS = 200_000
"""More teach a model of 100 small trees nothing that these do not; read and learned from they take 1 GB and minutes."""
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
class _Champion:
    """What the store points to, and the model behind it where it may serve."""

    pointer: ModelPointer | None = None
    model: Model | None = None
    number: int = 0
    stands_in: str | None = None

    @property
    def learned_until(self) -> datetime | None:
        """Until when it has seen rows; None when nobody whom we trust says so."""
        return self.pointer.trained_at if self.pointer is not None and self.model is not None else None

    @property
    def to_fall_back_on(self) -> ModelPointer | None:
        """This one, if it may serve. What stands beside one that may not is anybody's word."""
        return replace(self.pointer, previous=None) if self.pointer is not None and self.model is not None else None

    @property
    def before(self) -> ModelPointer | None:
        """The one that it replaced, by its own signed word: what else stands beside it is anybody's."""
        previous = self.pointer.previous if self.pointer is not None and self.model is not None else None
        return previous if previous is not None and previous.sha256 == self.stands_in else None

    def latencies(self, data: DataSet) -> Floats:
        """What it says of these rows; what was said when they were served, if it cannot be asked."""
        if self.model is None:
            return data.served_latency_ms
        rows = export.serving_rows(data).tolist()
        return np.array([output.latency_ms for output in self.model.predict_all(rows)], dtype=np.float64)


@dataclass(frozen=True, slots=True, kw_only=True)
class Retrainer:
    """The retraining use case. Only rows of the last `lookback_days` count; the minimums are rows, too. Promotions are
    signed as this `stage`'s, each with the number after the newest that the champion or the `witness` has."""

    models: ModelStore
    archive: Archive
    runs: RetrainingRuns
    signer: Signer
    keys: PublicKeys
    minimum_rows: int
    minimum_new_rows: int
    lookback_days: int
    family: Family = Family.BOOSTING
    stage: str = ""
    witness: PromotionWitness | None = None
    clock: Clock = _utc_now
    metrics: Metrics | None = None

    def retrain(self, *, now: datetime, trigger: str, ends_at: datetime | None = None) -> RetrainingRun:
        """One retraining, recorded; after `ends_at` nothing long is begun. `StoreError` only when not even that it
        begins can be recorded."""
        self._close_killed(now)
        return self._recorded(now, trigger, lambda run: self._run(run, ends_at))

    def roll_back(self, *, now: datetime, trigger: str) -> RetrainingRun:
        """A promotion of the model before the champion, recorded: the old file, with a new number."""
        return self._recorded(now, trigger, self._rolled_back)

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
            before = champion.before
            if before is None:
                return self._ended(run, RunEnd.REFUSED, "the champion names no model before it to go back to")
            manifest.read(before, self.models.artifact(before), self.keys)
            self._point(before, champion)
        except (ModelRefused, StoreError) as error:
            return self._ended(run, RunEnd.FAILED, f"the model before the champion cannot serve: {error}")
        return self._ended(replace(run, challenger_version=before.version), RunEnd.PROMOTED, "rolled back")

    def _point(self, pointer: ModelPointer, champion: _Champion) -> None:
        """Promote a model that is stored already, once more."""
        if pointer.manifest is None:
            raise ModelRefused("it is not signed")
        number, kept = self._next_number(champion)
        stated = manifest.restated(pointer.manifest, stage=self.stage, number=number)
        sealed = signature.signed(stated.text, self.signer.sign)
        self.models.point(replace(pointer, manifest=sealed, previous=None), replaces=champion.pointer)
        self._keep(sealed, kept)

    def _next_number(self, champion: _Champion) -> tuple[int, SignedText | None]:
        """The number after every one that is known, and what the witness holds now."""
        kept = self.witness.read() if self.witness is not None else None
        return max(champion.number, self._number_in(kept)) + 1, kept

    def _number_in(self, kept: SignedText | None) -> int:
        try:
            return (manifest.opened(kept, self.keys).number or 0) if kept is not None else 0
        except ModelRefused as error:
            logger.error("the models' witness counts as none: %s", error)
            return 0

    def _keep(self, sealed: SignedText, kept: SignedText | None) -> None:
        """After the pointer: a witness that were ahead of it would keep everybody off the champion."""
        if self.witness is None:
            return
        try:
            self.witness.keep(sealed, replaces=kept)
        except StoreError as error:
            logger.warning("the models' witness is kept at the next run: %s", error)

    def _run(self, run: RetrainingRun, ends_at: datetime | None) -> RetrainingRun:
        extent = Extent()
        try:
            champion = self._witnessed(self._champion())
            data = dataset.capped(dataset.build(self._log(run.started_at, ends_at, extent)))
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
        new_rows = len(data) if champion.learned_until is None else data.after(champion.learned_until.timestamp())
        halves = dataset.split(data, newest=new_rows)
        refusal = evaluate.refusal_before_training(
            len(data),
            new_rows=new_rows,
            minimum_rows=self.minimum_rows,
            minimum_new_rows=self.minimum_new_rows,
        )
        refusal = refusal or evaluate.refusal_of_split(halves)
        if refusal:
            return self._ended(run, RunEnd.REFUSED, refusal)
        return self._challenge(run, champion, halves, ends_at)

    def _log(self, now: datetime, ends_at: datetime | None, extent: Extent) -> Iterable[InvocationRecord]:
        """What there is to learn from. Reading has at most half of the time: training has no end that can be set."""
        started = self.clock()
        reads_until = (
            started + READING if ends_at is None else min(started + READING, started + (ends_at - started) / 2)
        )
        since = (now - timedelta(days=self.lookback_days)).date()
        return self.archive.since(since, most=MOST_ROWS, ends_at=reads_until, extent=extent)

    def _challenge(
        self, run: RetrainingRun, champion: _Champion, halves: Halves, ends_at: datetime | None
    ) -> RetrainingRun:
        champions_ms = champion.latencies(halves.held_out)
        tried = list[_Challenger]()
        for each in _to_learn_from(halves):
            if ends_at is not None and self.clock() >= ends_at:
                return self._ended(run, RunEnd.OUT_OF_TIME, f"reading {run.rows:,} rows left no time to train")
            tried.append(self._trained(champions_ms, each))
        trained, halves, duel = min(tried, key=lambda one: one.duel.error)
        run = replace(run, champion_error=duel.champion_error, challenger_error=duel.challenger_error)
        verdict = evaluate.judge(
            champion_error=duel.champion_error,
            challenger_error=duel.challenger_error,
            constant_error=duel.constant_error,
            gain=duel.gain,
            gain_of_the_rest=duel.gain_of_the_rest,
        )
        try:
            origin = export.Origin(version_prefix=f"{run.started_at:%Y%m%dT%H%M%SZ}", trained_at=run.started_at)
            files = export.package(trained, halves, origin)
            run = replace(run, challenger_version=files.pointer.version)
            if verdict.promoted:
                self._publish(files, champion)
        except (ModelRefused, StoreError) as error:
            return self._ended(run, RunEnd.FAILED, f"the challenger could not be published: {error}")
        return self._ended(run, RunEnd.PROMOTED if verdict.promoted else RunEnd.REFUSED, verdict.reason)

    def _trained(self, champions_ms: Floats, halves: Halves) -> "_Challenger":
        trained = train.train(halves.train, family=self.family)
        return _Challenger(trained, halves, _duel(champions_ms, trained.fit_of(LATENCY), halves))

    def _publish(self, files: ModelFiles, champion: _Champion) -> None:
        """Sign, read it as the orchestrator will, then move the pointer from the champion it was compared with."""
        number, kept = self._next_number(champion)
        stands_in = champion.to_fall_back_on
        sealed = export.signed(
            export.promoted(files, stage=self.stage, number=number, stands_in=stands_in.sha256 if stands_in else None),
            self.signer,
        )
        # As whoever serves it will: a signature by a key that is not trusted would leave every environment on the old
        # model.
        manifest.read(sealed.pointer, sealed.artifact, self.keys)
        pointer = replace(sealed.pointer, previous=stands_in)
        self.models.publish(replace(sealed, pointer=pointer), replaces=champion.pointer)
        if pointer.manifest is not None:
            self._keep(pointer.manifest, kept)

    def _witnessed(self, champion: _Champion) -> _Champion:
        """A champion that serves is promoted anew where it has no number, and kept by the witness where that was
        missed."""
        pointer = champion.pointer
        if pointer is None or champion.model is None or pointer.manifest is None:
            return champion
        if champion.number == 0:
            self._point(pointer, champion)
            return self._champion()
        kept = self.witness.read() if self.witness is not None else None
        if self.witness is not None and self._number_in(kept) < champion.number:
            self._keep(pointer.manifest, kept)
        return champion

    def _champion(self) -> _Champion:
        """The champion, verified. One that must not serve is none, so that it does not stop the next one."""
        try:
            pointer = self.models.champion()
        except ModelRefused as error:
            logger.warning("the champion's pointer counts as none: %s", error)
            return _Champion()
        if pointer is None:
            return _Champion()
        try:
            stated = manifest.opened(pointer.manifest, self.keys)
            least = self._number_in(self.witness.read() if self.witness is not None else None)
            manifest.check_promotion(stated, stage=self.stage, least=least, accepts_older=True)
            model = manifest.read(pointer, self.models.artifact(pointer), self.keys)
            return _Champion(pointer=pointer, model=model, number=stated.number or 0, stands_in=stated.stands_in)
        except ModelRefused as error:
            logger.warning("champion %s cannot be asked, logged predictions stand for it: %s", pointer.version, error)
            return _Champion(pointer=pointer)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Duel:
    champion_error: float | None
    challenger_error: float | None
    constant_error: float | None
    gain: Estimate | None
    gain_of_the_rest: Estimate | None

    @property
    def error(self) -> float:
        return inf if self.challenger_error is None else self.challenger_error


class _Challenger(NamedTuple):
    trained: Trained
    halves: Halves
    duel: _Duel


def _to_learn_from(halves: Halves) -> list[Halves]:
    """All rows, and where several tenants report, what FISO saw alone if that is enough. Which of the two is right the
    rows tell that are held out."""
    alone = replace(halves, train=halves.train.seen_by_fiso)
    is_same = halves.train.has_one_tenant or len(alone.train) == len(halves.train)
    return [halves] if is_same or evaluate.refusal_of_split(alone) else [halves, alone]


def _duel(champions_ms: Floats, challenger: Fit, halves: Halves) -> _Duel:
    """The errors over the same rows. Of one that the champion has no word on it says the usual latency, as without a
    champion: a few rows that it has one on must not decide.

    A challenger that has no finite word on one of them cannot be measured.
    """
    held_out, learned_ms = halves.held_out, halves.train.latency_ms
    said_ms = challenger.predict(held_out.features)
    usual_ms = np.full(len(said_ms), np.median(learned_ms[np.isfinite(learned_ms)]))
    has_word = np.isfinite(champions_ms)
    rivals_ms = np.where(has_word, champions_ms, usual_ms)
    gains = evaluate.gains(said_ms, rivals_ms, held_out.latency_ms)
    return _Duel(
        champion_error=evaluate.latency_error(rivals_ms, held_out.latency_ms) if np.any(has_word) else None,
        challenger_error=evaluate.latency_error(said_ms, held_out.latency_ms) if np.all(np.isfinite(said_ms)) else None,
        constant_error=evaluate.latency_error(usual_ms, held_out.latency_ms),
        gain=evaluate.gain(gains),
        gain_of_the_rest=evaluate.gain_of_the_rest(gains, held_out.tenant),
    )


def _version_of(champion: ModelPointer | None, data: DataSet) -> str:
    """The published version; before the first one, whatever served last."""
    if champion is not None:
        return champion.version
    return next((version for version in reversed(data.served_by) if version), NO_MODEL)
