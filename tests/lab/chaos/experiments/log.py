"""Experiments on the log: its table away (row 13), its writers killed (row 14)."""

import json
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from random import Random
from threading import Event, Thread
from typing import TYPE_CHECKING

from tests.lab.chaos.experiment import Experiment, Setting
from tests.lab.chaos.figures import Figure, Op, count_of_none, quantile, quantile_at_most, share_reached

if TYPE_CHECKING:
    from fiso.domain.record import InvocationRecord
    from tests.lab.chaos.log.world import LogWorld
    from tests.lab.chaos.rig.load import Ask, Phase
    from tests.lab.chaos.rig.rows import Row

FAULTS = ("throttled", "error", "black_hole")
RATE = 30.0
"""Requests a second: the tables are the emulator's, which carries little more."""
SCHEDULE_S = 60.0
"""The deployed keeper runs each minute: what the experiment finds at once may wait so long."""
WITHIN_S = 120.0
TIMEOUT_MS = 2_000
ROUND_S = 5.0
QUICK_AHEAD = timedelta(seconds=25)


def table_away(setting: Setting) -> Sequence[Figure]:
    """Row 13: users, added latency, and every answered request in the log exactly once."""
    from tests.lab.chaos.log.world import running
    from tests.lab.chaos.rig import rows as raw

    with running(seed=setting.seed) as world:
        setting.say("DynamoDB throttled, failing, silent, in turn")
        rows = world.rig.run_without_log(_phases(world, setting), rate=RATE, ask=_ask)
        raw.write(rows, setting.folder / "history.jsonl")
        took_s, spilled = _reconciled(world, setting)
        closings, closed = world.closings(), _closed(world)
        answered = {row.invocation_id for row in rows if row.invocation_id}
        faulty = raw.of_phase(rows, *FAULTS)
        setting.say(f"{len(answered)} answered, {spilled} lines spilled")
    return [
        share_reached("requests answered by their function", sum(r.is_success for r in faulty), len(faulty), 0.9999),
        *(_added(rows, fault) for fault in FAULTS),
        Figure(name="lines spilled", value=spilled, op=Op.AT_LEAST, target=1, unit="lines", n=len(faulty)),
        count_of_none("answered requests lost from the log", len(answered - closed), len(answered), "records"),
        count_of_none("records closed twice", _repeated(closings), len(closings), "records"),
        Figure(
            name="in the log after recovery, the keeper's minute included",
            value=took_s + SCHEDULE_S,
            op=Op.AT_MOST,
            target=WITHIN_S,
            unit="s",
            n=len(answered),
        ),
    ]


def writers_killed(setting: Setting) -> Sequence[Figure]:
    """Row 14: what was executed or answered is closed, whoever was killed in the middle of it."""
    from fiso.domain.record import InvocationRecord, RecordStatus
    from tests.lab.chaos.log.world import running
    from tests.lab.chaos.rig import rows as raw

    kills = setting.sized(1_000, 60)
    with running(seed=setting.seed, environments=4) as world:
        sweeping = _Sweeping(world, ahead=QUICK_AHEAD if setting.is_quick else timedelta(0))
        rows = _killed(world, setting, kills, sweeping)
        raw.write(rows, setting.folder / "history.jsonl")
        setting.say(f"{len(rows)} requests under {kills} kills; the keeper closes what was cut")
        sweeping.until_nothing_is_open()
        records, closings = world.records(), world.closings()
        answered = {row.invocation_id for row in rows if row.invocation_id}
        known = answered | world.rig.executions().keys()
    closed = [record for record in records if isinstance(record, InvocationRecord)]
    cut = {record.invocation_id for record in closed if record.status is RecordStatus.UNKNOWN}
    (setting.folder / "unknown.json").write_text(json.dumps(sweeping.late_s), encoding="utf-8")
    return [
        Figure(name="workers killed", value=kills, op=Op.AT_LEAST, target=kills, unit="kills", n=kills),
        Figure(name="requests cut", value=len(cut), op=Op.AT_LEAST, target=1, unit="requests", n=len(rows)),
        count_of_none("executed or answered, not in the log", len(known - _ids(closed)), len(known), "records"),
        count_of_none("records still open", len(records) - len(closed), len(records), "records"),
        count_of_none("records closed twice", _repeated(closings), len(closings), "records"),
        count_of_none("answered but called unknown", len(answered & cut), len(answered), "records"),
        Figure(
            name="closed after the deadline, the keeper's minute included",
            value=max(sweeping.late_s.values(), default=0.0) + SCHEDULE_S - ROUND_S,
            op=Op.AT_MOST,
            target=WITHIN_S,
            unit="s",
            n=len(cut),
        ),
    ]


EXPERIMENTS = (
    Experiment(
        row=13,
        name="log-table-away",
        question="Does anybody notice when DynamoDB throttles, fails or goes silent, and is any record lost?",
        run=table_away,
    ),
    Experiment(
        row=14,
        name="orchestrator-killed",
        question="Is every request closed in the log when its orchestrator is killed in the middle of it?",
        run=writers_killed,
    ),
)


