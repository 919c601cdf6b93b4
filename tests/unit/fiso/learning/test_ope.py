"""Off-policy evaluation by hand-worked numbers, over worlds whose truth is known, and where it must refuse."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest
from scipy.stats import binom

from fiso.domain.endpoint import EndpointId
from fiso.learning import ope
from fiso.learning.ope import (
    LARGEST_SHARE,
    LEAST_SAMPLE,
    MOST_UNCOVERED,
    Evaluation,
    Log,
    LoggedCandidate,
    LoggedDecision,
    Overlap,
    Probabilities,
    Refusal,
    Thinness,
    refusal_of,
)

AWS, AZURE, GCP = EndpointId("aws"), EndpointId("azure"), EndpointId("gcp")
MEANS: Mapping[EndpointId, float] = {AWS: 100.0, AZURE: 60.0, GCP: 140.0}
BEHAVIOUR: Probabilities = {AWS: 0.7, AZURE: 0.2, GCP: 0.1}
Pairs = Sequence[tuple[LoggedDecision, Probabilities]]


def decision(
    called: EndpointId,
    loss: float,
    behaviour: Probabilities = BEHAVIOUR,
    *,
    predicted: Mapping[EndpointId, float] = MEANS,
    cluster: str | None = None,
) -> LoggedDecision:
    candidates = tuple(
        LoggedCandidate(endpoint=endpoint, propensity=chance, predicted_loss=predicted[endpoint])
        for endpoint, chance in behaviour.items()
    )
    return LoggedDecision(candidates=candidates, called=called, loss=loss, cluster=cluster)


def logged(
    records: int,
    policy: Probabilities,
    behaviour: Probabilities = BEHAVIOUR,
    *,
    seed: int = 1,
    per_lease: int = 1,
    predicted: Mapping[EndpointId, float] = MEANS,
) -> Pairs:
    """Log-normal losses around MEANS. Under a lease, calls share their draw and what is the matter with that day."""
    rng, pairs = random.Random(seed), []
    for number in range(records // per_lease):
        (called,) = rng.choices(list(behaviour), list(behaviour.values()))
        day = rng.lognormvariate(-0.045, 0.3)
        for _ in range(per_lease):
            loss = MEANS[called] * day * rng.lognormvariate(-0.02, 0.2)
            cluster = f"lease-{number}" if per_lease > 1 else None
            pairs.append((decision(called, loss, behaviour, predicted=predicted, cluster=cluster), policy))
    return pairs


def evaluated(pairs: Pairs) -> Evaluation:
    found = ope.evaluate(pairs)
    assert isinstance(found, Evaluation), found
    return found


def refused(pairs: Pairs) -> Refusal:
    found = ope.evaluate(pairs)
    assert isinstance(found, Refusal)
    return found


def truth(policy: Probabilities) -> float:
    return sum(chance * MEANS[endpoint] for endpoint, chance in policy.items())


def test_the_three_estimators_by_hand() -> None:
    # b = (.8, .2), p = (.5, .5): weights .625 and 2.5; q = (90, 70), so the direct part is 80
    behaviour, predicted = {AWS: 0.8, AZURE: 0.2}, {AWS: 90.0, AZURE: 70.0}
    policy = {AWS: 0.5, AZURE: 0.5}
    rows = [(AWS, 100.0)] * 80 + [(AZURE, 60.0)] * 20
    found = evaluated([(decision(called, loss, behaviour, predicted=predicted), policy) for called, loss in rows])
    assert found.logged.value == pytest.approx(92.0)
    assert found.ips.value == pytest.approx(80 * 0.625 * 1.00 + 20 * 2.5 * 0.60)  # 80
    assert found.snips.value == pytest.approx((80 * 0.625 * 100 + 20 * 2.5 * 60) / (80 * 0.625 + 20 * 2.5))  # 80
    assert found.dr.value == pytest.approx(80 + (80 * 0.625 * 10 + 20 * 2.5 * -10) / 100)  # 80
    assert found.snips_difference.value == pytest.approx(-12.0)
    assert found.overlap.sample_size == pytest.approx(100**2 / (80 * 0.625**2 + 20 * 2.5**2))
    assert found.overlap.expected_size == pytest.approx(100 / (0.25 / 0.8 + 0.25 / 0.2))
    assert found.overlap.largest_share == pytest.approx(0.025)


def test_the_behaviour_policy_itself_is_worth_what_was_logged() -> None:
    found = evaluated(logged(400, BEHAVIOUR))
    assert found.snips.low == pytest.approx(found.ips.low)
    assert found.snips.value == pytest.approx(found.logged.value)
    assert found.overlap.sample_size == pytest.approx(400)
    difference = found.snips_difference
    assert (difference.value, difference.low, difference.high) == pytest.approx((0, 0, 0))


def test_predictions_that_are_near_make_the_doubly_robust_interval_the_narrower_one() -> None:
    found = evaluated(logged(3_000, {AZURE: 0.5, GCP: 0.5}))
    assert found.dr.high - found.dr.low < 0.9 * (found.snips.high - found.snips.low)


def test_predictions_that_are_wrong_do_not_mislead_the_doubly_robust_estimate() -> None:
    policy = {AZURE: 1.0}
    found = evaluated(logged(20_000, policy, predicted={AWS: 10.0, AZURE: 500.0, GCP: 10.0}))
    assert found.dr.low < truth(policy) < found.dr.high
    assert found.dr.value == pytest.approx(truth(policy), rel=0.1)


@pytest.mark.parametrize("per_lease", [1, 8])
def test_intervals_cover_the_truth_when_calls_share_a_draw_or_not(per_lease: int) -> None:
    policy = {AWS: 0.3, AZURE: 0.7}
    hits = {"snips": 0, "dr": 0, "snips_difference": 0}
    runs = 60
    for seed in range(runs):
        found = evaluated(logged(300 * per_lease, policy, seed=seed, per_lease=per_lease))
        true = {name: truth(policy) for name in hits} | {"snips_difference": truth(policy) - truth(BEHAVIOUR)}
        for name in hits:
            estimate = getattr(found, name)
            hits[name] += estimate.low <= true[name] <= estimate.high
    # with a true coverage of 90 % fewer hits than this would be seen once in 10,000 times
    least = binom.ppf(1e-4, runs, 0.90)
    assert min(hits.values()) >= least, hits


RARELY, NEVER = {AWS: 0.999, AZURE: 0.001}, {AWS: 0.9999, AZURE: 0.0001}
ORDINARY = [(decision(AWS, 100.0), BEHAVIOUR)] * 4_000


@pytest.mark.parametrize(
    ("pairs", "reason", "figures"),
    [
        (logged(1_000, {GCP: 1.0}, {AWS: 0.8, AZURE: 0.2, GCP: 0.0}), Thinness.UNCOVERED, {"left_out": 1_000}),
        (logged(1_000, {AWS: 0.8, GCP: 0.2}, {AWS: 0.8, AZURE: 0.2}), Thinness.UNCOVERED, {"uncovered_share": 0.2}),
        ([*ORDINARY, (decision(AZURE, 60.0, RARELY), {AZURE: 1.0})], Thinness.DOMINATED, {"largest_share": 0.2}),
        # all weights alike: the draws alone look perfect
        ([(decision(AWS, 100.0, NEVER), {AWS: 0.2, AZURE: 0.8})] * 1_000, Thinness.FEW, {"sample_size": 1_000}),
        (logged(40, BEHAVIOUR), Thinness.FEW, {"records": 40}),
        ([], Thinness.NO_RECORDS, {"records": 0}),
    ],
    ids=["a rare choice", "never a candidate", "one weight dominates", "hardly ever called", "too few", "none"],
)
def test_refuses_what_the_log_cannot_tell(pairs: Pairs, reason: Thinness, figures: Mapping[str, float]) -> None:
    refusal = refused(pairs)
    assert refusal.reason is reason
    assert {name: getattr(refusal.overlap, name) for name in figures} == pytest.approx(figures)


def test_does_not_refuse_a_deterministic_log_that_is_asked_about_its_own_choice() -> None:
    found = evaluated(logged(200, {AWS: 1.0}, {AWS: 1.0, AZURE: 0.0}))
    assert found.snips.value == pytest.approx(found.logged.value)


def test_a_few_situations_without_the_endpoint_are_left_out_and_said() -> None:
    policy = {AWS: 0.2, AZURE: 0.8}
    without = [(decision(AWS, 1e6, {AWS: 1.0, AZURE: 0.0}), policy) for _ in range(20)]
    found = evaluated([*logged(1_980, policy), *without])
    assert found.overlap.left_out == 20
    assert found.overlap.uncovered_share == pytest.approx(0.8 * 0.01)
    assert found.snips.value == pytest.approx(truth(policy), rel=0.1)


def test_the_part_that_can_be_called_is_evaluated_where_it_is_most() -> None:
    policy = {AWS: 0.97, GCP: 0.03}
    found = evaluated([(decision(AWS, 100.0, {AWS: 0.9, AZURE: 0.1}), policy) for _ in range(200)])
    assert found.overlap.records == 200
    assert found.dr.value == pytest.approx(100.0)


@pytest.mark.parametrize(
    "impossible",
    [
        lambda: decision(AWS, float("nan")),
        lambda: decision(GCP, 1.0, {AWS: 1.0, GCP: 0.0}),
        lambda: decision(AWS, 1.0, {AWS: 0.5, AZURE: 0.4}),
        lambda: Log().add(decision(AWS, 1.0), {AWS: 0.5}),
        lambda: Log().add(decision(AWS, 1.0), {AWS: 1.5, AZURE: -0.5}),
    ],
)
def test_impossible_values_cannot_be_built(impossible: object) -> None:
    assert callable(impossible)
    with pytest.raises(ValueError, match=r"losses|propensit|probabilities"):
        impossible()


AMPLE = Overlap(
    records=1_000,
    clusters=1_000,
    left_out=0,
    sample_size=400.0,
    expected_size=380.0,
    largest_share=0.01,
    mean_weight=1.0,
    uncovered={},
)


def test_ample_overlap_is_not_refused() -> None:
    assert refusal_of(AMPLE) is None


@pytest.mark.parametrize(
    "changes",
    [
        {"sample_size": LEAST_SAMPLE, "expected_size": LEAST_SAMPLE},
        {"largest_share": LARGEST_SHARE},
        {"uncovered": {AZURE: MOST_UNCOVERED}},
    ],
)
def test_what_just_meets_a_limit_is_not_refused(changes: dict[str, object]) -> None:
    assert refusal_of(replace(AMPLE, **changes)) is None  # type: ignore[arg-type]
