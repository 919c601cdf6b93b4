"""`fiso simulate` over small worlds, and calibrated on measured traces where they are at hand."""

import json
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from fiso.domain.endpoint import Provider
from fiso.services.resilience.dispatch import OVERDUE_S
from fiso_cli.local_stage import CHECKOUT
from fiso_cli.main import app
from fiso_cli.worlds import router
from fiso_cli.worlds.clouds.clouds import Clouds
from fiso_cli.worlds.clouds.outages import Kind, Outage
from fiso_cli.worlds.clouds.service import Lognormal
from fiso_cli.worlds.objective import Objective
from fiso_cli.worlds.rules import by_arm
from fiso_cli.worlds.virtual_time import Arrival
from fiso_cli.worlds.world import NOBODY
from fiso_cli.worlds.world import Result as Ended
from fiso_client.core.breaker import CONSECUTIVE
from tests.unit.fiso_cli.worlds.paired import pair, write
from tests.unit.fiso_cli.worlds.settings import AWS_ID, AZURE_ID, GCP_ID, a_service, some_clouds

DATA = Path(os.environ.get("FISO_DATA_DIR") or CHECKOUT.parent / "shared" / "data")
RULES = {"random", "round_robin", "lowest_recent_latency", "peak_ewma_p2c", "recent_means", "cheapest_list_price"}
SMALL = ("--functions", 2, "--requests", 150, "--seeds", 2)


def simulate(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["simulate", *map(str, arguments)], env={"COLUMNS": "120"})


def measured(name: str) -> Path:
    path = DATA / name
    if not path.exists():
        pytest.skip(f"the measured file {name} is not at hand; set FISO_DATA_DIR to the folder that holds it")
    return path


def figures_of(out: Path, *arguments: object) -> dict[str, Any]:
    shown = simulate(*arguments, "--out", out)
    assert shown.exit_code == 0, shown.output
    content: dict[str, Any] = json.loads(out.read_text(encoding="utf-8"))
    return content


def every(seconds: float, count: int) -> list[Arrival]:
    return [Arrival(number=number, at_s=number * seconds, function="f") for number in range(count)]


def routed(
    clouds: Clouds, arrivals: Sequence[Arrival], *, is_idempotent: bool = False, seed: int = 0
) -> Sequence[Ended]:
    policy = router.policy_of(Objective.LATENCY, is_idempotent=is_idempotent)
    return router.run(at(arrivals, clouds), policy, None, seed=seed).results


def at(arrivals: Sequence[Arrival], clouds: Clouds) -> Clouds:
    """For any seed below 4."""
    return replace(clouds, requests=[arrivals] * 4)


def test_writes_what_a_replay_writes_and_calibration_and_outages(tmp_path: Path) -> None:
    figures = figures_of(tmp_path / "out.json", *SMALL, "--outage", "aws/us-east-1:40:80")
    assert (figures["objective"], figures["seeds"], figures["rounds"]) == ("latency", 2, 150)
    keys = {"mean", "p50", "p95", "p99", "cost_per_million", "success", "captured", "worst_case", "ci95", "regret"}
    assert keys <= figures["fiso"].keys()
    arms = {name for name in figures["rivals"] if "/" in name}
    assert set(figures["rivals"]) - arms == RULES | {"best_single", "context_oracle"}
    assert figures["best_single"] in arms
    assert figures["calibration"] is None
    (outage,) = figures["outages"]
    assert (outage["provider"], outage["region"], outage["kind"]) == ("aws", "us-east-1", "refuse")
    assert set(outage["phases"]) == set(figures["rivals"]) | {"fiso"}
    for phases in outage["phases"].values():
        assert set(phases) == {"before", "during", "after"}
        assert sum(phase["requests"] for phase in phases.values()) == 300


def test_prints_the_table_the_outage_and_its_source() -> None:
    shown = simulate(*SMALL, "--outage", "aws-2023-06-13")
    assert shown.exit_code == 0, shown.output
    for said in ("worst_case", "context_oracle", "before", "during", "aws.amazon.com/message/061323", "scaled to"):
        assert said in shown.output


def test_an_outage_costs_the_single_endpoint_its_answers_and_the_router_next_to_none(tmp_path: Path) -> None:
    figures = figures_of(tmp_path / "out.json", "--requests", 400, "--seeds", 1, "--outage", "aws/us-east-1:100:250")
    phases = figures["outages"][0]["phases"]
    single = phases["aws/us-east-1/1792"]
    assert single["during"]["success"] == 0
    assert single["after"]["success"] > 0.98
    assert phases["fiso"]["during"]["success"] > 0.98
    assert phases["fiso"]["during"]["success"] > phases["random"]["during"]["success"]


