"""A small, fast part of each claim that the laboratory makes about PostgreSQL."""

import random
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.lab.chaos import database, outage, retrainings
from tests.lab.chaos.denying import DENIED
from tests.lab.chaos.experiments import retraining, stability
from tests.lab.chaos.folder_bucket import FolderBucket
from tests.lab.chaos.outage import Keeper


def test_every_topic_lists_its_experiment() -> None:
    listed = [one for topic in (stability, retraining) for one in topic.EXPERIMENTS]
    assert [(one.row, one.name) for one in listed] == [
        (12, "postgres"),
        (12, "hanging-stores"),
        (16, "retraining"),
    ]


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


def test_a_kill_point_is_any_moment_of_a_usual_retraining() -> None:
    rng = random.Random(1)
    points = [retrainings.kill_point(rng, 2.0) for _ in range(100)]
    assert 0 <= min(points) < 0.2 < 1.8 < max(points) <= 2.0
