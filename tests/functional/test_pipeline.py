"""The five steps of a retraining, promotion by another role, and the registry."""

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from fiso.adapters.aws.candidates import S3Candidates, S3Pins, offer_of
from fiso.adapters.aws.models import S3ModelStore
from fiso.adapters.aws.s3 import S3RetrainingRuns
from fiso.codecs.run import RUNS
from fiso.domain.errors import ModelRefused, StoreUnavailable
from fiso.domain.model import ModelPointer, RetrainingRun, RunEnd, TrialTerms, Verdict
from fiso.learning import dataset, quality
from fiso.ports import ModelFiles
from fiso.prediction import manifest
from fiso.services.maintenance.promote import Promoter, Registry
from fiso.services.maintenance.retrain import Retrainer
from functions.keeper import models as keeper_models
from tests.builders import NOW, changed
from tests.functional.test_retrain import AFTER, a_log, a_retrainer
from tests.memory_s3 import MemoryS3
from tests.models import a_signer, trusted

STEPS = [
    "data_quality_check",
    "model_performance_validation",
    "a_b_testing_deployment",
    "champion_challenger_comparison",
    "production_deployment",
]
HOUR = timedelta(hours=1)


class Stage:
    """A bucket, whoever trains and whoever promotes."""

    def __init__(self) -> None:
        self.bucket = MemoryS3()
        self.store = S3ModelStore(self.bucket, "b")
        self.candidates = S3Candidates(self.bucket, "b")
        promoter = Promoter(models=self.store, signer=a_signer(), keys=trusted(), stage="s")
        self.registry = Registry(promoter=promoter, candidates=self.candidates, pins=S3Pins(self.bucket, "b"))

    def retrainer(self, *records: Any) -> Retrainer:
        return replace(
            a_retrainer(*records),
            models=self.store,
            runs=S3RetrainingRuns(self.bucket, "b"),
            stage="s",
            signer=NoKey(),
            desk=self,
        )

    def offer(self, files: ModelFiles, *, replaces: ModelPointer | None, promote: bool) -> None:
        """As the keeper's Lambda is asked: what lies in the bucket, and which bytes are meant."""
        self.candidates.put(files)
        self.ask(**offer_of(files, replaces=replaces, promote=promote))

    def begin_trial(self, files: ModelFiles, terms: TrialTerms, *, replaces: ModelPointer) -> None:
        self.candidates.put(files)
        offer = offer_of(files, replaces=replaces, promote=False)
        self.ask(**{**offer, "do": "begin_trial", "terms": RUNS.to_document(terms)})

    def end_trial(self, version: str, *, promote: bool) -> None:
        self.ask(do="end_trial", version=version, promote=promote)

    def roll_back(self) -> str:
        return str(self.ask(do="roll_back")["model"]["version"])

    def ask(self, **order: Any) -> Mapping[str, Any]:
        said = keeper_models.ordered(self.registry, json.loads(json.dumps(order)))
        if "refused" in said:
            raise ModelRefused(said["refused"])
        return said

    def serving(self) -> str | None:
        """The champion, as whoever serves it verifies it."""
        pointer = self.store.champion()
        return None if pointer is None else manifest.read(pointer, self.store.artifact(pointer), trusted()).version


class NoKey:
    def sign(self, message: bytes) -> tuple[str, bytes]:
        raise StoreUnavailable("the retrainer signs nothing")


def trained(stage: Stage, hours: int = 0, slower: float = 1.0) -> RetrainingRun:
    start = NOW + hours * (HOUR - timedelta(seconds=1_000))  # a log begins `first` seconds after its start
    records = a_log(300, first=1_000 * hours, start=start, slower=slower)
    return stage.retrainer(*records).retrain(now=NOW + (hours + 1) * HOUR, trigger="schedule")


def test_each_step_is_recorded_with_its_figures_and_read_again() -> None:
    stage = Stage()
    run = trained(stage)
    assert run.promoted, run.reason
    assert [step.name for step in run.steps] == STEPS
    assert {step.verdict for step in run.steps} <= {Verdict.PASSED, Verdict.SKIPPED}
    figures = run.steps[1].figures
    assert {"error", "baseline_error", "r2_log_latency", "ceiling", "share_of_ceiling", "brier", "within_p95"} <= set(
        figures
    )
    assert figures["error"] < figures["baseline_error"]
    assert S3RetrainingRuns(stage.bucket, "b").latest(1)[0].steps == run.steps
    assert RUNS.from_document(RetrainingRun, RUNS.to_document(run)).steps == run.steps


def test_after_a_step_that_stops_nothing_follows_and_the_candidate_is_kept() -> None:
    stage = Stage()
    assert trained(stage).promoted
    champion = stage.serving()
    run = trained(stage, 1)  # the world is as it was: nothing is better beyond chance
    assert run.end is RunEnd.REFUSED
    assert run.steps[-1].verdict is Verdict.STOPPED
    assert [step.name for step in run.steps] == STEPS[: len(run.steps)]
    assert stage.serving() == champion
    assert run.challenger_version in stage.candidates.versions()


def test_the_retrainer_neither_signs_nor_writes_models() -> None:
    stage, written = Stage(), list[str]()
    stage.bucket.before = lambda operation, asked: written.append(asked["Key"]) if operation == "put" else None
    retrainer = replace(stage.retrainer(*a_log(300)), desk=Absent())
    run = retrainer.retrain(now=NOW + HOUR, trigger="schedule")
    assert (run.end, stage.serving()) == (RunEnd.FAILED, None)
    assert "nobody is there" in run.reason
    assert {key.partition("/")[0] for key in written} == {"retraining"}


