"""A challenger's trial: who is drawn, what an environment does that cannot read it, and how it ends."""

import random
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from functools import cache
from typing import Any

import pytest

from fiso.adapters.aws.models import model_pointer_from, model_pointer_to
from fiso.codecs import record as codec
from fiso.domain.decision import Reason
from fiso.domain.endpoint import FunctionName
from fiso.domain.model import DrawnBy, ModelPointer, RunEnd, TrialTerms, Verdict
from fiso.domain.record import InvocationRecord
from fiso.domain.request import TenantId
from fiso.domain.signed import SignedText
from fiso.domain.steering import CHALLENGER, CHAMPION, ArmDraw
from fiso.learning import arms
from fiso.prediction import manifest
from fiso.services.freshness.cached import FRESH_S
from fiso.services.maintenance.promote import Promoter
from fiso.services.maintenance.retrain import Retrainer
from fiso.services.maintenance.trial import TrialRules
from fiso.testing.memory import InMemoryArchive, InMemoryMetrics, InMemoryModelStore
from fiso.testing.rig import Rig, Stores, word_count
from tests.builders import NOW, a_record, an_attempt
from tests.functional.test_pipeline import HOUR, STEPS, Stage, trained
from tests.functional.test_retrain import a_log
from tests.memory_s3 import MemoryS3
from tests.models import a_signer, promoted, trusted, trusting

TERMS = TrialTerms(share=0.25, salt="s", until=NOW + timedelta(days=2))


def on_trial(terms: TrialTerms = TERMS) -> InMemoryModelStore:
    """A champion `m-1` that was promoted, and `m-2` beside it."""
    models = InMemoryModelStore(promoted(1))
    promoter = Promoter(models=models, signer=a_signer(), keys=trusted(), stage="local")
    promoter.begin_trial(promoted(2), terms, promoter.champion())
    return models


def a_rig(models: InMemoryModelStore) -> Rig:
    rig = Rig(word_count(), stores=Stores(models=models), ports=trusting)
    rig.invoke("word-count")
    rig.advance(FRESH_S + 0.1)
    rig.invoke("word-count")
    rig.advance(0.1)
    return rig


def decided(rig: Rig, times: int, **headers: str) -> list[InvocationRecord]:
    known = len(rig.records)
    for _ in range(times):
        rig.invoke("word-count", **headers)
    return list(rig.records[known:])


def versions(records: list[InvocationRecord]) -> dict[str | None, int]:
    said = [record.decision.model_version for record in records]
    return {version: said.count(version) for version in sorted(set(said), key=str)}


def test_a_share_of_the_requests_is_decided_by_the_challenger_and_each_record_says_by_which() -> None:
    models = on_trial()
    records = decided(a_rig(models), 240)
    assert 40 <= versions(records)["m-2"] <= 80
    arms_of = {
        (record.decision.model_version, draw.run, draw.arm) for record in records if (draw := record.decision.arm)
    }
    assert arms_of == {("m-1", "s", CHAMPION), ("m-2", "s", CHALLENGER)}
    read = [codec.from_document(codec.to_document(record)) for record in records[:20]]
    assert [each.decision.arm for each in read if isinstance(each, InvocationRecord)] == [
        record.decision.arm for record in records[:20]
    ]
    champion = models.champion()
    assert champion is not None
    assert model_pointer_from(model_pointer_to(champion), origin="layer") == champion


def test_a_tenant_that_is_drawn_stays_in_its_arm_in_every_environment() -> None:
    models = on_trial(replace(TERMS, share=0.5, drawn_by=DrawnBy.TENANT))
    first, second = a_rig(models), a_rig(models)
    trial = first.app.orchestrator.sources.trial(first.clock())
    assert trial is not None
    drawn = [trial.is_drawn(request=str(n), tenant=f"tenant-{n}") for n in range(200)]
    assert 70 <= sum(drawn) <= 130
    assert len({record.decision.model_version for rig in (first, second) for record in decided(rig, 20)}) == 1


def of_another_champion(pointer: ModelPointer) -> ModelPointer:
    """The same trial, put beside a later champion by somebody who can write the bucket."""
    later = promoted(3).pointer
    return replace(later, trial=pointer.trial)


def with_other_terms(pointer: ModelPointer) -> ModelPointer:
    trial = pointer.trial
    assert trial is not None
    assert trial.manifest is not None
    text = trial.manifest.text.replace('"share":0.25', '"share":0.5')
    assert text != trial.manifest.text
    return replace(pointer, trial=replace(trial, manifest=replace(trial.manifest, text=text)))


def never_signed(pointer: ModelPointer) -> ModelPointer:
    return replace(pointer, trial=replace(promoted(2).pointer, manifest=SignedText(text="{}")))


