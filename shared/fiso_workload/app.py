"""The sample functions behind one door: name, bytes and query in, an answer out. Standard library only.

The shells in `functions/sample_*` translate their cloud's request into one call of `handle` and its answer back.
"""

import itertools
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from fiso_workload.answer import Answer, Refusal, problem
from fiso_workload.compress import compress
from fiso_workload.graph_bfs import graph_bfs
from fiso_workload.pixels import pixels
from fiso_workload.word_count import word_count

# Lambda carries 6 MB each way with binary in base64, so 4 MiB is the most that passes on every cloud.
MAX_REQUEST_BYTES = 4 * 1024 * 1024
MAX_RESPONSE_BYTES = 4 * 1024 * 1024

FUNCTIONS: Mapping[str, Callable[[bytes, Mapping[str, str]], Answer]] = {
    "graph-bfs": graph_bfs,
    "compress": compress,
    "pixels": pixels,
    "word-count": word_count,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class App:
    """The functions of one execution environment. `x-fiso-cold` is 1 on its first answer, `x-fiso-exec-ms` measured."""

    clock: Callable[[], float] = time.perf_counter
    calls: "itertools.count[int]" = field(default_factory=itertools.count)

    def handle(
        self, function: str, body: bytes, query: Mapping[str, str], headers: Mapping[str, str], *, method: str = "POST"
    ) -> Answer:
        """Answer one request. Bad input is a 4xx with problem details; nothing else is caught."""
        is_cold = next(self.calls) == 0
        started = self.clock()
        try:
            _check(body, headers, method, function)
            answer = _run(function, body, query)
        except Refusal as refusal:
            answer = problem(refusal)
        spent_ms = (self.clock() - started) * 1000
        marks = {"x-fiso-cold": "1" if is_cold else "0", "x-fiso-exec-ms": f"{spent_ms:.3f}"}
        return replace(answer, headers={**answer.headers, **marks})


def _check(body: bytes, headers: Mapping[str, str], method: str, function: str) -> None:
    if function not in FUNCTIONS:
        raise Refusal(f"there is no function of that name; there are {', '.join(sorted(FUNCTIONS))}", status=404)
    if method != "POST":
        raise Refusal("use POST", status=405)
    if _header(headers, "content-encoding") not in (None, "", "identity"):
        raise Refusal("an encoded body is not decoded here; send it as it is", status=415)
    if len(body) > MAX_REQUEST_BYTES:
        raise Refusal(f"the body has more than {MAX_REQUEST_BYTES} bytes", status=413)


def _run(function: str, body: bytes, query: Mapping[str, str]) -> Answer:
    answer = FUNCTIONS[function](body, query)
    if len(answer.body) > MAX_RESPONSE_BYTES:
        raise Refusal(f"the answer would have more than {MAX_RESPONSE_BYTES} bytes", status=422)
    return answer


def _header(headers: Mapping[str, str], name: str) -> str | None:
    """A header by its name in any case."""
    return next((value for key, value in headers.items() if key.lower() == name), None)


handle = App().handle
