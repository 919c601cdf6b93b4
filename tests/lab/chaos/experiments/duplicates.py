"""Duplicates: what must not run twice does not, whatever became of its answer (row 9 of the scorecard)."""

from collections.abc import Sequence

from fiso.domain.policy import Idempotent
from tests.lab.chaos.experiment import Experiment, Setting
from tests.lab.chaos.figures import Figure, Op, count_of_none
from tests.lab.chaos.rig import rows
from tests.lab.chaos.rig.load import Ask
from tests.lab.chaos.rig.modes import Kind, Mode
from tests.lab.chaos.rig.rig import FUNCTION, running

REQUESTS = 10_000
RATE = 250.0
TIMEOUT_MS = 300
FAULTS = {
    "aws": Mode(kind=Kind.RESET_AFTER_RUN, share=0.2),
    "azure": Mode(kind=Kind.BLACK_HOLE, share=0.05),
    "gcp": Mode(kind=Kind.RESET, share=0.2),
}
"""The function runs in all of them; the answer is reset, never sent, or cut by a reset."""


def duplicates(setting: Setting) -> Sequence[Figure]:
    """Half of the requests carry an idempotency key; the function is declared neither idempotent nor deduplicating."""

    def ask(number: int) -> Ask:
        return Ask(function=FUNCTION, headers={"idempotency-key": f"key-{number}"} if number % 2 else {})

    policy = {"idempotent": Idempotent.NO, "timeout_ms": TIMEOUT_MS, "exploration": 0.5}
    with running(seed=setting.seed, policy=policy, p50_ms=20.0, environments=24) as rig:
        for name, mode in FAULTS.items():
            rig.fault(name, mode)
        setting.say(f"about {REQUESTS} requests at {RATE:.0f} a second")
        found = rig.load(seconds=REQUESTS / RATE, phase="fault", rate=RATE, ask=ask)
        executions, by_key = rig.executions(), rig.executions_by_key()
    rows.write(found, setting.folder / "history.jsonl")
    unkeyed = {row.invocation_id for row in found if row.key is None}
    twice = sum(times > 1 for invocation, times in executions.items() if invocation in unkeyed)
    lost = sum(not row.is_success for row in found)
    untold = sum(row.is_success and executions.get(row.invocation_id or "", 0) != 1 for row in found)
    setting.say(f"{lost} of {len(found)} answers were lost on the way back")
    return [
        count_of_none("unkeyed requests executed twice", twice, len(unkeyed), "requests"),
        count_of_none("keys executed twice", sum(n > 1 for n in by_key.values()), len(by_key), "keys"),
        count_of_none("answered but not executed exactly once", untold, len(found), "requests"),
        Figure(
            name="answers lost on the way back",
            value=lost,
            op=Op.AT_LEAST,
            target=100,
            unit="requests",
            n=len(found),
        ),
    ]


EXPERIMENTS: tuple[Experiment, ...] = (
    Experiment(row=9, name="duplicates", question="Does what must not run twice ever run twice?", run=duplicates),
)