def merely_promoted(pointer: ModelPointer) -> ModelPointer:
    return replace(pointer, trial=promoted(2).pointer)


@pytest.mark.parametrize("forged", [of_another_champion, with_other_terms, never_signed, merely_promoted])
def test_what_was_not_signed_as_this_champions_trial_decides_nothing(
    forged: Callable[[ModelPointer], ModelPointer],
) -> None:
    models = on_trial()
    models.publish(promoted(3), replaces=models.pointer) if forged is of_another_champion else None
    pointer = forged(on_trial().pointer or promoted(1).pointer)
    models.pointer = pointer
    rig = a_rig(models)
    records = decided(rig, 30)
    assert versions(records) == {pointer.version: 30}
    assert {record.decision.arm for record in records} == {None}
    assert rig.metrics.total("ModelRefused") == 1, "told once, not at every look"


def test_an_environment_that_cannot_read_the_challenger_serves_the_champion() -> None:
    models = on_trial()
    files = models.models["m-2"]
    models.models["m-2"] = replace(files, artifact=files.artifact[:-9] + bytes(9))
    records = decided(a_rig(models), 40)
    assert versions(records) == {"m-1": 40}
    assert {record.decision.arm for record in records} == {None}, "it is in no arm: it would be in the wrong one"


def test_a_trial_that_nobody_ends_is_over_by_itself() -> None:
    rig = a_rig(on_trial())
    rig.clock.advance(3 * 86_400)
    assert versions(decided(rig, 60)) == {"m-1": 60}


@cache
def prepared() -> MemoryS3:
    """A champion, trained and promoted; it is copied for each test."""
    stage = Stage()
    assert trained(stage).promoted
    return stage.bucket


class TrialStage(Stage):
    """A champion, and a challenger that was better on what was recorded and is on trial."""

    def __init__(self, **rules: Any) -> None:
        super().__init__()
        self.bucket.objects.update(prepared().objects)
        self.rules, self.metrics, self.archive = TrialRules(**rules), InMemoryMetrics(), InMemoryArchive()
        log = a_log(300, first=1_000, start=NOW + HOUR - timedelta(seconds=1_000), slower=2.0)
        self.begun = self.now = NOW + 2 * HOUR
        self.before = self.serving()
        self.run = self.trainer(*log).retrain(now=self.now, trigger="schedule")

    def trainer(self, *records: InvocationRecord) -> Retrainer:
        made = replace(self.retrainer(*records), trial=self.rules, metrics=self.metrics, clock=lambda: self.now)
        return made if records else replace(made, archive=self.archive)

    def routed(self, per_arm: int, *, factor: float = 1.0, failing: float = 0.0, **changes: Any) -> None:
        """So many requests of each arm, a second apart; those of the challenger take so many times as long."""
        salt = self.salt
        rng, records = random.Random(5), []
        for number in range(2 * per_arm):
            arm = CHALLENGER if number % 2 else CHAMPION
            slow = factor if arm == CHALLENGER else 1.0
            failed = arm == CHALLENGER and rng.random() < failing
            attempt = replace(an_attempt(), latency_ms=100.0 * slow * rng.lognormvariate(0, 0.3))
            records.append(
                a_record(
                    50_000 + number,
                    timestamp=self.begun + timedelta(seconds=number),
                    arm=ArmDraw(run=salt, arm=arm),
                    attempts=(attempt,),
                    error_occurred=failed,
                    **changes,
                )
            )
        self.archive.append(records, batch_id="trial")
        self.now = self.begun + timedelta(seconds=2 * per_arm) + timedelta(minutes=10)

    @property
    def salt(self) -> str:
        pointer = self.store.champion()
        assert pointer is not None
        assert pointer.trial is not None
        terms = manifest.opened(pointer.trial.manifest, trusted()).trial
        assert terms is not None
        return terms.salt

    def look(self) -> Any:
        return self.trainer().look(now=self.now)


def test_a_better_challenger_is_on_trial_first_and_becomes_the_champion_when_it_does_no_harm() -> None:
    stage = TrialStage(requests=300)
    assert (stage.run.end, stage.run.promoted, stage.serving()) == (RunEnd.ON_TRIAL, False, stage.before)
    assert [step.name for step in stage.run.steps] == STEPS[:4]
    assert stage.run.steps[2].verdict is Verdict.UNDER_WAY
    stage.routed(200)
    seen = stage.look()
    assert (seen.end, seen.reason) == (RunEnd.ON_TRIAL, "on trial: 200 of 300 requests, no harm so far")
    stage.routed(400)
    ended = stage.look()
    assert (ended.end, ended.promoted, stage.serving()) == (RunEnd.PROMOTED, True, stage.run.challenger_version)
    assert [step.name for step in ended.steps] == STEPS
    figures = ended.steps[2].figures
    assert (figures["trial_requests"], figures["trial_requests_of_champion"]) == (400, 400)
    assert figures["trial_latency_ms"] == pytest.approx(figures["trial_latency_ms_of_champion"], rel=0.15)
    assert stage.trainer().runs.latest(1) == [ended]
    assert stage.look() is None
    assert stage.ask(do="roll_back")["model"]["version"] == stage.before


