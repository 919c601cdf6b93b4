"""Signed models that were champions once: whoever may write the bucket and cannot sign brings none of them back
(decision 22)."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from fiso.domain.signed import SignedText
from fiso.ports import ModelFiles
from fiso.prediction import manifest
from fiso.services.maintenance.retrain import Retrainer
from fiso.settings import CatalogTrust
from fiso.testing.endpoints import OK
from fiso.testing.memory import (
    InMemoryModelStore,
    InMemoryPromotionWitness,
    InMemoryRetrainingRuns,
    away,
)
from fiso.testing.rig import READ_AGAIN_S, SETTINGS, Rig, Stores, word_count
from fiso_cli.training import keys
from tests.builders import failing
from tests.functional.test_retrain import AFTER, a_log, a_retrainer
from tests.models import a_signer, an_artifact, files_of, promoted, trusted, trusting

PACKAGED = files_of(an_artifact(version="packaged"), version="packaged")
OLD, BEFORE, CHAMPION = promoted(1), promoted(2), promoted(3, stands_in=promoted(2).pointer.sha256)
STRANGER = keys.new()
SEAL_OF_A_CATALOG = keys.sealing(a_signer()).seal(9, b"a catalog")


def stating(files: ModelFiles, stated: SignedText | None) -> ModelFiles:
    return replace(files, pointer=replace(files.pointer, manifest=stated))


def in_bucket(*models: ModelFiles) -> InMemoryModelStore:
    """The last one is the champion, and remembers the one before it."""
    store = InMemoryModelStore(*models)
    assert store.pointer is not None
    store.pointer = replace(store.pointer, previous=models[-2].pointer if len(models) > 1 else None)
    return store


def witness_of(files: ModelFiles) -> InMemoryPromotionWitness:
    return InMemoryPromotionWitness(files.pointer.manifest)


def environment(
    models: InMemoryModelStore, witness: InMemoryPromotionWitness | None = None, *, older: bool = False
) -> Rig:
    """A fresh environment."""
    return Rig(
        word_count(),
        respond=failing(OK),
        stores=Stores(layer=InMemoryModelStore(PACKAGED), models=models),
        settings=replace(SETTINGS, catalog=CatalogTrust(accepts_older_forms=older)),
        ports=lambda ports: replace(trusting(ports), promotions=witness),
    )


def model_of(rig: Rig) -> str:
    """After a moment in which the store was read."""
    rig.invoke("word-count")
    rig.advance(READ_AGAIN_S)
    return rig.invoke("word-count").headers["x-fiso-model-version"]


PUT_BACK = {
    "the oldest": OLD,
    "the one before": BEFORE,
    "the oldest under the champion's name": stating(CHAMPION, OLD.pointer.manifest),
    "of another stage": promoted(9, stage="prod"),
    "of no stage": promoted(9, stage=None),  # type: ignore[arg-type]
    "signed by another key": promoted(9, signer=STRANGER),
    "a catalog's seal": stating(promoted(9), SEAL_OF_A_CATALOG),
    "a number that was changed": stating(
        promoted(9),
        replace(
            OLD.pointer.manifest or SignedText(text=""), text=(promoted(9).pointer.manifest or SignedText(text="")).text
        ),
    ),
    "without a number": files_of(an_artifact()),
    "not signed": stating(promoted(9), None),
    "negative": promoted(-1),
}


@pytest.mark.parametrize("bad", PUT_BACK.values(), ids=PUT_BACK.keys())
def test_what_is_put_back_serves_in_no_fresh_environment(bad: ModelFiles) -> None:
    rig = environment(in_bucket(bad), witness_of(CHAMPION))
    assert model_of(rig) == "packaged"
    assert rig.metrics.total("ModelRefused") >= 1


@pytest.mark.parametrize("bad", PUT_BACK.values(), ids=PUT_BACK.keys())
def test_nor_beside_a_champion_that_is_refused(bad: ModelFiles) -> None:
    """Where the one before stands, whose place is signed by nobody."""
    broken = stating(CHAMPION, None)
    assert model_of(environment(in_bucket(bad, broken), witness_of(CHAMPION))) == "packaged"
    damaged = replace(CHAMPION, artifact=b"damaged")
    found = model_of(environment(in_bucket(bad, damaged), witness_of(CHAMPION)))
    assert found == (BEFORE.pointer.version if bad is BEFORE else "packaged"), "only the one that the champion names"


@pytest.mark.parametrize("bad", PUT_BACK.values(), ids=PUT_BACK.keys())
def test_a_warm_environment_stays_where_it_is_without_any_witness(bad: ModelFiles) -> None:
    models = in_bucket(CHAMPION)
    rig = environment(models)
    assert model_of(rig) == "m-3"
    models.models[bad.pointer.version], models.pointer = bad, bad.pointer
    rig.advance(READ_AGAIN_S)
    assert model_of(rig) == "m-3"


def test_the_newest_serves_and_going_back_is_a_new_promotion() -> None:
    models, witness = in_bucket(BEFORE, CHAMPION), witness_of(CHAMPION)
    rig = environment(models, witness)
    assert model_of(rig) == "m-3"
    retrainer = over(models, witness)
    run = retrainer.roll_back(now=AFTER, trigger="command")
    assert (run.promoted, run.champion_version, run.challenger_version) == (True, "m-3", "m-2"), run.reason
    assert model_of(rig) == model_of(environment(models, witness)) == "m-2"
    models.pointer = CHAMPION.pointer
    assert model_of(rig) == "m-2", "the one that was left is not put back either"
    assert model_of(environment(models, witness)) == "packaged"


def test_going_back_leads_to_no_model_but_the_one_that_the_champion_names() -> None:
    models, witness = in_bucket(OLD, CHAMPION), witness_of(CHAMPION)
    run = over(models, witness).roll_back(now=AFTER, trigger="command")
    assert (run.promoted, run.reason) == (False, "the champion names no model before it to go back to")
    assert models.pointer is not None
    assert models.pointer.version == "m-3"


@pytest.mark.parametrize("look", [lambda _: witness_of(OLD), lambda _: InMemoryPromotionWitness()], ids=["old", "none"])
def test_the_retrainer_tells_the_witness_what_it_missed(look: Callable[[None], InMemoryPromotionWitness]) -> None:
    models, witness = in_bucket(BEFORE, CHAMPION), look(None)
    over(models, witness).retrain(now=AFTER, trigger="schedule")
    assert witness.kept == CHAMPION.pointer.manifest


def test_promotions_are_numbered_after_all_that_is_known_and_no_old_champion_is_compared_with() -> None:
    models, witness = in_bucket(OLD), witness_of(CHAMPION)
    run = replace(a_retrainer(*a_log(200), models=models), stage="local", witness=witness).retrain(
        now=AFTER, trigger="x"
    )
    assert run.promoted, run.reason
    assert models.pointer is not None
    assert manifest.opened(models.pointer.manifest, trusted()).number == 4
    assert models.pointer.previous is None, "what was put back is no way back"
    assert witness.kept == models.pointer.manifest


def test_without_an_answer_of_the_witness_the_packaged_model_serves_until_there_is_one() -> None:
    witness = witness_of(CHAMPION)
    witness.before = away("throttled", "read")
    rig = environment(in_bucket(CHAMPION), witness)
    assert model_of(rig) == "packaged"
    witness.before = lambda _: None
    rig.advance(READ_AGAIN_S)
    assert model_of(rig) == "m-3"


def test_a_witness_that_nobody_trusted_has_signed_keeps_no_champion_out() -> None:
    witness = witness_of(promoted(2**60, signer=STRANGER))
    models = in_bucket(CHAMPION)
    assert model_of(environment(models, witness)) == "m-3"
    over(models, witness).retrain(now=AFTER, trigger="schedule")
    assert witness.kept == CHAMPION.pointer.manifest


def test_a_champion_from_before_there_were_numbers_serves_where_the_stage_says_so_until_it_gets_one() -> None:
    models, witness = in_bucket(files_of(an_artifact())), InMemoryPromotionWitness()
    assert model_of(environment(models, witness)) == "packaged"
    assert model_of(environment(models, witness, older=True)) == "by-hand"
    over(models, witness).retrain(now=AFTER, trigger="schedule")
    assert model_of(environment(models, witness)) == "by-hand"


def test_a_witness_that_cannot_be_written_stops_no_promotion() -> None:
    models, witness = in_bucket(BEFORE), InMemoryPromotionWitness()
    witness.before = away("throttled", "keep")
    run = replace(a_retrainer(*a_log(200), models=models), stage="local", witness=witness).retrain(
        now=AFTER, trigger="x"
    )
    assert run.promoted, run.reason


def over(models: InMemoryModelStore, witness: InMemoryPromotionWitness) -> Retrainer:
    """A retrainer that has no rows to learn from."""
    return replace(a_retrainer(models=models), stage="local", witness=witness, runs=InMemoryRetrainingRuns())
