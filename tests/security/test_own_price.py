"""A function does not name its own price: its word on its run is believed within what FISO saw of it."""

from typing import Any

import pytest

from fiso.billing import tariff
from fiso.domain.endpoint import EndpointId, Provider
from fiso.domain.record import InvocationRecord
from fiso.services.request.recording import FRONT_DOOR_MS, LONGEST_WAY_MS, ROUND_TRIPS
from fiso.testing.rig import Rig, word_count
from fiso_client.core.answers import LONGEST_RUN_MS, FunctionAnswer, HttpAnswer, Report, function_answer
from fiso_client.core.lambda_api import read_report
from tests.builders import an_endpoint, an_entry
from tests.edge import an_outcome, answered, decide, report

AZURE = "azure"
NEAR = an_endpoint(Provider.AZURE)
SEEN_MS = 3_000.0
ALLOWED_MS = ROUND_TRIPS * LONGEST_WAY_MS + FRONT_DOOR_MS
"""The rig's router knows not where it is."""


def said(cold: str | None = None, **headers: str) -> FunctionAnswer:
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    given |= {} if cold is None else {"x-fiso-cold": cold}
    return function_answer(HttpAnswer(status=200, headers={"content-type": "text/plain", **given}, body=b"ok"))


def recorded(answer: FunctionAnswer, latency_ms: float = SEEN_MS, *, rig: Rig | None = None) -> InvocationRecord:
    rig = rig or Rig(an_entry(NEAR))
    rig.answer(AZURE, answer)
    rig.slow(AZURE, latency_ms)
    known = len(rig.records)
    assert rig.invoke("word-count").status == 200
    assert len(rig.records) == known + 1
    return max(rig.records, key=lambda record: record.timestamp)


LIES = ["0", "0.001", "1", "1e-300", "-0.0", "00000.1", " 1", "1_0", "+1", str(SEEN_MS - ALLOWED_MS - 1)]


@pytest.mark.parametrize("cold", [None, "0", "1", "yes"])
@pytest.mark.parametrize("lie", LIES)
def test_too_little_counts_as_the_least_that_is_plausible(lie: str, cold: str | None) -> None:
    record = recorded(said(cold, x_fiso_exec_ms=lie))
    assert record.result.billed_ms == pytest.approx(SEEN_MS - ALLOWED_MS)
    assert record.result.cost_usd == pytest.approx(tariff.current().cost_usd(NEAR, SEEN_MS - ALLOWED_MS), rel=1e-3)


@pytest.mark.parametrize("lie", ["3001", "9000", "900000", "899999.9", "1e5"])
def test_too_much_counts_as_all_that_fiso_saw(lie: str) -> None:
    record = recorded(said(x_fiso_exec_ms=lie))
    assert record.result.billed_ms == pytest.approx(SEEN_MS)


@pytest.mark.parametrize("nonsense", ["nan", "inf", "-1", "900001", "1e999", "1,1", "1;2", "0x1", "", "zero", "1 2"])
def test_nonsense_counts_as_nothing_and_all_that_fiso_saw_is_priced(nonsense: str) -> None:
    record = recorded(said(x_fiso_exec_ms=nonsense))
    assert record.result.billed_ms is None
    assert record.result.cost_usd == pytest.approx(tariff.current().cost_usd(NEAR, SEEN_MS), rel=1e-3)


@pytest.mark.parametrize("true_ms", [SEEN_MS - ALLOWED_MS + 1, 2_500.0, SEEN_MS])
def test_what_is_plausible_counts_as_said(true_ms: float) -> None:
    assert recorded(said(x_fiso_exec_ms=str(true_ms))).result.billed_ms == pytest.approx(true_ms)


def test_a_short_run_far_away_costs_no_more_than_it_says() -> None:
    assert recorded(said(x_fiso_exec_ms="12"), ALLOWED_MS).result.billed_ms == pytest.approx(12)


def test_a_start_excuses_what_is_over_the_warm_answers_that_fiso_saw_and_only_that() -> None:
    rig = Rig(an_entry(NEAR))
    for _ in range(5):
        recorded(said("0", x_fiso_exec_ms="1990"), 2_000.0, rig=rig)
        rig.advance(10)
    started = recorded(said("1", x_fiso_exec_ms="1990"), 9_000.0, rig=rig)
    assert started.result.billed_ms == pytest.approx(1_990)
    rig.advance(10)
    lied = recorded(said("1", x_fiso_exec_ms="1"), 9_000.0, rig=rig)
    assert lied.result.billed_ms == pytest.approx(2_000 - ALLOWED_MS, rel=0.01)


def test_between_two_copies_of_one_kind_a_lie_is_worth_no_more_than_the_way() -> None:
    """By cost alone: the liar, twice as slow, stays the dearer one."""
    honest, liar = (an_endpoint(Provider.AZURE, id=EndpointId(name)) for name in ("honest", "liar"))
    rig = Rig(an_entry(honest, liar))
    costs = {}
    for name, ms, word in (("honest", 3_000.0, "3000"), ("liar", 6_000.0, "0.001")):
        rig.answer(name, said(x_fiso_exec_ms=word))
        rig.slow(name, ms)
        rig.pin("word-count", name)
        rig.invoke("word-count")
        costs[name] = max(rig.records, key=lambda record: record.timestamp).result.cost_usd
    assert costs["liar"] is not None
    assert costs["honest"] is not None
    assert costs["liar"] > costs["honest"]


def test_the_platforms_own_word_counts_beside_any_of_the_functions() -> None:
    http = HttpAnswer(status=200, headers={"content-type": "text/plain", "x-fiso-exec-ms": "0"}, body=b"ok")
    answer = function_answer(http, Report(billed_ms=2_900.0, memory_mb=64, is_cold=False))
    assert (answer.billed_ms, answer.is_own_word) == (2_900.0, False)
    assert recorded(answer).result.billed_ms == pytest.approx(2_900)


def report_line(billed: str, memory: str = "64", request_id: str = "1") -> bytes:
    line = f"REPORT RequestId: {request_id}\tDuration: 1.00 ms\tBilled Duration: {billed} ms\tMemory Size: 512 MB"
    return f"{line}\tMax Memory Used: {memory} MB\t\n".encode()


@pytest.mark.parametrize(
    "printed",
    [
        report_line("9" * 30),
        report_line("900001"),
        report_line("1", "9" * 30),
        report_line("-1"),
        report_line("1e9"),
        report_line("1", request_id="2"),
        report_line("1").replace(b"\n", b"\r\n") + b"more",
    ],
)
def test_a_printed_report_that_cannot_be_is_no_report(printed: bytes) -> None:
    found = read_report(b"START RequestId: 1\n" + printed, "1")
    assert found.billed_ms is None or found.billed_ms <= LONGEST_RUN_MS
    assert found.memory_mb is None or found.memory_mb < 1e6
    assert found == Report()


@pytest.mark.parametrize("billed", [60.1, 100.0, 900_000.0])
def test_a_client_reports_no_more_billed_time_than_the_call_took(billed: float) -> None:
    rig = Rig(word_count())
    lease = decide(rig)
    first: Any = lease["endpoints"][0]["id"]
    assert (
        report(rig, lease["token"], an_outcome(0, answered(first, latency_ms=60.0, billed_ms=billed)))["accepted"] == 1
    )
    (record,) = rig.records
    assert record.result.billed_ms == pytest.approx(60.0)