@pytest.mark.parametrize("harm", [{"factor": 1.5}, {"failing": 0.2}], ids=["slower", "failing"])
def test_harm_stops_the_trial_and_the_champion_decides_all(harm: dict[str, float]) -> None:
    stage = TrialStage(requests=10_000)
    stage.routed(500, **harm)
    run = stage.look()
    assert (run.end, run.promoted, stage.serving()) == (RunEnd.REFUSED, False, stage.before)
    assert run.steps[2].verdict is Verdict.STOPPED
    assert "did harm" in run.reason
    assert stage.metrics.total("ModelTrialStopped") == 1
    pointer = stage.store.champion()
    assert pointer is not None
    assert pointer.trial is None
    assert stage.look() is None


@pytest.mark.parametrize(
    ("changes", "requests"),
    [
        ({"tenant": TenantId("t")}, 60),
        ({"reason": Reason.CONTROL}, 0),
        ({"reason": Reason.AFFINITY}, 0),
        ({"reason": Reason.POLICY}, 0),
    ],
    ids=["decided", "control", "session", "pinned"],
)
def test_only_requests_that_the_models_decided_count(changes: dict[str, Any], requests: int) -> None:
    stage = TrialStage()
    stage.routed(60, factor=3.0 if not requests else 1.0, **changes)
    assert stage.look().steps[2].figures["trial_requests"] == requests


def test_time_ends_a_trial_of_few_requests_and_one_that_decided_none_is_refused() -> None:
    for per_arm, end in ((30, RunEnd.PROMOTED), (0, RunEnd.REFUSED)):
        stage = TrialStage(hours=1.0)
        stage.routed(per_arm)
        stage.now += timedelta(hours=2)
        assert stage.look().end is end


def test_nobody_is_trained_while_another_is_on_trial_and_a_pin_ends_it() -> None:
    stage = TrialStage()
    later = stage.trainer().retrain(now=stage.now + HOUR, trigger="schedule")
    assert (later.end, stage.serving()) == (RunEnd.REFUSED, stage.before)
    assert "is on trial" in later.reason
    stage.routed(1_200)
    stage.registry.pins.pin(stage.before) if stage.registry.pins is not None else None
    assert stage.look().end is RunEnd.REFUSED
    assert stage.serving() == stage.before


def test_a_look_that_was_killed_is_made_again_and_promotes_once() -> None:
    stage = TrialStage(requests=100)
    stage.routed(200)
    stage.ask(do="end_trial", version=stage.run.challenger_version, promote=True)  # and killed before it was recorded
    assert stage.look().end is RunEnd.PROMOTED
    assert stage.serving() == stage.run.challenger_version


def test_a_trial_that_no_run_knows_of_is_ended() -> None:
    stage = TrialStage()
    stage.trainer().runs.append(replace(stage.run, end=RunEnd.KILLED))
    assert stage.look() is None
    pointer = stage.store.champion()
    assert pointer is not None
    assert (pointer.version, pointer.trial) == (stage.before, None)


def test_an_equal_arm_is_called_harmful_in_at_most_the_stated_share_however_often_one_looks() -> None:
    """Heavy tails, two functions, every block a look."""
    called = [harmful(seed, factor=1.0) for seed in range(200)]
    assert sum(called) <= 10
    assert all(harmful(seed, factor=3.0) for seed in range(20))


def harmful(seed: int, *, factor: float) -> bool:
    rng, found = random.Random(seed), []
    for number in range(500):
        arm = CHALLENGER if rng.random() < 0.1 else CHAMPION
        charge = (factor if arm == CHALLENGER else 1.0) * rng.lognormvariate(0, 0.5)
        found.append(
            arms.Outcome(
                at=NOW + timedelta(seconds=number),
                function=FunctionName(rng.choice(["f", "g"])),
                tenant="t",
                arm=arm,
                failed=rng.random() < 0.02,
                latency_ms=charge,
                cost_usd=1e-6,
                charge=charge,
            )
        )
    return arms.harm(found, CHALLENGER, CHAMPION).at is not None