def test_a_refused_attempt_costs_its_time_and_the_next_one_answers() -> None:
    outage = Outage(provider=Provider.AWS, start_s=60, end_s=120)
    served = routed(some_clouds(outage), every(1.0, 150))
    failed_over = [request for request in served if request.attempts > 1]
    assert failed_over
    assert all(request.ok and 60 <= request.at_s < 120 for request in failed_over)
    assert all(request.latency_ms > 150 for request in failed_over)
    assert fmean(request.arm == AWS_ID for request in served if 30 <= request.at_s < 60) > 0.5


def test_few_requests_are_lost_to_a_silent_cloud_before_it_is_avoided() -> None:
    """Nobody knows of a time-out of 28 s before it is over; but that calls are late is told, and then all avoid it."""
    outage = Outage(provider=Provider.AWS, start_s=60, end_s=400, kind=Kind.TIME_OUT)
    served = routed(some_clouds(outage), every(0.5, 800))
    first = [request for request in served if 60 <= request.at_s < 88]
    assert not any(request.ok for request in first if request.arm == AWS_ID)
    assert CONSECUTIVE <= sum(not request.ok for request in first) <= 2 * CONSECUTIVE
    assert {round(request.latency_ms) for request in first if not request.ok} == {28_000 - OVERDUE_S * 1000}
    later = [request for request in served if 240 <= request.at_s < 400]
    assert fmean(request.ok for request in later) > 0.98


def test_calls_that_may_be_repeated_survive_a_time_out() -> None:
    outage = Outage(provider=Provider.AWS, start_s=60, end_s=200, kind=Kind.TIME_OUT)
    served = routed(some_clouds(outage), every(0.5, 300), is_idempotent=True)
    assert all(request.ok for request in served)


def test_calls_to_a_cloud_that_became_slow_are_hedged_where_they_may_be_repeated() -> None:
    """20 times slower: 100 ms become 2 s, and 12 s for some, until the states have learned it."""
    outage = Outage(provider=Provider.AWS, start_s=60, end_s=200, kind=Kind.SLOW)
    slowest: dict[bool, float] = {}
    for is_idempotent in (False, True):
        served = routed(some_clouds(outage), every(0.5, 400), is_idempotent=is_idempotent)
        assert all(request.ok for request in served)
        slowest[is_idempotent] = max(request.latency_ms for request in served)
    assert slowest[True] < 0.25 * slowest[False]


def test_a_hedge_that_lost_costs_what_it_ran() -> None:
    outage = Outage(provider=Provider.AWS, start_s=60, end_s=200, kind=Kind.SLOW)
    served = routed(some_clouds(outage), every(0.5, 400), is_idempotent=True)
    alone = fmean(request.cost_usd for request in served if request.attempts == 1 and request.arm == AZURE_ID)
    beside = [request for request in served if request.attempts > 1]
    assert beside
    assert all(request.cost_usd > alone for request in beside)


def test_calls_that_overlap_are_routed_in_environments_of_their_own() -> None:
    clouds = some_clouds(services={arm: a_service(10_000.0) for arm in (AWS_ID, AZURE_ID, GCP_ID)})
    policy = router.policy_of(Objective.LATENCY, is_idempotent=False)
    for seconds, environments in ((60.0, 1), (1.0, 11)):
        simulated = router.run(at(every(seconds, 40), clouds), policy, None, seed=0)
        assert abs(simulated.environments - environments) <= 1


def test_the_router_meets_the_chances_of_its_rivals() -> None:
    varied = {arm: a_service(work=Lognormal(median_ms=100, sigma=0.4)) for arm in (AWS_ID, AZURE_ID, GCP_ID)}
    clouds, arrivals = some_clouds(services=varied), every(5.0, 100)
    alone = {arm: by_arm(at(arrivals, clouds), arm, seed=3) for arm in varied}
    for request in routed(clouds, arrivals, seed=3):
        assert request.arm != NOBODY
        same = alone[request.arm][request.number]
        assert request.cold or same.cold or request.latency_ms == pytest.approx(same.latency_ms)


def test_the_router_learns_from_what_it_meets() -> None:
    """Google, the slowest by what is published here, turns out to be five times faster."""
    clouds = some_clouds(services={GCP_ID: a_service(20.0)})
    served = routed(clouds, every(1.0, 400))
    assert fmean(request.arm == GCP_ID for request in served[200:]) > 0.8


