"""Rivals in the simulated world: each in a copy of its own, with the same arrivals and the same luck.

A rival makes one call per request, as it would without FISO, and knows an outcome when it is there. The rules are the
replay's own (`replay.rules`). The oracle knows the simulator: per request the arm with the lowest expected charge given
the function and the present state of instances and outages. A start counts as shared by the calls that the instance is
expected to answer before a silence ends it: exp(rate * time kept), arrivals at random. It plans no further than that.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from math import exp

from fiso.domain.endpoint import EndpointId
from fiso_cli.worlds.clouds.arrivals import Arrival
from fiso_cli.worlds.clouds.results import NOTHING, Measures, Served, expected_charge
from fiso_cli.worlds.clouds.world import Call, Happened, Setting, World
from fiso_cli.worlds.objective import Objective
from fiso_cli.worlds.rules import Rule
from fiso_cli.worlds.virtual_time import Timeline

TIMEOUT_MS = 28_000.0
"""As long as a policy lets the router wait."""
FAILED_MS = 5_000.0
"""A rule learns a failure as an answer that took at least this long, else those that refuse at once would look best."""
LONGEST_STAY_LOG = 20.0
Choose = Callable[[str, float], EndpointId]
"""By function and time."""
Hear = Callable[[EndpointId, float, float], None]
"""Of a call that ended: its arm, latency in ms, and when."""


def by_rule(setting: Setting, arrivals: Sequence[Arrival], rule: Rule, *, seed: int) -> list[Served]:
    """All requests by one rule."""
    present = list(setting.arms)
    return _play(World(setting, seed=seed), arrivals, lambda _function, _now: rule.pick(present), rule.learn)


def by_arm(setting: Setting, arrivals: Sequence[Arrival], arm: EndpointId, *, seed: int) -> list[Served]:
    """All requests to one endpoint."""
    return _play(World(setting, seed=seed), arrivals, lambda _function, _now: arm, lambda *_: None)


def by_oracle(
    setting: Setting, arrivals: Sequence[Arrival], measures: Measures, objective: Objective, *, seed: int
) -> list[Served]:
    """All requests to where the lowest charge is expected."""
    world, stays = World(setting, seed=seed), _stays(setting, arrivals)

    def charged(function: str, arm: EndpointId, now: float) -> float:
        expected = world.expected(function, arm, now, calls_a_start=stays[function, arm])
        return expected_charge(expected, measures.get(function, NOTHING), objective)

    def choose(function: str, now: float) -> EndpointId:
        return min(setting.arms, key=lambda arm: charged(function, arm, now))

    return _play(world, arrivals, choose, lambda *_: None)


def _stays(setting: Setting, arrivals: Sequence[Arrival]) -> Mapping[tuple[str, EndpointId], float]:
    """How many calls of its function an instance is expected to answer, by function and arm."""
    calls, span_s = Counter(arrival.function for arrival in arrivals), max(arrivals[-1].at_s, 1.0)
    kept_s = {arm: setting.curves[known.provider].median_s for arm, known in setting.arms.items()}
    return {
        (function, arm): exp(min(LONGEST_STAY_LOG, calls[function] / span_s * kept_s[arm]))
        for function in setting.services
        for arm in setting.arms
    }


def _play(world: World, arrivals: Sequence[Arrival], choose: Choose, hear: Hear) -> list[Served]:
    timeline, served = Timeline(), []

    def arrive(arrival: Arrival) -> None:
        now = timeline.now_s
        arm = choose(arrival.function, now)
        call = Call(request=arrival.number, function=arrival.function, arm=arm, timeout_ms=TIMEOUT_MS)
        happened = world.call(call, now)
        served.append(_served(arrival, arm, happened))
        end_s = now + happened.latency_ms / 1000
        felt_ms = happened.latency_ms if happened.failure is None else max(FAILED_MS, happened.latency_ms)
        timeline.plan(end_s, lambda: hear(arm, felt_ms, end_s))

    for arrival in arrivals:
        timeline.plan(arrival.at_s, partial(arrive, arrival))
    timeline.run()
    return served


def _served(arrival: Arrival, arm: EndpointId, happened: Happened) -> Served:
    return Served(
        number=arrival.number,
        at_s=arrival.at_s,
        function=arrival.function,
        arm=arm,
        latency_ms=happened.latency_ms,
        cost_usd=happened.cost_usd,
        ok=happened.failure is None,
        cold=happened.cold,
    )
