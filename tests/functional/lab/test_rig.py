"""The rig whole: genuine edges in worker processes under a short load."""

from collections.abc import Iterator

import pytest

from localcloud.layout import LocalCloud
from tests.lab.chaos.rig.load import Ask, Phase
from tests.lab.chaos.rig.rig import FUNCTION, Rig, running


@pytest.fixture(scope="module")
def rig() -> Iterator[Rig]:
    with running(environments=4, p50_ms=5.0) as found:
        yield found


def keyed(number: int) -> Ask:
    return Ask(function=FUNCTION, headers={"idempotency-key": f"key-{number}"})


def test_requests_are_answered_and_executed_once_each(rig: Rig) -> None:
    rows = rig.load(seconds=1, phase="calm", rate=40)
    executions = rig.executions()
    assert {row.status for row in rows} == {200}
    assert all(executions[row.invocation_id or ""] == 1 for row in rows)
    assert all(len(row.tried) == row.attempts == 1 for row in rows)


def test_a_killed_provider_is_failed_over_and_seen_in_what_was_tried(rig: Rig) -> None:
    phases = [
        Phase(name="fault", seconds=1, action=lambda: rig.kill_provider("azure")),
        Phase(name="recovery", seconds=0.5, action=lambda: rig.revive_provider("azure")),
    ]
    rows = rig.run(phases, rate=40)
    assert {row.status for row in rows} == {200}
    assert {row.phase for row in rows} == {"fault", "recovery"}


def test_what_a_killed_worker_was_doing_is_answered_by_nobody_and_the_rest_goes_on(rig: Rig) -> None:
    phases = [
        Phase(name="calm", seconds=0.5),
        Phase(name="killed", seconds=1, action=lambda: rig.kill_worker(0), goes_on=True),
    ]
    rows = rig.run(phases, rate=60, ask=keyed)
    assert {row.status for row in rows} <= {0, 200}
    assert sum(row.status == 200 for row in rows) > len(rows) / 2
    assert max(rows, key=lambda row: row.intended_s).status == 200
    tries = {row.key: max(1, row.attempts) for row in rows}  # on a busy machine some are hedged
    assert all(times <= tries[key] for key, times in rig.executions_by_key().items())


def test_the_rig_runs_on_the_emulator_with_the_genuine_stores() -> None:
    if not LocalCloud.from_environ({}).emulator_environment.exists():
        pytest.skip("the emulator is not set up: make setup")
    with running(environments=2, workers=1, p50_ms=5.0, is_emulated=True) as emulated:
        rows = emulated.load(seconds=1, phase="calm", rate=10)
    assert {row.status for row in rows} == {200}
    assert all(len(row.tried) == 1 for row in rows)
