import random
from dataclasses import replace
from pathlib import Path

import pytest

from fiso.billing import tariff
from fiso.domain.endpoint import EndpointId
from fiso_cli.worlds import trace_rivals as rivals
from fiso_cli.worlds.figures import Interval, Judge, interval, percentile
from fiso_cli.worlds.objective import Objective, charged_latencies, losses
from fiso_cli.worlds.rules import LowestRecentLatency
from fiso_cli.worlds.trace import Trace, read
from fiso_cli.worlds.trace_catalog import Catalog
from fiso_cli.worlds.trace_rivals import Contest
from fiso_cli.worlds.verdict import verdict
from tests.unit.fiso_cli.worlds.paired import AZURE, pair, row, write

AWS_ARM, AZURE_ARM = EndpointId("aws/us-east-1/512"), EndpointId("azure/westeurope/dynamic")


def contest_of(trace: Trace, objective: Objective = Objective.LATENCY) -> Contest:
    endpoints = {endpoint.id: endpoint for endpoint in Catalog(trace, objective).endpoints()}
    return Contest(trace=trace, losses=losses(trace, objective), endpoints=endpoints, tariff=tariff.current())


def judge_of(trace: Trace) -> Judge:
    return Judge(trace=trace, latencies=charged_latencies(trace), losses=losses(trace, Objective.LATENCY))


@pytest.fixture
def by_load(tmp_path: Path) -> Trace:
    """AWS takes 100 ms always, Azure 50 ms at one in flight and 350 ms at fifty: half of the rounds each."""
    quiet = [line for number in range(10) for line in pair(number, 100, 50)]
    busy = [line for number in range(10, 20) for line in pair(number, 100, 350, in_flight=50)]
    return read(write(tmp_path, *quiet, *busy))


def test_best_single_and_oracles_on_numbers_worked_by_hand(by_load: Trace) -> None:
    contest = contest_of(by_load)
    assert rivals.best_single(contest) == AWS_ARM
    oracle = rivals.context_oracle(contest, random.Random(0))
    assert oracle == [AZURE_ARM] * 10 + [AWS_ARM] * 10
    assert rivals.round_hindsight(contest, random.Random(0)) == oracle


def test_captured_and_worst_case_on_numbers_worked_by_hand(by_load: Trace) -> None:
    judge = judge_of(by_load)
    single = judge.figures([AWS_ARM] * 20)
    oracle = judge.figures([AZURE_ARM] * 10 + [AWS_ARM] * 10)
    halfway = judge.figures([AZURE_ARM] * 5 + [AWS_ARM] * 15)
    judged = verdict([halfway, halfway], {"best_single": [single], "context_oracle": [oracle]}, rounds=20, best=AWS_ARM)
    assert judged.oracle_gain == pytest.approx(0.25)
    assert judged.captured == pytest.approx(0.5)
    assert judged.fiso.worst_case == pytest.approx(0.875)
    assert judged.fiso.regret == pytest.approx(-250)
    assert judged.fiso.early_regret == pytest.approx(-0.125)


def test_runs_that_share_a_seed_are_held_against_each_other(by_load: Trace) -> None:
    """Twice the charge in the second seed, for everybody: the ratios are the same, so the interval is a point."""
    judge = judge_of(by_load)
    single, better = judge.figures([AWS_ARM] * 20), judge.figures([AZURE_ARM] * 10 + [AWS_ARM] * 10)
    runs = {
        name: [figures, replace(figures, objective_mean=2 * figures.objective_mean)]
        for name, figures in {"best_single": single, "context_oracle": better}.items()
    }
    judged = verdict(runs["context_oracle"], runs, rounds=20, best=AWS_ARM)
    assert judged.worst_case_ci95 == Interval(low=0.75, high=0.75)
    assert judged.captured == pytest.approx(1.0)


def test_captured_says_nothing_where_there_is_nothing_to_gain(tmp_path: Path) -> None:
    trace = read(write(tmp_path, *(line for number in range(5) for line in pair(number))))
    single = judge_of(trace).figures([AWS_ARM] * 5)
    judged = verdict([single], {"best_single": [single], "context_oracle": [single]}, rounds=5, best=AWS_ARM)
    assert judged.captured is None
    assert judged.fiso.ci95 is None


def test_there_is_no_best_single_where_no_arm_is_always_present(tmp_path: Path) -> None:
    trace = read(write(tmp_path, row(0), row(1, AZURE)))
    contest = contest_of(trace)
    assert rivals.best_single(contest) is None
    figures = judge_of(trace).figures(rivals.context_oracle(contest, random.Random(0)))
    judged = verdict([figures], {"context_oracle": [figures]}, rounds=2, best=None)
    assert judged.fiso.worst_case is None
    assert judged.captured is None


@pytest.mark.parametrize("rival", rivals.RIVALS, ids=lambda rival: rival.name)
def test_every_rival_picks_an_arm_that_is_present(rival: rivals.Rival, tmp_path: Path) -> None:
    trace = read(write(tmp_path, *pair(0), row(1), row(2, AZURE), *pair(3)))
    picks = rival.rule(contest_of(trace), random.Random(3))
    assert len(picks) == len(trace.rounds)
    assert all(arm in played.calls for arm, played in zip(picks, trace.rounds, strict=True))


def test_lowest_recent_latency_tries_each_arm_once_and_stays_with_the_fastest(tmp_path: Path) -> None:
    trace = read(write(tmp_path, *(line for number in range(9) for line in pair(number, 100, 30))))
    picks = rivals.by_rule(LowestRecentLatency)(contest_of(trace), random.Random(0))
    assert set(picks[:2]) == {AWS_ARM, AZURE_ARM}
    assert set(picks[2:]) == {AZURE_ARM}


def test_a_fast_failure_is_charged_the_rounds_worst(tmp_path: Path) -> None:
    trace = read(write(tmp_path, row(0, latency_ms=1, ok=False), row(0, AZURE, latency_ms=300)))
    assert losses(trace, Objective.LATENCY)[0][AWS_ARM] == 300
    assert judge_of(trace).figures([AWS_ARM]).success == 0
    assert losses(trace, Objective.BALANCED)[0][AWS_ARM] > losses(trace, Objective.BALANCED)[0][AZURE_ARM] - 1e-12


def test_balanced_charges_are_shares_of_the_contexts_mean(tmp_path: Path) -> None:
    trace = read(write(tmp_path, *pair(0, 100, 300)))
    charges = losses(trace, Objective.BALANCED)[0]
    assert charges[AWS_ARM] == pytest.approx((0.4 * 0.5 + 0.3) / 0.9)
    assert charges[AZURE_ARM] == pytest.approx((0.4 * 1.5 + 0.3) / 0.9)


def test_intervals_and_percentiles_on_numbers_worked_by_hand() -> None:
    found = interval([1.0, 2.0, 3.0])
    assert found is not None
    assert found.low == pytest.approx(2 - 4.303 / 3**0.5, abs=1e-6)
    assert interval([1.0]) is None
    assert percentile([1.0, 2.0, 3.0, 4.0], 0.5) == 2.5
    assert percentile([7.0], 0.99) == 7
