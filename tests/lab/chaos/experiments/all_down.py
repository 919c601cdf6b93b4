"""All providers down at once: FISO says so, quickly, and is back when they are (row 4 of the scorecard)."""

from collections.abc import Callable, Sequence

from tests.lab.chaos.experiment import Experiment, Setting
from tests.lab.chaos.figures import Figure, count_of_none
from tests.lab.chaos.rig import measures
from tests.lab.chaos.rig.phases import Broken, Load, broken
from tests.lab.chaos.rig.rig import Rig, running
from tests.lab.chaos.rig.rows import Row, of_phase

TYPED = frozenset({502, 503, 504})
WAITING = 128
"""Environments that are up before the fault: so many requests wait at once. To start them during it would take the two
processors of this machine from those that are up, as Lambda does not."""
GIVE_UP_MS = 2_300
"""The operator's word for clouds that may all fall silent: without it a request has all of its time."""


def all_refused(setting: Setting) -> Sequence[Figure]:
    """Row 4, where nobody listens."""

    load, lost = _all_down(setting, lambda rig, name: rig.kill_provider(name), fault_s=setting.sized(120, 15))
    during = of_phase(load.rows, measures.FAULT)
    honest = [row for row in during if row.status == 503 and row.has_retry_after]
    return [
        count_of_none("other than 503 with Retry-After", len(during) - len(honest), len(during), "requests"),
        measures.latency("p99 of the refusal", [row.latency_ms for row in during], 0.99, 150),
        *_after_all_down(load, during, lost),
    ]


def all_black_holed(setting: Setting) -> Sequence[Figure]:
    """Row 4, where nobody answers: requests may have run, so 502 and 504 are honest as well.

    Those that the end of the outage still finds waiting are answered then: their latency tells. When a call is late
    follows from what was learned, so a quick run learns a little longer."""

    load, lost = _all_down(
        setting,
        lambda rig, name: rig.stop_provider(name),
        fault_s=setting.sized(120, 68),
        learn_s=setting.sized(60, 20),
        waiting=WAITING,
    )
    during = of_phase(load.rows, measures.FAULT)
    honest = [row for row in during if row.is_success or row.status in TYPED]
    return [
        count_of_none(
            "neither answered nor a typed 502, 503 or 504", len(during) - len(honest), len(during), "requests"
        ),
        measures.latency("p99 of the answer, whatever it is", [row.latency_ms for row in during], 0.99, 2_500),
        *_after_all_down(load, during, lost),
    ]


def _all_down(
    setting: Setting,
    take_down: Callable[[Rig, str], object],
    *,
    fault_s: int,
    learn_s: int | None = None,
    waiting: int = 16,
) -> tuple[Load, int]:
    """The load, and how many answered requests the log does not know."""

    def each(do: Callable[[Rig, str], object]) -> Callable[[Rig, str], object]:
        return lambda rig, _: [do(rig, name) for name in rig.providers]

    how = Broken(fault=each(take_down), mend=each(lambda rig, name: rig.revive_provider(name)))
    with running(seed=setting.seed, environments=waiting, policy={"give_up_after_ms": GIVE_UP_MS}) as rig:
        load = broken(setting, rig, how, fault_s=fault_s, learn_s=learn_s)
        logged = rig.stores.outlines()
    return load, sum(row.invocation_id is not None and row.invocation_id not in logged for row in load.rows)


def _after_all_down(load: Load, during: list[Row], lost: int) -> list[Figure]:

    after = of_phase(load.rows, measures.RECOVERY)
    since_s = min(row.intended_s for row in after)
    well_s = measures.seconds_until_well(after, since_s)
    return [
        measures.attempts_per_request(during, 2.0),
        count_of_none("answered but not in the log", lost, len(load.rows), "requests"),
        measures.at_most("90 % success again after", well_s, 5, "s", len(after)),
    ]


EXPERIMENTS: tuple[Experiment, ...] = (
    Experiment(row=4, name="all-refused", question="Is the loss of all told quickly?", run=all_refused),
    Experiment(row=4, name="all-black-hole", question="Is the silence of all told in time?", run=all_black_holed),
)
