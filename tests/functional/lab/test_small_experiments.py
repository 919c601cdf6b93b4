"""A small, fast part of each claim that the laboratory makes about models, retrainings, PostgreSQL and clocks."""

import random
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.lab.chaos import bad_models, database, outage, poisoning, retrainings, training_rows, wrong_clocks
from tests.lab.chaos.experiment import Setting
from tests.lab.chaos.experiments import clocks, models, retraining, stability
from tests.lab.chaos.folder_bucket import FolderBucket
from tests.lab.chaos.outage import Keeper
from tests.lab.chaos.retrainings import Workshop
from tests.lab.chaos.small_router import DENIED


@pytest.fixture(scope="module", autouse=True)
def imported_once() -> None:
    retrainings.preload()


def a_setting(folder: Path) -> Setting:
    return Setting(is_quick=True, seed=7, folder=folder, say=lambda _: None)


def test_every_topic_lists_its_experiment() -> None:
    listed = [one for topic in (stability, models, retraining, clocks) for one in topic.EXPERIMENTS]
    assert [(one.row, one.name) for one in listed] == [
        (12, "postgres"),
        (12, "hanging-stores"),
        (15, "models"),
        (16, "retraining"),
        (19, "clocks"),
    ]


def test_no_bad_model_is_opened_or_decides_and_no_request_fails(tmp_path: Path) -> None:
    trials = list(bad_models.trials(a_setting(tmp_path), flips=15, slow_read_s=0.3))
    bad = [trial for trial in trials if trial.is_bad]
    assert [trial for trial in bad if not trial.is_refused or trial.misled or trial.failed] == []
    assert not (tmp_path / "code-ran").exists()
    assert len({trial.kind for trial in trials}) >= 12


def a_workshop(folder: Path, rows: int = 300) -> Workshop:
    shop = Workshop(folder=folder)
    start = datetime.now(UTC) - timedelta(hours=1)
    shop.archive(training_rows.calls(rows, first=0, start=start), "before")
    return shop


def test_a_retrainer_killed_at_any_write_leaves_a_whole_champion_or_the_one_before(tmp_path: Path) -> None:
    """Killed with the artifact written, with its card, and with the pointer but no record of the run."""
    for writes in (1, 2, 3):
        shop = a_workshop(tmp_path / str(writes))
        process = shop.start_and_end_after(datetime.now(UTC), writes=writes)
        process.join()
        found = shop.champion()
        assert found.is_whole, found.problem
        assert (found.pointer is not None) == (writes >= 3)


def test_nonsense_makes_no_worse_champion(tmp_path: Path) -> None:
    shop, now = a_workshop(tmp_path, 400), datetime.now(UTC)
    shop.retrain(now)
    by_chance = next(poison for poison in poisoning.KINDS if poison.name == "latencies by chance")
    trial = poisoning.tried(shop, by_chance, now)
    assert (trial["is_broken"], trial["is_worse"], trial["is_recorded"]) == (False, False, True), trial


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Sequence[outage.Phase], Keeper]:
    folder = tmp_path_factory.mktemp("outage")
    bucket, lines = FolderBucket(folder=folder / "bucket"), folder / "requests.jsonl"
    with database.running() as server:
        keeper = outage.prepared(server, bucket, every_s=0.3, deadline_s=0.5)
        with outage.requests(bucket.folder, 50.0, lines), outage.kept(keeper):
            phases = outage.phases(server, keeper, 0.7, lambda _: None)
    return lines, phases, keeper


def test_no_request_notices_what_becomes_of_postgres(
    history: tuple[Path, Sequence[outage.Phase], Keeper],
) -> None:
    requests, end = outage.read(history[0])
    assert len(requests) > 100
    assert {request["status"] for request in requests} == {200}
    assert DENIED not in {request["provider"] for request in requests}
    assert end["has_driver"] is False


def test_who_needs_postgres_is_told_and_goes_on_afterwards(
    history: tuple[Path, Sequence[outage.Phase], Keeper],
) -> None:
    _, phases, keeper = history
    assert [problem for _, problem in keeper.rounds if problem is not None]
    assert [phase.name for phase in phases if phase.name.startswith("healed")] == [
        "healed from stopped",
        "healed from frozen",
        "healed from backends frozen",
        "healed from full",
    ]


def test_no_step_of_a_clock_makes_a_time_negative_or_freezes_what_is_known(tmp_path: Path) -> None:
    steps = wrong_clocks.stepped(a_setting(tmp_path), 90)
    assert [step for step in steps if step.failed or step.negative or step.is_lost or not step.is_followed] == []


def test_leases_survive_a_skew_of_a_minute_and_decisions_any_time_zone() -> None:
    assert all(wrong_clocks.leases_between_skewed_clocks())
    assert all(wrong_clocks.decided_alike_in_every_zone())


def test_a_kill_point_is_any_moment_of_a_usual_retraining() -> None:
    rng = random.Random(1)
    points = [retrainings.kill_point(rng, 2.0) for _ in range(100)]
    assert 0 <= min(points) < 0.2 < 1.8 < max(points) <= 2.0
