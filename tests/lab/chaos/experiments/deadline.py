"""The deadline: FISO answers before the platform ends it, whatever the providers do (row 11 of the scorecard)."""

from collections.abc import Sequence

from tests.lab.chaos.experiment import Experiment, Setting
from tests.lab.chaos.figures import Figure, count_of_none
from tests.lab.chaos.rig import rows
from tests.lab.chaos.rig.load import Ask
from tests.lab.chaos.rig.modes import Kind, Mode
from tests.lab.chaos.rig.rig import FUNCTION, running

SLACK_MS = 50.0
REMAINING_MS, RESERVE_MS = 3_000.0, 750.0
RATE, CONCURRENT = 30.0, 100
"""So many environments wait at once; they are built before, or the others' clocks would stand while one is."""


def deadline(setting: Setting) -> Sequence[Figure]:
    """Row 11: Lambda has 3 s left, of which FISO keeps 750 ms, and every provider hangs."""

    # environments of one process share its interpreter, as those of Lambda do not: spread them
    with running(seed=setting.seed, workers=6, environments=CONCURRENT) as rig:
        rig.load(seconds=setting.sized(30, 5), phase="learning")
        for name in rig.providers:
            rig.fault(name, Mode(kind=Kind.BLACK_HOLE))
        setting.say("every provider hangs, 3 s are left")
        found = rig.load(
            seconds=setting.sized(120, 10),
            phase="fault",
            rate=RATE,
            ask=lambda _: Ask(function=FUNCTION, remaining_ms=REMAINING_MS),
        )
        late_starts = sum(rig.counts(name).get("late", 0) for name in rig.providers)
    rows.write(found, setting.folder / "history.jsonl")
    served = [row.served_ms or float("inf") for row in found]
    limit_ms = REMAINING_MS - RESERVE_MS + SLACK_MS
    return [
        count_of_none("answered after D + 50 ms", sum(ms > limit_ms for ms in served), len(found), "requests"),
        count_of_none("platform timeouts", sum(ms >= REMAINING_MS for ms in served), len(found), "requests"),
        count_of_none("attempts begun with less than 100 ms left", late_starts, len(found), "attempts"),
    ]


EXPERIMENTS: tuple[Experiment, ...] = (
    Experiment(row=11, name="deadline", question="Is FISO never killed by the platform's clock?", run=deadline),
)
