"""Providers that are slow, come and go, fail now and then, or throttle (rows 5 to 7 of the scorecard)."""

from collections.abc import Sequence

from fiso.domain.endpoint import EndpointId
from tests.lab.chaos.experiment import Experiment, Setting
from tests.lab.chaos.figures import Figure, Op
from tests.lab.chaos.rig import measures
from tests.lab.chaos.rig.modes import Kind, Mode
from tests.lab.chaos.rig.phases import broken, in_mode
from tests.lab.chaos.rig.rig import running
from tests.lab.chaos.rig.rows import of_phase

BROWN_OUT = 20.0
FIRST = "gcp"
CAPACITY = 10.0
"""Requests a second that the throttled provider takes."""


def brown_out(setting: Setting) -> Sequence[Figure]:
    """Row 5."""

    how = in_mode(Mode(slow=BROWN_OUT))
    with running(seed=setting.seed) as rig:
        load = broken(setting, rig, how, fault_s=setting.sized(120, 34))
    calls = sum(counts.get("requests", 0) for counts in load.counts.values())
    return [
        measures.success(measures.faulted(load.rows)),
        measures.added(load.rows, 0.99, 100, name="added p99"),
        measures.at_most("extra calls", calls / len(load.rows) - 1, 0.05, "share", len(load.rows)),
    ]


def flapping(setting: Setting) -> Sequence[Figure]:
    """Row 6, refusing for 5 s and well for 5 s in turn."""

    return _unsteady(setting, Mode(kind=Kind.REFUSE, up_s=5, down_s=5))


def erring(setting: Setting) -> Sequence[Figure]:
    """Row 6, with 40 % errors of the provider's own."""

    return _unsteady(setting, Mode(kind=Kind.ERROR, share=0.4))


def throttled(setting: Setting) -> Sequence[Figure]:
    """Row 7. The provider that throttles is the first tier, so that every request would go there."""

    fault_s = setting.sized(600, 15)
    how = in_mode(Mode(throttle_above=CAPACITY, retry_after_s=1))
    with running(seed=setting.seed, policy={"tiers": (frozenset({EndpointId(FIRST)}),)}) as rig:
        load = broken(setting, rig, how, fault_s=fault_s, hit=FIRST)
    during = of_phase(load.rows, measures.FAULT)
    served = sum(row.provider == load.hit and row.is_success for row in during) / fault_s
    return [
        measures.success(measures.faulted(load.rows)),
        measures.added(load.rows, 0.99, 50, name="added p99"),
        Figure(
            name="use of its capacity",
            value=served / CAPACITY,
            op=Op.AT_LEAST,
            target=0.8,
            unit="share",
            n=len(during),
        ),
        measures.attempts_per_request(during, 1.5),
    ]


def _unsteady(setting: Setting, mode: Mode) -> Sequence[Figure]:

    with running(seed=setting.seed) as rig:
        load = broken(setting, rig, in_mode(mode), fault_s=setting.sized(600, 20))
    during = measures.faulted(load.rows)
    return [
        measures.success(during),
        measures.breaker_changes(of_phase(load.rows, measures.FAULT), 12),
        measures.attempts_per_request(during, 1.5),
    ]


EXPERIMENTS: tuple[Experiment, ...] = (
    Experiment(row=5, name="brown-out", question="Does a provider that is 20 times slower show?", run=brown_out),
    Experiment(row=6, name="flapping", question="Does one that comes and goes cost a request?", run=flapping),
    Experiment(row=6, name="erring", question="Does one that fails at 40 % cost a request?", run=erring),
    Experiment(row=7, name="throttled", question="Is one that throttles used up to its limit?", run=throttled),
)