class Absent:
    def offer(self, files: ModelFiles, *, replaces: ModelPointer | None, promote: bool) -> None:
        raise StoreUnavailable("nobody is there")

    def begin_trial(self, files: ModelFiles, terms: TrialTerms, *, replaces: ModelPointer) -> None:
        raise StoreUnavailable("nobody is there")

    def end_trial(self, version: str, *, promote: bool) -> None:
        raise StoreUnavailable("nobody is there")

    def roll_back(self) -> str:
        raise StoreUnavailable("nobody is there")


def test_what_lies_in_the_bucket_is_not_promoted_for_what_was_offered() -> None:
    stage, other = Stage(), Stage()
    assert trained(stage).promoted
    assert trained(other, 1, slower=2.0).promoted
    theirs, version = other.candidates.versions()[0], stage.serving()
    for name in ("model.joblib", "candidate.json"):
        mine = f"candidates/{version}/{name}"
        stage.bucket.objects[mine] = other.bucket.objects[f"candidates/{theirs}/{name}"]
    with pytest.raises(ModelRefused, match="not the one that was offered"):
        stage.ask(do="offer", version=version, sha256="0" * 64, manifest_sha256="0" * 64, promote=True)
    stage.bucket.objects[f"candidates/{version}/admitted.json"] = stage.bucket.objects[
        f"candidates/{version}/candidate.json"
    ]
    with pytest.raises(ModelRefused, match="there is no admitted candidate"):
        stage.ask(do="promote", version=theirs)
    assert stage.serving() == version


def test_an_admitted_candidate_is_no_promotion() -> None:
    stage = Stage()
    run = trained(stage)
    admitted = stage.candidates.get(str(run.challenger_version))
    assert admitted is not None
    stated = manifest.opened(admitted.pointer.manifest, trusted())
    with pytest.raises(ModelRefused, match="promoted on stage"):
        manifest.check_promotion(stated, stage="s", least=0, accepts_older=True)


def test_operators_promote_go_back_and_pin() -> None:
    stage = Stage()
    first, second = trained(stage).challenger_version, trained(stage, 1, slower=2.0).challenger_version
    assert stage.serving() == second != first
    stage.ask(do="roll_back")
    assert stage.serving() == first
    stage.ask(do="promote", version=second)
    assert stage.serving() == second
    assert stage.ask(do="pin", version=first)["pinned"] == first
    assert stage.serving() == first
    run = trained(stage, 2, slower=4.0)
    assert (run.end, stage.serving()) == (RunEnd.FAILED, first)
    assert "is pinned" in run.reason
    stage.ask(do="unpin")
    assert trained(stage, 3, slower=8.0).promoted


@pytest.mark.parametrize(
    "order",
    [None, 7, [], {}, {"do": "delete"}, {"do": "promote"}, {"do": "promote", "version": "../champion"}, {"do": "offer"},
     {"do": "pin", "version": "not-there"}, {"do": "roll_back"}],
)  # fmt: skip
def test_orders_that_cannot_be_are_refused_in_a_line(order: object) -> None:
    stage = Stage()
    said = keeper_models.ordered(stage.registry, order)
    assert set(said) == {"refused"}
    assert "\n" not in said["refused"]
    assert stage.bucket.objects == {}


def test_the_last_five_are_kept_and_the_champion_always() -> None:
    stage = Stage()
    versions = [str(trained(stage, hours, slower=2.0**hours).challenger_version) for hours in range(7)]
    assert stage.serving() == versions[-1]
    assert sorted(stage.store.versions()) == sorted(versions[-5:])
    assert sorted(stage.candidates.versions()) == sorted(versions[-5:])


BAD: Mapping[str, Any] = {
    "features": {"features": {"request_size_bytes": float("nan")}},
    "latency": {"execution_time_ms": -1.0},
    "longer than any call": {"execution_time_ms": 1e9},
    "cost": {"cost_usd": -1.0},
    "ahead of the clock": {"timestamp": NOW + 5 * HOUR},
}


@pytest.mark.parametrize("damage", BAD.values(), ids=list(BAD))
def test_bad_rows_are_quarantined_and_too_many_stop(damage: Mapping[str, Any]) -> None:
    good, bad = a_log(400), [changed(record, **damage) for record in a_log(120, first=400)]
    few = quality.check(dataset.build([*good, *bad[:20]], now=NOW + HOUR))
    assert few.verdict is Verdict.PASSED
    assert sum(value for name, value in few.figures.items() if name.startswith("quarantined.")) == 20
    many = quality.check(dataset.build([*good, *bad], now=NOW + HOUR))
    assert many.verdict is Verdict.STOPPED
    assert "cannot be true" in many.reason


def test_a_day_that_was_copied_counts_once() -> None:
    log = a_log(300)
    again = [
        changed(record, invocation_id=f"{number:032x}", timestamp=record.timestamp + timedelta(days=1))
        for number, record in enumerate(log)
    ]
    data = dataset.build([*log, *again])
    assert (len(data), dict(data.quarantined)) == (300, {"twice": 300})


def test_a_feature_that_tells_the_answer_stops() -> None:
    leaked = [
        changed(r, features={**r.decision.features, "historical_avg_latency": (r.result.execution_time_ms or 0) * 2})
        for r in a_log(300)
    ]
    assert quality.leaking(dataset.build(a_log(300))) is None
    run = a_retrainer(*leaked).retrain(now=AFTER, trigger="test")
    assert (run.end, len(run.steps)) == (RunEnd.REFUSED, 1)
    assert "historical_avg_latency tells the latency by itself" in run.reason
