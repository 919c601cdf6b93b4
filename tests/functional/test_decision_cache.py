"""DecisionCache: what a context seen before decides is what would be decided anew, and health is never cached."""

from dataclasses import replace
from datetime import datetime, timedelta

from fiso.billing import tariff
from fiso.domain.decision import Decision
from fiso.domain.endpoint import EndpointId
from fiso.domain.request import InvocationRequest
from fiso.domain.state import EndpointState
from fiso.services.request.decide import DecisionInputs, RankingCache, decide
from fiso.services.request.decision_cache import TTL, DecisionCache, TtlCache
from fiso_client.core.breaker import Breaker
from tests.builders import NOW, a_request, an_entry, states_after
from tests.models import an_artifact, opened

MODEL = opened(an_artifact())
ENTRY = an_entry(exploration=0.05)
STATES = states_after(40, {"aws": 80.0, "azure": 110.0, "gcp": 140.0}, every_s=0.1, model_version=MODEL.version)
LATER = NOW + timedelta(seconds=6)


class Rig:
    def __init__(self) -> None:
        self.cache: RankingCache = DecisionCache()
        self.inputs = DecisionInputs(
            entry=ENTRY, snapshot_version=1, tariff=tariff.current(), states=STATES, model=MODEL
        )

    def decide(
        self, request: InvocationRequest | None = None, *, now: datetime = LATER, draw: float = 0.0, **changes: object
    ) -> Decision:
        self.inputs = replace(self.inputs, **changes)  # type: ignore[arg-type]
        return decide(request or a_request(), self.inputs, now=now, draw=draw, cache=self.cache)

    @property
    def counts(self) -> tuple[int, int]:
        return self.cache.hits, self.cache.misses


def slower(state: EndpointState) -> EndpointState:
    levels = {bucket: replace(level, latency_ms=2 * level.latency_ms) for bucket, level in state.levels.items()}
    return replace(state, levels=levels)


def test_a_second_request_is_decided_from_the_first_ones_context() -> None:
    rig = Rig()
    first, second = rig.decide(), rig.decide(now=LATER + timedelta(seconds=1))
    assert rig.counts == (1, 1)
    assert second.ranking == first.ranking
    assert second.decided_at != first.decided_at
    assert first == decide(a_request(), rig.inputs, now=LATER, draw=0.0)


def test_every_draw_picks_as_it_would_without_a_context() -> None:
    rig = Rig()
    for step in range(50):
        draw = step / 50
        assert rig.decide(draw=draw) == decide(a_request(), rig.inputs, now=LATER, draw=draw)


def test_what_a_decision_depends_on_makes_another_context() -> None:
    rig = Rig()
    rig.decide()
    rig.decide(a_request(user_region="europe"))
    rig.decide(now=LATER + timedelta(hours=1))
    rig.decide(now=LATER + timedelta(seconds=200))
    rig.decide(in_flight=40.0)
    rig.decide(states={name: slower(state) for name, state in STATES.items()})
    rig.decide(model=None)
    rig.decide(entry=an_entry(exploration=0.1), snapshot_version=2)
    assert rig.counts == (0, 8)


def test_a_context_is_kept_for_five_minutes() -> None:
    rig = Rig()
    kept = {name: replace(state, last_called_at=NOW + timedelta(hours=2)) for name, state in STATES.items()}
    rig.decide(states=kept)
    rig.decide(now=LATER + TTL - timedelta(seconds=1))
    rig.decide(now=LATER + TTL)
    assert rig.counts == (1, 2)


def test_an_endpoint_that_failed_lately_leaves_no_context() -> None:
    rig = Rig()
    failed = {**STATES, EndpointId("aws"): replace(STATES[EndpointId("aws")], consecutive_failures=1)}
    first = rig.decide(states=failed).ranking
    assert rig.decide(states=failed, now=LATER + timedelta(seconds=60)).ranking != first
    assert rig.counts == (0, 0)


def test_an_open_breaker_demotes_at_once_in_a_context_seen_before() -> None:
    rig = Rig()
    best = rig.decide().chosen.endpoint.id
    opened_until = LATER + timedelta(seconds=20)
    deprioritised = rig.decide(breakers={best: Breaker(failures_in_row=5, trips_in_row=1, opened_until=opened_until)})
    assert rig.counts == (0, 1)
    assert deprioritised.chosen.endpoint.id != best
    assert deprioritised.ranking[-1].endpoint.id == best
    assert deprioritised.ranking[-1].is_deprioritised
    assert rig.decide(breakers={}).chosen.endpoint.id == best


def test_marks_that_were_forgotten_name_no_other_state() -> None:
    """With room for two fingerprints only, every decision is still the one that would be made anew."""
    rig = Rig()
    rig.cache = DecisionCache(most_fingerprints=2)
    for number in range(12):
        changed = list(STATES)[number % len(STATES)]
        found = rig.decide(states={**rig.inputs.states, changed: slower(rig.inputs.states[changed])})
        assert found == decide(a_request(), rig.inputs, now=LATER, draw=0.0)


SPAN = timedelta(minutes=5)


def test_what_is_asked_for_stays_and_the_rest_is_gone_after_two_spans() -> None:
    held: TtlCache[str, int] = TtlCache(span=SPAN, most=100)
    assert held.get("used", NOW) is None
    held.put("used", 1, NOW)
    held.put("unused", 2, NOW)
    for number in range(1, 20):
        assert held.get("used", NOW + number * SPAN / 2) == 1
    assert len(held) == 1
    assert held.get("unused", NOW + 10 * SPAN) is None


def test_it_holds_no_more_than_twice_its_most() -> None:
    held: TtlCache[int, int] = TtlCache(span=SPAN, most=10)
    for number in range(1_000):
        assert held.get(number, NOW) is None
        held.put(number, number, NOW)
        assert len(held) <= 20
    assert held.get(999, NOW) == 999
    assert held.get(0, NOW) is None


def test_a_clock_that_was_set_back_keeps_nothing_for_ever() -> None:
    held: TtlCache[str, int] = TtlCache(span=SPAN, most=100)
    held.get("a", NOW)
    held.put("a", 1, NOW)
    for number in range(1, 4):
        held.get("other", NOW - number * SPAN)
    assert len(held) == 0
