"""Laws of off-policy evaluation, for any log that is not refused."""

import random
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fiso.domain.endpoint import EndpointId
from fiso.learning import ope
from fiso.learning.ope import Evaluation, LoggedCandidate, LoggedDecision, Probabilities, Refusal

ENDPOINTS = tuple(map(EndpointId, ("aws", "azure", "gcp")))
Pair = tuple[LoggedDecision, Probabilities]

chances = st.lists(st.floats(0.15, 1.0), min_size=3, max_size=3).map(lambda parts: [p / sum(parts) for p in parts])
losses = st.floats(0.0, 1_000.0)


@st.composite
def pairs(draw: st.DrawFn) -> Pair:
    behaviour, policy = draw(chances), draw(chances)
    candidates = tuple(
        LoggedCandidate(endpoint=endpoint, propensity=chance, predicted_loss=draw(losses))
        for endpoint, chance in zip(ENDPOINTS, behaviour, strict=True)
    )
    decision = LoggedDecision(candidates=candidates, called=draw(st.sampled_from(ENDPOINTS)), loss=draw(losses))
    return decision, dict(zip(ENDPOINTS, policy, strict=True))


@st.composite
def logs(draw: st.DrawFn) -> list[Pair]:
    """A few situations, seen often enough that nothing is refused."""
    return draw(st.lists(pairs(), min_size=2, max_size=6)) * 300


def evaluated(log: list[Pair]) -> Evaluation:
    found = ope.evaluate(log)
    assert not isinstance(found, Refusal)
    return found


@settings(max_examples=25, deadline=None)
@given(logs())
def test_a_self_normalised_value_lies_among_the_losses_and_within_its_interval(log: list[Pair]) -> None:
    found = evaluated(log)
    seen = [decision.loss for decision, _ in log]
    assert min(seen) - 1e-6 <= found.snips.value <= max(seen) + 1e-6
    for estimate in (found.logged, found.ips, found.snips, found.dr, found.snips_difference, found.dr_difference):
        assert estimate.low <= estimate.value <= estimate.high


@settings(max_examples=25, deadline=None)
@given(logs(), st.integers(0, 1_000))
def test_the_order_of_records_does_not_matter(log: list[Pair], seed: int) -> None:
    one, other = evaluated(log), evaluated(random.Random(seed).sample(log, len(log)))
    for name in ("ips", "snips", "dr", "dr_difference"):
        mine, its = getattr(one, name), getattr(other, name)
        assert (mine.value, mine.low, mine.high) == pytest.approx((its.value, its.low, its.high), abs=1e-6)


@settings(max_examples=25, deadline=None)
@given(logs(), st.floats(1.0, 500.0))
def test_what_every_call_loses_more_the_self_normalised_value_loses_more(log: list[Pair], more: float) -> None:
    heavier = [(replace(decision, loss=decision.loss + more), policy) for decision, policy in log]
    assert evaluated(heavier).snips.value == pytest.approx(evaluated(log).snips.value + more)


@settings(max_examples=25, deadline=None)
@given(logs())
def test_perfect_predictions_leave_the_doubly_robust_value_nothing_to_correct(log: list[Pair]) -> None:
    exact = [
        (
            replace(
                decision, loss=next(c.predicted_loss for c in decision.candidates if c.endpoint == decision.called)
            ),
            p,
        )
        for decision, p in log
    ]
    direct = sum(sum(p[c.endpoint] * c.predicted_loss for c in d.candidates) for d, p in exact) / len(exact)
    assert evaluated(exact).dr.value == pytest.approx(direct)


@settings(max_examples=25, deadline=None)
@given(logs())
def test_records_that_share_every_draw_count_as_one(log: list[Pair]) -> None:
    twice = [
        (replace(decision, cluster=f"lease-{number}"), policy)
        for number, (decision, policy) in enumerate(log)
        for _ in range(2)
    ]
    alone, together = evaluated(log), evaluated(twice)
    assert together.overlap.sample_size == pytest.approx(alone.overlap.sample_size)
    for name in ("snips", "dr"):
        one, other = getattr(alone, name), getattr(together, name)
        assert (other.value, other.low, other.high) == pytest.approx((one.value, one.low, one.high), abs=1e-6)
