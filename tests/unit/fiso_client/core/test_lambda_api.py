import json
from typing import Any

import pytest

from fiso_client.core.answers import SILENT, Report
from fiso_client.core.lambda_api import read_report


def report_line(request_id: str = "1", *, billed_ms: int = 13, init: str = "") -> bytes:
    return (
        f"REPORT RequestId: {request_id}\tDuration: 12.30 ms\tBilled Duration: {billed_ms} ms\tMemory Size: 512 MB"
        f"\tMax Memory Used: 64 MB\t{init}\n"
    ).encode()


COLD = "Init Duration: 200.00 ms\t"
RESTORED = "Restore Duration: 500.80 ms\tBilled Restore Duration: 53 ms\t"


@pytest.mark.parametrize(("init", "is_cold"), [("", False), (COLD, True), (RESTORED, True)])
def test_the_report_line_tells_the_bill_the_memory_and_the_cold_start(init: str, is_cold: bool) -> None:
    tail = b"START RequestId: 1\n" + report_line(init=init)
    assert read_report(tail, "1") == Report(billed_ms=13.0, memory_mb=64, is_cold=is_cold)


@pytest.mark.parametrize(
    "printed",
    [
        report_line(billed_ms=1, init=COLD),
        b"my own Billed Duration: 1 ms\tMemory Size: 1 MB\tMax Memory Used: 1 MB\tInit Duration: 1 ms\n",
        report_line("2", billed_ms=1, init=COLD),
    ],
)
def test_what_a_function_prints_of_its_bill_is_not_believed(printed: bytes) -> None:
    tail = b"START RequestId: 1\n" + printed + b"END RequestId: 1\n" + report_line()
    assert read_report(tail, "1") == Report(billed_ms=13.0, memory_mb=64, is_cold=False)


PRINTED = report_line(billed_ms=1, init=COLD)


@pytest.mark.parametrize(
    "tail",
    [
        PRINTED + b"END RequestId: 1\n",
        b"START RequestId: 1\n" + PRINTED + b"more of the function's own\n",
        PRINTED + report_line("2"),
        PRINTED + b"XRAY TraceId: 1-2\tSegmentId: 3\tSampled: true\t\nand more\n",
        PRINTED + b"EXTENSION\tName: x\tState: Ready\n",
        PRINTED.replace(b"\n", b"") + b"END RequestId: 1\nx",
    ],
)
def test_a_line_that_the_log_does_not_end_with_is_a_functions_own(tail: bytes) -> None:
    assert read_report(tail, "1") is SILENT


def test_a_traced_report_has_a_second_half() -> None:
    tail = report_line() + b"XRAY TraceId: 1-2\tSegmentId: 3\tSampled: true\t\n\n"
    assert read_report(tail, "1") == Report(billed_ms=13.0, memory_mb=64, is_cold=False)


@pytest.mark.parametrize("tail", [b"", report_line("2"), b"x " + report_line(), b"Billed Duration: 1 ms"])
def test_without_the_platforms_line_for_this_request_nothing_is_said(tail: bytes) -> None:
    assert read_report(tail, "1") is SILENT


def as_json(request_id: str = "1", kind: str = "platform.report", **metrics: Any) -> bytes:
    known = {"durationMs": 12.3, "billedDurationMs": 13, "memorySizeMB": 512, "maxMemoryUsedMB": 64} | metrics
    record = {"requestId": request_id, "status": "success", "metrics": known}
    return json.dumps({"time": "2026-11-30T12:00:00.000Z", "type": kind, "record": record}).encode() + b"\n"


@pytest.mark.parametrize(
    ("metrics", "expected"),
    [
        ({}, Report(billed_ms=13.0, memory_mb=64, is_cold=False)),
        (
            {"initDurationMs": 200.0, "billedDurationMs": 213},
            Report(billed_ms=213.0, memory_mb=64, is_cold=True),
        ),
        (
            {"restoreDurationMs": 500.795, "billedRestoreDurationMs": 53, "billedDurationMs": 201},
            Report(billed_ms=201.0, memory_mb=64, is_cold=True),
        ),
        ({"maxMemoryUsedMB": None}, Report(billed_ms=13.0, memory_mb=None, is_cold=False)),
    ],
)
def test_a_report_in_json_tells_the_same(metrics: dict[str, Any], expected: Report) -> None:
    for before in (b"", PRINTED, as_json(billedDurationMs=1) + b"END\n"):
        assert read_report(before + as_json(**metrics), "1") == expected


@pytest.mark.parametrize(
    "tail",
    [
        as_json("2"),
        as_json(kind="platform.start"),
        as_json() + b"more of the function's own\n",
        as_json()[:-3],
        as_json(billedDurationMs=-1),
        as_json(billedDurationMs=1e300),
        as_json(billedDurationMs="13"),
        as_json(billedDurationMs=True),
        b'{"type": "platform.report", "record": 7}',
        b'["platform.report"]',
        b'"platform.report"' + b"[" * 3000,
    ],
)
def test_a_report_in_json_that_is_none_says_nothing(tail: bytes) -> None:
    assert read_report(tail, "1") is SILENT
