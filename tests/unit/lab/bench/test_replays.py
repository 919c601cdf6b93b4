"""The rows of a replay, from verdicts written by hand."""

from dataclasses import replace

import pytest

from fiso.domain.endpoint import EndpointId
from fiso_cli.worlds.figures import Figures, Standing, Verdict
from fiso_cli.worlds.router import Run
from fiso_cli.worlds.world import Result
from tests.lab.bench import replays
from tests.lab.bench.rows import Row

FIGURES = Figures(mean=90, p50=90, p95=90, p99=90, cost_per_million=1, success=1, objective_mean=90, early_total=18_000)
STANDING = Standing(figures=FIGURES, ci95=None, worst_case=0.9, regret=-1, early_regret=0.02)
VERDICT = Verdict(
    rounds=1_000,
    best_single=EndpointId("aws"),
    fiso=STANDING,
    captured=0.85,
    captured_ci95=None,
    worst_case_ci95=None,
    oracle_gain=0.12,
    rivals={},
)


def rows_of(verdict: Verdict) -> dict[str, Row]:
    return {found.name: found for found in replays.of_verdict(verdict, "sebs2020_latency")}


def with_fiso(worst_case: float | None = 0.9, early_regret: float | None = 0.02) -> Verdict:
    return replace(VERDICT, fiso=replace(STANDING, worst_case=worst_case, early_regret=early_regret))


def test_a_replay_gives_three_rows_with_their_rivals() -> None:
    found = rows_of(VERDICT)
    assert list(found) == ["replay_sebs2020_latency", "early_regret_sebs2020_latency", "captured_sebs2020_latency"]
    assert [figure.value for figure in found.values()] == [0.9, 0.02, 0.85]
    assert [figure.n for figure in found.values()] == [5_000, 1_000, 5_000]
    assert all(figure.is_met for figure in found.values())
    assert found["replay_sebs2020_latency"].ratio == pytest.approx(1 / 0.9)
    assert found["captured_sebs2020_latency"].ratio == pytest.approx(0.85)


@pytest.mark.parametrize(
    ("rounds", "worst_case", "is_met"), [(1_000, 1.03, False), (999, 1.03, True), (999, 1.06, False)]
)
def test_a_short_trace_may_cost_more_over_the_best_endpoint(rounds: int, worst_case: float, is_met: bool) -> None:
    found = rows_of(replace(with_fiso(worst_case), rounds=rounds))
    assert found["replay_sebs2020_latency"].is_met is is_met


@pytest.mark.parametrize(("captured", "is_met"), [(0.8, True), (0.79, False)])
def test_four_fifths_of_the_gain_must_be_captured(captured: float, is_met: bool) -> None:
    assert rows_of(replace(VERDICT, captured=captured))["captured_sebs2020_latency"].is_met is is_met


@pytest.mark.parametrize("gain", [0.049, 0.0, None])
def test_where_the_oracle_gains_little_nothing_is_said_of_what_was_captured(gain: float | None) -> None:
    assert "captured_sebs2020_latency" not in rows_of(replace(VERDICT, oracle_gain=gain))


@pytest.mark.parametrize(("early", "is_met"), [(-0.2, True), (0.1, True), (0.11, False)])
def test_the_first_rounds_may_cost_a_tenth_more(early: float, is_met: bool) -> None:
    assert rows_of(with_fiso(early_regret=early))["early_regret_sebs2020_latency"].is_met is is_met


def test_without_a_single_endpoint_to_compare_with_there_are_no_rows() -> None:
    assert rows_of(replace(with_fiso(None, None), best_single=None, captured=None, oracle_gain=None)) == {}


def test_the_hit_rate_counts_every_decision_those_without_a_context_too() -> None:
    result = Result(number=0, at_s=0, function="f", arm=EndpointId("aws"), latency_ms=1, cost_usd=0, ok=True)
    runs = [Run(results=(result,) * 10, retrainings=(), environments=1, hits=hits, misses=2) for hits in (6, 1)]
    found = replays.hit_rate(runs)
    assert (found.value, found.n, found.rival_value, found.ratio) == (0.35, 20, None, None)
