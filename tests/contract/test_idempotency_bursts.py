"""Several orchestrators at one genuine store: a small part of what `python -m tests.lab chaos` does for row 10."""

from pathlib import Path

from tests.lab.chaos import emulator
from tests.lab.chaos.keyed import function, world
from tests.lab.chaos.keyed.judging import judged
from tests.lab.chaos.keyed.phases import CALLERS, Callers, bursts, killed_store


def test_concurrent_requests_run_once_and_none_runs_without_the_store(tmp_path: Path) -> None:
    with world.silence(), emulator.running(tmp_path) as store, function.serving(0.01) as served:
        world.create_store(store.url)
        with Callers(world.Place(store_url=store.url, function_url=served.url)) as callers:
            found = judged(bursts(callers, 6, lambda _: None), served.executions())
            refused, unkeyed = killed_store(callers, store)
    assert (found.keys, found.answers, found.doubles, found.wrong) == (6, 6 * (CALLERS + 4), (), ())
    assert {answer.status for answer in refused} == {503}
    assert {answer.status for answer in unkeyed} == {200}
    assert not {answer.sent.key for answer in refused} & served.executions().keys()
