from pathlib import Path

import pytest

from fiso.billing import tariff
from fiso.domain.endpoint import EndpointId
from fiso_cli.worlds.figures import Figures, judged, verdict
from fiso_cli.worlds.objective import Objective
from fiso_cli.worlds.rules import by_arm
from fiso_cli.worlds.trace import Trace, read
from fiso_cli.worlds.trace_worlds import TraceWorlds, losses
from fiso_cli.worlds.world import Results
from tests.unit.fiso_cli.worlds.paired import AZURE, pair, row, write

AWS_ARM, AZURE_ARM = EndpointId("aws/us-east-1/512"), EndpointId("azure/westeurope/dynamic")


def worlds_of(trace: Trace) -> TraceWorlds:
    return TraceWorlds(trace, tariff.current())


def oracles(trace: Trace) -> dict[str, list[EndpointId]]:
    worlds = worlds_of(trace)
    found = worlds.oracles(worlds.judge(Objective.LATENCY), Objective.LATENCY, 0)
    return {name: arms(results) for name, results in found.items()}


def arms(results: Results) -> list[EndpointId]:
    return [result.arm for result in results]


def figures_of(trace: Trace, picks: list[EndpointId]) -> Figures:
    worlds = worlds_of(trace)
    single = {arm: by_arm(worlds, arm, seed=0) for arm in set(picks)}
    picked = [single[arm][number] for number, arm in enumerate(picks)]
    return judged(picked, worlds.judge(Objective.LATENCY)).figures


@pytest.fixture
def by_load(tmp_path: Path) -> Trace:
    """AWS takes 100 ms always, Azure 50 ms at one in flight and 350 ms at fifty: half of the rounds each."""
    quiet = [line for number in range(10) for line in pair(number, 100, 50)]
    busy = [line for number in range(10, 20) for line in pair(number, 100, 350, in_flight=50)]
    return read(write(tmp_path, *quiet, *busy))


def test_oracles_on_numbers_worked_by_hand(by_load: Trace) -> None:
    best = [AZURE_ARM] * 10 + [AWS_ARM] * 10
    assert oracles(by_load) == {"context_oracle": best, "round_hindsight": best}


def test_captured_and_worst_case_on_numbers_worked_by_hand(by_load: Trace) -> None:
    single = figures_of(by_load, [AWS_ARM] * 20)
    oracle = figures_of(by_load, [AZURE_ARM] * 10 + [AWS_ARM] * 10)
    halfway = figures_of(by_load, [AZURE_ARM] * 5 + [AWS_ARM] * 15)
    found = verdict([halfway, halfway], {"best_single": [single], "context_oracle": [oracle]}, rounds=20, best=AWS_ARM)
    assert found.oracle_gain == pytest.approx(0.25)
    assert found.captured == pytest.approx(0.5)
    assert found.fiso.worst_case == pytest.approx(0.875)
    assert found.fiso.regret == pytest.approx(-250)
    assert found.fiso.early_regret == pytest.approx(-0.125)


def test_captured_says_nothing_where_there_is_nothing_to_gain(tmp_path: Path) -> None:
    trace = read(write(tmp_path, *(line for number in range(5) for line in pair(number))))
    single = figures_of(trace, [AWS_ARM] * 5)
    found = verdict([single], {"best_single": [single], "context_oracle": [single]}, rounds=5, best=AWS_ARM)
    assert found.captured is None
    assert found.fiso.ci95 is None


def test_there_is_no_best_single_where_no_arm_is_always_present(tmp_path: Path) -> None:
    trace = read(write(tmp_path, row(0), row(1, AZURE)))
    assert worlds_of(trace).always_present == ()
    assert oracles(trace)["context_oracle"] == [AWS_ARM, AZURE_ARM]
    figures = figures_of(read(write(tmp_path, *pair(0))), [AWS_ARM])
    found = verdict([figures], {"context_oracle": [figures]}, rounds=2, best=None)
    assert found.fiso.worst_case is None
    assert found.captured is None


def test_a_fast_failure_is_charged_the_rounds_worst(tmp_path: Path) -> None:
    trace = read(write(tmp_path, row(0, latency_ms=1, ok=False), row(0, AZURE, latency_ms=300)))
    assert losses(trace, Objective.LATENCY)[0][AWS_ARM] == 300
    assert figures_of(trace, [AWS_ARM]).success == 0
    assert losses(trace, Objective.BALANCED)[0][AWS_ARM] > losses(trace, Objective.BALANCED)[0][AZURE_ARM] - 1e-12
