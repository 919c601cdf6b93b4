"""What a traced request costs the orchestrator, beside OpenTelemetry's SDK making the same spans for the same request.

Ours marks the request and what a copy is told; the spans are made elsewhere, of its record. The SDK's are made, ended
and queued in the process, by the batching processor that its page recommends; nobody waits for the export.
"""

import subprocess  # nosec B404: a fresh interpreter
import sys
from collections.abc import Callable, Sequence
from statistics import median
from time import perf_counter
from uuid import uuid4

from fiso.domain.endpoint import EndpointId
from fiso.domain.trace import attempt_part, begun, below
from tests.lab.bench.rows import Row, row, times_better

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
SPANS = ("decide", "write intent", "call aws")
TIMES, AT_ONCE = 40, 50


def rows() -> list[Row]:
    ours, sdk = in_turn(_ours(), _sdk())
    mark, package = (
        _import_ms(name) for name in ("fiso.domain.trace", "opentelemetry.sdk.trace.export, opentelemetry.propagate")
    )
    rival = "opentelemetry-sdk"
    return [
        row("trace_request_us", ours, "us", rival=rival, rival_value=sdk, n=TIMES, gate=times_better(3)),
        row("trace_import_ms", mark, "ms", rival=rival, rival_value=package, n=TIMES // 8, gate=times_better(3)),
    ]


def in_turn(*works: Callable[[], object]) -> Sequence[float]:
    """Microseconds of one, the median over batches, each after the other."""
    took: list[list[float]] = [[] for _ in works]
    for _ in range(TIMES):
        for work, times in zip(works, took, strict=True):
            start = perf_counter()
            for _ in range(AT_ONCE):
                work()
            times.append((perf_counter() - start) / AT_ONCE * 1e6)
    return [median(times) for times in took]


def _ours() -> Callable[[], object]:
    id, headers = str(uuid4()), {"traceparent": PARENT}

    def work() -> object:
        traced = begun(PARENT, id, 0.0)
        assert traced is not None
        return below(headers, traced, id, attempt_part(EndpointId("aws"), 0))

    return work


def _sdk() -> Callable[[], object]:
    from opentelemetry.propagate import extract, inject
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

    class Nowhere(SpanExporter):
        def export(self, spans: object) -> SpanExportResult:
            return SpanExportResult.SUCCESS

    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(Nowhere()))
    tracer = provider.get_tracer("fiso")

    def work() -> object:
        headers: dict[str, str] = {}
        with tracer.start_as_current_span("invoke", context=extract({"traceparent": PARENT})):
            for name in SPANS:
                with tracer.start_as_current_span(name):
                    inject(headers)
        return headers

    return work


def _import_ms(names: str) -> float:
    """Of what a process that has the orchestrator's own modules imports more; in fresh interpreters."""
    program = (
        "import time, functions.orchestrator.handler, sys\n"
        f"[sys.modules.pop(name) for name in list(sys.modules) if name == {names!r}]\n"
        f"start = time.perf_counter()\nimport {names}\nprint((time.perf_counter() - start) * 1000)"
    )
    command = [sys.executable, "-c", program]
    took = [subprocess.run(command, capture_output=True, text=True, check=True).stdout for _ in range(TIMES // 8)]  # nosec B603
    return median(map(float, took))
