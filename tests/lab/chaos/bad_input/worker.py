"""The watched process: one event at a time, as Lambda's runtime hands them over, and what each one cost.

A line in is an event's JSON, or empty to begin a new peak of memory; a line out is what came of it. What the functions
log goes to the standard error.
"""

import json
import os
import sys
from pathlib import Path
from time import perf_counter
from typing import Any, BinaryIO

from tests.lab.chaos.bad_input.edge import Edge, build

_STATUS = Path("/proc/self/status")
_CLEAR = Path("/proc/self/clear_refs")
FORGET_PEAK = "5"
"""What resets the peak of the resident memory (proc(5), clear_refs)."""


def main() -> None:
    """`python -m tests.lab.chaos.bad_input.worker PROVIDER_URL SEED`."""
    lines_out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    edge = build(sys.argv[1], seed=int(sys.argv[2]))
    serve(edge, sys.stdin.buffer, lines_out)


def serve(edge: Edge, lines_in: BinaryIO, lines_out: BinaryIO) -> None:
    """Until the lines end."""
    for line in lines_in:
        if line == b"\n":
            _CLEAR.write_text(FORGET_PEAK)
        told = _answered(edge, line) if line != b"\n" else {}
        lines_out.write(json.dumps(told | {"peak_kb": _peak_kb()}).encode() + b"\n")
        lines_out.flush()


def _answered(edge: Edge, text: bytes) -> dict[str, Any]:
    """The time includes reading the event and writing the answer, which Lambda's runtime does as well."""
    start = perf_counter()
    try:
        response = edge.answer(json.loads(text))
        json.dumps(response, allow_nan=False).encode()
    except Exception as error:  # noqa: BLE001 - stands for the handler's own outer boundary, which answers 500
        response = {"statusCode": 500, "headers": {}, "body": f"{type(error).__name__}: {error}"[:300]}
    took_ms = (perf_counter() - start) * 1000
    return {"response": response, "took_ms": took_ms, "recorded": edge.forget()}


def _peak_kb() -> int:
    """The highest resident memory since the mark, in kB."""
    found = [line for line in _STATUS.read_text().splitlines() if line.startswith("VmHWM:")]
    return int(found[0].split()[1])


if __name__ == "__main__":
    main()