def test_counts_per_minute_set_the_arrivals(tmp_path: Path) -> None:
    counts = tmp_path / "counts.csv"
    counts.write_text("HashFunction,0,1,2\na,30,10,20\nb,5,5,5\n", encoding="utf-8")
    arguments = ("--functions", 2, "--minutes", 2, "--seeds", 1, "--arrivals", counts)
    assert figures_of(tmp_path / "out.json", *arguments)["rounds"] == 50


def test_a_world_can_be_fitted_to_a_trace_whose_error_is_shown(tmp_path: Path) -> None:
    trace = write(
        tmp_path, *(line for number in range(200) for line in pair(number, 100 + number % 9, 40 + number % 5))
    )
    figures = figures_of(tmp_path / "out.json", "--calibrate", trace, "--requests", 100, "--seeds", 1)
    assert figures["calibration"]["summary"]["mean"]["worst"] < 0.05
    assert len(figures["calibration"]["cells"]) == 2
    assert figures["best_single"] == "azure/westeurope/dynamic"


def test_the_measured_clouds_are_matched_and_simulated(tmp_path: Path) -> None:
    trace = measured("paired/sebs2020.csv.gz")
    curves = measured("coldstarts_mikhail/idle_pcold.csv")
    out = tmp_path / "out.json"
    figures = figures_of(out, "--calibrate", trace, "--coldstarts", curves, "--requests", 200, "--seeds", 1)
    summary = figures["calibration"]["summary"]
    assert summary["mean"]["median"] < 0.1
    assert summary["cost"]["median"] < 0.1
    assert len(figures["calibration"]["cells"]) == 36
    assert figures["calibration"]["under_load"]["azure"]["exponent"] > 0.5
    assert figures["calibration"]["under_load"]["aws"]["exponent"] < 0.1


def test_a_measured_incident_is_replayed(tmp_path: Path) -> None:
    events = measured("incidents/aws_status_events.csv")
    figures = figures_of(tmp_path / "out.json", *SMALL, "--outage", f"{events}#223")
    (outage,) = figures["outages"]
    assert (outage["provider"], outage["region"]) == ("aws", "us-east-1")
    assert "2019-11-12" in outage["source"]


def test_the_help_names_the_ways_to_say_an_outage() -> None:
    shown = simulate("--help")
    assert shown.exit_code == 0
    for said in ("FILE#ROW", "provider/region:start_s:end_s", "aws-2023-06-13", "time_out"):
        assert said in shown.output


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--outage", "yesterday"), "--outage: yesterday"),
        (("--outage", "absent.csv#1"), "absent.csv"),
        (("--outage", "aws:9000000:9000001"), "the simulation ends at"),
        (("--requests", 10, "--minutes", 1), "exclude each other"),
        (("--arrivals", "absent.csv"), "absent.csv"),
        (("--coldstarts", "absent.csv"), "absent.csv"),
        (("--calibrate", "absent.csv"), "absent.csv"),
        (("--minutes", 0.02, "--rate", 0.001), "no request arrives"),
        (("--minutes", "inf"), "--minutes must be a finite number"),
        (("--rate", "inf"), "--rate must be a finite number"),
        (("--minutes", 1e9, "--rate", 100), "are simulated: lower --rate"),
    ],
)
def test_bad_input_is_refused_in_one_line_with_exit_2(arguments: tuple[object, ...], said: str) -> None:
    shown = simulate(*arguments)
    assert shown.exit_code == 2
    (line,) = shown.output.strip().splitlines()
    assert said in line


def test_figures_that_cannot_be_written_fail_in_words(tmp_path: Path) -> None:
    shown = simulate("--requests", 5, "--seeds", 1, "--out", tmp_path / "absent" / "out.json")
    assert shown.exit_code == 1
    assert "could not be written" in shown.output


def test_draws_a_picture_and_refuses_a_suffix_before_the_work(tmp_path: Path) -> None:
    """In minutes, where every seed has another number of requests."""
    shown = simulate("--functions", 2, "--minutes", 2, "--seeds", 2, "--plot", tmp_path / "out.png")
    assert shown.exit_code == 0, shown.output
    assert (tmp_path / "out.png").read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    refused = simulate("--requests", 100_000, "--plot", tmp_path / "out.doc")
    assert refused.exit_code == 2
    assert ".png" in refused.output
