"""A small, fast part of each claim that the laboratory makes about PostgreSQL."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.lab.chaos import database, outage
from tests.lab.chaos.denying import DENIED
from tests.lab.chaos.folder_bucket import FolderBucket
from tests.lab.chaos.outage import Keeper


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
