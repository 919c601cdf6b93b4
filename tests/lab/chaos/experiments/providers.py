"""Providers that refuse or never answer, one or two of three (rows 1 to 3 of the scorecard)."""

from collections.abc import Sequence

from fiso.domain.policy import Idempotent, Weights
from fiso.services.resilience.breakers import REMOTE_FRESH_S
from tests.lab.chaos.experiment import Experiment, Setting
from tests.lab.chaos.figures import Figure, count_of_none
from tests.lab.chaos.rig import measures
from tests.lab.chaos.rig.load import Ask
from tests.lab.chaos.rig.phases import KILLED, STOPPED, Broken, broken
from tests.lab.chaos.rig.rig import FUNCTION, Rig, running
from tests.lab.chaos.rig.rows import of_phase

DEADLINE_MS = 28_000.0
SLACK_MS = 50.0
LEAST_TIMEOUT_MS = 1_000.0
"""What an attempt that can be failed over gets at least."""
ONCE_MS = 5_000
"""The deadline of what must not be repeated."""


def refused(setting: Setting) -> Sequence[Figure]:
    """Row 1."""

    with running(seed=setting.seed) as rig:
        load = broken(setting, rig, KILLED, fault_s=setting.sized(600, 20))
    during = measures.faulted(load.rows)
    return [
        measures.success(during),
        measures.added(load.rows, 0.99, 30, name="added p99"),
        measures.failed_tries(during, load.hit),
        measures.success(of_phase(load.rows, measures.RECOVERY), name="success in recovery"),
    ]


def black_holed(setting: Setting) -> Sequence[Figure]:
    """Row 2, for what may be repeated."""

    with running(seed=setting.seed) as rig:
        load = broken(setting, rig, STOPPED, fault_s=setting.sized(600, 34))
    during = measures.faulted(load.rows)
    late = sum(row.latency_ms > DEADLINE_MS + SLACK_MS for row in during)
    return [
        measures.success(during),
        measures.added(load.rows, 0.99, 350, name="added p99"),
        measures.added(load.rows, 0.999, LEAST_TIMEOUT_MS + 100, name="added p99.9"),
        count_of_none("past the deadline", late, len(during), "requests"),
        measures.success(of_phase(load.rows, measures.RECOVERY), name="success in recovery"),
    ]


def black_holed_once(setting: Setting) -> Sequence[Figure]:
    """Row 2, for what must not be repeated: keyed and unkeyed in turn. Nothing counts but latency, so that the silent
    cloud stays the best by what is known of it: what is lost is what waits before calls are known to be late, and
    probes."""

    def ask(number: int) -> Ask:
        return Ask(function=FUNCTION, headers={"idempotency-key": f"key-{number}"} if number % 2 else {})

    fastest = Weights(latency=1.0, cost=0.0, reliability=0.0, region_affinity=0.0)
    policy = {"idempotent": Idempotent.NO, "timeout_ms": ONCE_MS, "weights": fastest}
    with running(seed=setting.seed, policy=policy) as rig:
        load = broken(setting, rig, STOPPED, fault_s=setting.sized(120, 18), ask=ask)
        executions = rig.executions()
    every = measures.faulted(load.rows)
    during, undisturbed = measures.undisturbed(every)
    lost_s = [row.intended_s for row in during if not row.is_success]
    known_s = min(lost_s, default=0.0) + ONCE_MS / 1000 + REMOTE_FRESH_S
    other = [row for row in every if not row.is_success and not (row.status == 504 and row.is_unknown)]
    repeated = sum(times > 1 for times in executions.values())
    return [
        undisturbed,
        count_of_none("neither answered nor 504 unknown_outcome", len(other), len(every), "requests"),
        count_of_none("executed twice", repeated, len(executions), "requests"),
        measures.success(during, 0.97, name="answered in all"),
        measures.success([row for row in during if row.intended_s > known_s], 0.985, name="success once it is known"),
        measures.failed_tries(every, load.hit),
    ]


def two_down(setting: Setting) -> Sequence[Figure]:
    """Row 3."""

    def fault(rig: Rig, hit: str) -> None:
        rig.kill_provider(hit)
        rig.stop_provider(_others(rig, hit)[0])

    def mend(rig: Rig, hit: str) -> None:
        for name in (hit, _others(rig, hit)[0]):
            rig.revive_provider(name)

    with running(seed=setting.seed) as rig:
        load = broken(setting, rig, Broken(fault=fault, mend=mend), fault_s=setting.sized(600, 12))
    during = measures.faulted(load.rows)
    return [measures.success(during), measures.attempts_per_request(during, 1.15)]


def _others(rig: Rig, hit: str) -> list[str]:
    return [name for name in rig.providers if name != hit]


EXPERIMENTS: tuple[Experiment, ...] = (
    Experiment(row=1, name="refused", question="Does one provider that refuses cost a request?", run=refused),
    Experiment(row=2, name="black-hole", question="Does one that never answers cost a request?", run=black_holed),
    Experiment(
        row=2,
        name="black-hole-once",
        question="Is a request that must not be repeated left alone when its outcome is unknown?",
        run=black_holed_once,
    ),
    Experiment(row=3, name="two-down", question="Does the last provider carry the load alone?", run=two_down),
)