def _ask(_: int) -> "Ask":
    from tests.lab.chaos.rig.load import Ask

    return Ask(function="word-count", headers={"x-fiso-timeout-ms": str(TIMEOUT_MS)})


def _phases(world: "LogWorld", setting: Setting) -> list["Phase"]:
    from tests.lab.chaos.log.faulty_store import StoreFault
    from tests.lab.chaos.rig.load import Phase

    def switched(fault: StoreFault) -> None:
        world.store.fault = fault

    phases = [Phase(name="warm", seconds=3), Phase(name="baseline", seconds=setting.sized(60, 10))]
    for fault in FAULTS:
        seconds = setting.sized(120, 10)
        phases.append(Phase(name=fault, seconds=seconds, action=lambda fault=fault: switched(StoreFault(fault))))  # type: ignore[misc]
        phases.append(Phase(name="recovery", seconds=setting.sized(30, 2), action=lambda: switched(StoreFault.NONE)))
    return phases


def _added(rows: Sequence["Row"], fault: str) -> Figure:
    from tests.lab.chaos.rig import rows as raw

    before = quantile(raw.latencies(raw.of_phase(rows, "baseline")), 0.99)
    during = raw.latencies(raw.of_phase(rows, fault))
    limit = quantile_at_most(during, 0.99)
    return Figure(
        name=f"added p99, {fault.replace('_', ' ')}",
        value=quantile(during, 0.99) - before,
        op=Op.AT_MOST,
        target=300.0,
        unit="ms",
        n=len(during),
        bound=None if limit is None else limit - before,
    )


def _reconciled(world: "LogWorld", setting: Setting) -> tuple[float, int]:
    """Seconds until a round had read every line and nothing was left open, and how many lines were spilled."""
    start, spilled = time.monotonic(), world.ship()
    world.watch()
    keeper = world.keeper()
    while not (kept := keeper.keep()).reconciled.is_complete:
        setting.say(f"{kept.reconciled.written} lines replayed, more to read")
    return time.monotonic() - start, spilled


class _Sweeping:
    """The keeper at work every ROUND_S seconds, and how late each record was that it had to close.

    `ahead` moves the keeper's clock, so that a quick run need not wait out its grace; lateness is by that clock.
    """

    def __init__(self, world: "LogWorld", *, ahead: timedelta) -> None:
        self.late_s: dict[str, float] = {}
        self._world, self._ahead, self._keeper = world, ahead, world.keeper(ahead=ahead)

    def round(self) -> bool:
        """Ship, keep, look; whether nothing is left open."""
        from fiso.domain.record import InvocationRecord, RecordStatus

        self._world.ship()
        self._world.watch()
        self._keeper.keep()
        now, records = datetime.now(UTC) + self._ahead, self._world.records()
        closed = [record for record in records if isinstance(record, InvocationRecord)]
        for record in closed:
            if record.status is RecordStatus.UNKNOWN:
                deadline = record.timestamp + timedelta(milliseconds=TIMEOUT_MS)
                self.late_s.setdefault(record.invocation_id, (now - deadline).total_seconds())
        return len(closed) == len(records)

    def until_nothing_is_open(self) -> None:
        """Rounds, for at most twice the time that records have."""
        given_up = time.monotonic() + 2 * WITHIN_S
        while not self.round() and time.monotonic() < given_up:
            time.sleep(ROUND_S)

    def until(self, ended: Event) -> None:
        """Rounds beside a load."""
        while not ended.wait(ROUND_S):
            self.round()


def _killed(world: "LogWorld", setting: Setting, kills: int, sweeping: _Sweeping) -> list["Row"]:
    """Load while workers are killed at random moments, one at a time, and the keeper does its rounds."""
    from tests.lab.chaos.rig.load import Phase

    ended, rows, rng = Event(), list["Row"](), Random(setting.seed)  # nosec B311 # draws moments

    def kill() -> None:
        try:
            for number in range(kills):
                time.sleep(rng.uniform(0.02, 0.3))
                world.rig.workers[number % len(world.rig.workers)].restart()
                if number % 10 == 9:
                    setting.say(f"{number + 1} of {kills} kills")
        finally:
            ended.set()

    beside = [Thread(target=kill, daemon=True), Thread(target=sweeping.until, args=(ended,), daemon=True)]
    for thread in beside:
        thread.start()
    while not ended.is_set():
        rows += world.rig.run_without_log([Phase(name="killing", seconds=2)], rate=40, ask=_ask)
    for thread in beside:
        thread.join()
    return rows


def _closed(world: "LogWorld") -> set[str]:
    from fiso.domain.record import InvocationRecord

    return _ids([record for record in world.records() if isinstance(record, InvocationRecord)])


def _ids(records: "Sequence[InvocationRecord]") -> set[str]:
    return {record.invocation_id for record in records}


def _repeated(closings: "dict[str, int]") -> int:
    return sum(times > 1 for times in closings.values())
