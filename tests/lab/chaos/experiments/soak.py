"""An hour of one trouble after another, drawn by the seed: what is lost, and what grows (row 25)."""

import json
from collections import Counter
from collections.abc import Callable, Sequence
from random import Random

from fiso.domain.policy import Idempotent
from fiso.services.resilience.executors import MOST_THREADS
from functions.orchestrator.wiring import READERS
from tests.lab.chaos import soaking
from tests.lab.chaos.experiment import Experiment, Setting
from tests.lab.chaos.figures import Figure, count_of_none
from tests.lab.chaos.rig import measures, rows
from tests.lab.chaos.rig.load import Ask, Phase
from tests.lab.chaos.rig.modes import OK
from tests.lab.chaos.rig.rig import FUNCTION, Rig, running
from tests.lab.chaos.rig.rows import Row
from tests.lab.chaos.soaking import Step

TIMEOUT_MS, SLACK_MS = 5_000, 50.0
TYPED = frozenset({200, 502, 503, 504})
ENVIRONMENTS = 16
"""No more are made, and all are busy when something breaks: each soon holds all that it ever will."""
SUCCESS = 0.999
"""Two of three clouds may be in trouble at once, and the breaker of the third still open from before."""
HELD = {"resident_mb": "memory", "open_files": "open files"}
MOST_GROWTH = 0.01
MOST_THREADS_HELD = READERS + MOST_THREADS + 5
"""The pools of an environment, filled, and the rig's own."""


def soak(setting: Setting) -> Sequence[Figure]:
    """Half of the requests carry a key, by which the function deduplicates; the others must not run twice.

    Each environment is a process, as Lambda has it. A slope needs an hour: a quick run, of two processes, leaves those
    figures out.
    """
    workers = setting.sized(ENVIRONMENTS, 2)
    policy = {"idempotent": Idempotent.DEDUPLICATES_ON_KEY, "timeout_ms": TIMEOUT_MS}
    with running(
        seed=setting.seed,
        policy=policy,
        workers=workers,
        environments=ENVIRONMENTS,
        most_environments=ENVIRONMENTS,
    ) as rig:
        setting.say("learning")
        rig.load(seconds=setting.sized(60, 4), phase="learning", ask=_ask("learning"))
        drawn = list(soaking.steps(Random(setting.seed), list(rig.providers), setting.sized(3_600, 10)))  # nosec B311
        with soaking.watched(rig.workers, setting.folder / "held.jsonl") as held:
            found = rig.run([_phase(setting, rig, step) for step in drawn], ask=_ask("soak"))
        executions, records = rig.executions(), rig.stores.outlines()
    rows.write(found, setting.folder / "history.jsonl")
    lines = (json.dumps({"name": step.name, "seconds": step.seconds}) + "\n" for step in drawn)
    (setting.folder / "steps.jsonl").write_text("".join(lines), encoding="utf-8")
    tries = Counter({invocation: len(attempts) for invocation, attempts in records.items()})
    untried = {invocation: times for invocation, times in executions.items() if times > tries[invocation]}
    figures = [*_of_requests(found, executions), _logged(found, tries), _accounted(untried, executions)]
    return figures if setting.is_quick else [*figures, *_growths(held)]


def _of_requests(found: Sequence[Row], executions: dict[str, int]) -> list[Figure]:
    keyed = [row for row in found if row.key is not None]
    once = [row for row in found if row.key is None]
    twice = sum(executions.get(row.invocation_id or "", 0) > 1 for row in once)
    late = sum((row.served_ms or 0.0) > TIMEOUT_MS + SLACK_MS for row in found)
    untyped = sum(row.status not in TYPED for row in found)
    return [
        measures.success(keyed, SUCCESS, name="success of what may be repeated"),
        count_of_none("executed twice that must not be", twice, len(once), "requests"),
        count_of_none("past the deadline", late, len(found), "requests"),
        count_of_none("untyped answers and 500s", untyped, len(found), "requests"),
    ]


def _logged(found: Sequence[Row], tries: Counter[str]) -> Figure:
    answered = [row.invocation_id for row in found if row.invocation_id]
    return count_of_none(
        "answered but not in the log", sum(id not in tries for id in answered), len(answered), "requests"
    )


def _accounted(untried: dict[str, int], executions: dict[str, int]) -> Figure:
    return count_of_none("executions that no attempt in the log explains", len(untried), len(executions), "requests")


def _growths(held: Sequence[soaking.Held]) -> list[Figure]:
    growths = [
        measures.at_most(
            f"growth of {name}", soaking.growth_per_hour(held, field), MOST_GROWTH, "of it per hour", len(held)
        )
        for field, name in HELD.items()
    ]
    most = max(one.threads for one in held)
    return [*growths, measures.at_most("threads of an environment", most, MOST_THREADS_HELD, "threads", len(held))]


def _ask(run: str) -> Callable[[int], Ask]:
    def ask(number: int) -> Ask:
        return Ask(function=FUNCTION, headers={"idempotency-key": f"{run}-{number}"} if number % 2 else {})

    return ask


def _phase(setting: Setting, rig: Rig, step: Step) -> Phase:
    def begin() -> None:
        setting.say(step.name)
        for provider in rig.providers:
            rig.fault(provider, step.modes.get(provider, OK))

    return Phase(name=step.name, seconds=step.seconds, action=begin, goes_on=True)


EXPERIMENTS: tuple[Experiment, ...] = (
    Experiment(
        row=25,
        name="soak",
        question="Does an hour of one trouble after another lose a request, or make anything grow?",
        run=soak,
    ),
)
