"""Traces: from the caller's OpenTelemetry SDK through FISO into the function, and out to a collector.

The collector is a stand-in on loopback, which reads what comes by the protocol's own protobuf.
"""

import json
import random
import uuid
from base64 import b64encode
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from typing import Any

import pytest
from google.protobuf.json_format import ParseDict
from opentelemetry.propagate import inject
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON, Sampler
from opentelemetry.trace import format_span_id, format_trace_id

from fiso.adapters.aws.dynamodb import closed_item
from fiso.adapters.http.otlp import OtlpSpans
from fiso.codecs.record import from_document, to_document
from fiso.domain.record import InvocationRecord
from fiso.domain.trace import begun
from fiso.services.log.spans import export_request
from fiso.settings import BadSetting, OrchestratorSettings, StreamConsumerSettings
from fiso.testing.rig import SETTINGS, Rig
from fiso_client.core.failures import Failure
from fiso_client.core.transport import HttpTransport
from functions.stream_consumer.handler import consume
from tests.builders import NOW, a_record, an_attempt, invocation_id
from tests.functional.test_ingest import stores as stores_of

IDS = ("traceId", "spanId", "parentSpanId")


def by_the_protocol(body: Mapping[str, Any]) -> list[Any]:
    """The spans of a request, read as OTLP's JSON: its mapping writes ids in hexadecimal, protobuf's own in base64.
    Anything that the protocol does not have is an error."""
    read = json.loads(json.dumps(body))
    for resource in read["resourceSpans"]:
        for scope in resource["scopeSpans"]:
            for span in scope["spans"]:
                for name in IDS:
                    if name in span:
                        span[name] = b64encode(bytes.fromhex(span[name])).decode()
    request = ParseDict(read, ExportTraceServiceRequest())
    return [span for resource in request.resource_spans for scope in resource.scope_spans for span in scope.spans]


def spans_of(*records: InvocationRecord) -> list[Any]:
    body = export_request(records, service="fiso-test", version="1")
    return by_the_protocol(body) if body else []


def a_rig(share: float | None = 0.0) -> Rig:
    return Rig(settings=replace(SETTINGS, traced_share=share))


def called_under(sampler: Sampler, rig: Rig) -> tuple[str, str]:
    """A call within a span of a genuine SDK; the trace's id and the span's."""
    tracer = TracerProvider(sampler=sampler).get_tracer("caller")
    with tracer.start_as_current_span("asks") as span:
        headers: dict[str, str] = {"tracestate": "vendor=1"}
        inject(headers)
        assert rig.invoke("word-count", body=b"{}", **headers).status == 200
        context = span.get_span_context()
    return format_trace_id(context.trace_id), format_span_id(context.span_id)


def told(rig: Rig) -> list[Mapping[str, str]]:
    """The headers that functions got."""
    return [request.headers for _, request in rig.caller.calls]


def test_a_callers_trace_goes_through_to_the_function_and_its_spans_hang_together() -> None:
    rig = a_rig()
    rig.fail("aws-us-east-1", Failure.UNREACHABLE)
    trace_id, caller = called_under(ALWAYS_ON, rig)
    record = rig.only_record
    assert record.request.traced is not None
    assert record.request.traced.trace_id == trace_id
    spans = spans_of(record)
    assert {span.trace_id.hex() for span in spans} == {trace_id}
    assert len({span.span_id for span in spans}) == len(spans)
    root, decision, intent, *attempts = spans
    assert [span.name for span in (root, decision, intent)] == ["invoke word-count", "decide", "write intent"]
    assert root.parent_span_id.hex() == caller
    assert {span.parent_span_id for span in spans[1:]} == {root.span_id}
    assert len(attempts) == len(record.attempts) == 2
    for span, headers in zip(attempts, told(rig), strict=True):
        assert headers["traceparent"] == f"00-{trace_id}-{span.span_id.hex()}-03", (
            "sampled, and drawn at random, as it came"
        )
        assert headers["tracestate"] == "vendor=1"
        assert root.start_time_unix_nano <= span.start_time_unix_nano <= span.end_time_unix_nano
        assert span.end_time_unix_nano <= root.end_time_unix_nano
    assert [span.status.code for span in attempts] == [2, 0]


def test_the_next_record_of_the_environment_tells_of_the_write_of_the_one_before() -> None:
    rig = a_rig()
    trace_id, _ = called_under(ALWAYS_ON, rig)
    rig.invoke("word-count", body=b"{}")
    rig.invoke("word-count", body=b"{}")
    records = sorted(rig.stores.log.records.values(), key=lambda record: record.timestamp)
    first, second, third = [each for each in records if isinstance(each, InvocationRecord)]
    (root, *_), (write,) = spans_of(first), spans_of(second)
    assert (write.name, write.trace_id.hex()) == ("write record", trace_id)
    assert write.parent_span_id == root.span_id
    assert root.start_time_unix_nano <= write.start_time_unix_nano <= write.end_time_unix_nano
    assert (spans_of(third), second.request.traced) == ([], None)
    assert from_document(to_document(second)).request == second.request
    assert "written_before" not in to_document(first)


def test_the_store_of_keys_has_spans_of_its_own() -> None:
    rig = a_rig(share=1.0)
    for key in ("a", "a", "b", None):
        rig.invoke("word-count", body=b"{}", **({"idempotency-key": key} if key else {}))
    first, second, third = rig.records
    root, claim, decision, *_ = spans_of(first)
    assert (claim.name, decision.name) == ("claim key", "decide")
    assert claim.parent_span_id == root.span_id
    assert root.start_time_unix_nano == claim.start_time_unix_nano <= claim.end_time_unix_nano
    assert claim.end_time_unix_nano == decision.start_time_unix_nano
    write, kept, *_ = spans_of(second)
    assert (write.name, kept.name, kept.parent_span_id) == ("write record", "keep answer", root.span_id)
    assert write.end_time_unix_nano == kept.start_time_unix_nano <= kept.end_time_unix_nano
    assert len({span.span_id for record in (first, second, third) for span in spans_of(record)}) == len(
        [*spans_of(first), *spans_of(second), *spans_of(third)]
    )
    assert "claim key" not in [span.name for span in spans_of(third)]
    assert from_document(to_document(second)).request == second.request
    assert "claimed_ms" not in str(to_document(third))


def test_a_caller_that_does_not_sample_is_believed_and_its_context_goes_on_as_it_came() -> None:
    rig = a_rig(share=1.0)
    trace_id, caller = called_under(ALWAYS_OFF, rig)
    assert rig.only_record.request.traced is None
    assert told(rig)[0]["traceparent"] == f"00-{trace_id}-{caller}-02"
    assert spans_of(rig.only_record) == []


@pytest.mark.parametrize(("share", "expected"), [(0.0, 0), (1.0, 400), (0.25, 100)])
def test_of_callers_without_a_trace_the_share_that_is_asked_for_begins_one(share: float, expected: int) -> None:
    rng = random.Random(5)
    ids = [str(uuid.UUID(int=rng.getrandbits(128), version=4)) for _ in range(400)]
    drawn = sum(begun(None, id, share) is not None for id in ids)
    assert abs(drawn - expected) <= (35 if 0 < share < 1 else 0)


def test_without_the_setting_nothing_is_traced_and_what_came_goes_on() -> None:
    rig = a_rig(share=None)
    trace_id, caller = called_under(ALWAYS_ON, rig)
    assert told(rig)[0]["traceparent"] == f"00-{trace_id}-{caller}-03"
    assert rig.only_record.request.traced is None


@pytest.mark.parametrize(
    "parent", ["", "00-1-2-01", "ff-" + "1" * 32 + "-" + "2" * 16 + "-01", "00-" + "0" * 32 + "-x"]
)
def test_a_context_that_is_none_begins_no_trace_of_that_id(parent: str) -> None:
    rig = a_rig(share=1.0)
    rig.invoke("word-count", body=b"{}", traceparent=parent)
    traced = rig.only_record.request.traced
    assert traced is not None
    assert traced.parent_id == ""
    assert len(spans_of(rig.only_record)) == 4


def test_an_endpoint_that_is_called_twice_has_two_spans_and_repeating_makes_no_third() -> None:
    rig = a_rig(share=1.0)
    rig.invoke("word-count", body=b"{}")
    twice = replace(
        rig.only_record, attempts=(an_attempt("aws", failure=Failure.UNREACHABLE, status=None), an_attempt("aws"))
    )
    ids = [span.span_id for span in spans_of(twice)]
    assert len(set(ids)) == len(ids) == 5
    assert [span.span_id for span in spans_of(twice)] == ids


def test_a_record_keeps_its_trace_and_those_of_before_are_read() -> None:
    rig = a_rig(share=1.0)
    rig.invoke("word-count", body=b"{}")
    assert from_document(to_document(rig.only_record)).request.traced == rig.only_record.request.traced
    assert "traced" not in to_document(a_record(1))


@contextmanager
def collector(status: int = 200) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    got: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            assert self.path == "/v1/traces"
            assert self.headers["content-type"] == "application/json"
            got.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(status)
            self.send_header("content-length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", got
    finally:
        server.shutdown()
        server.server_close()


def folded(record: InvocationRecord, url: str) -> dict[str, Any]:
    item = closed_item(record)
    stores = replace(stores_of(item), spans=OtlpSpans(HttpTransport(), url))
    return consume([{"dynamodb": {"SequenceNumber": "1", "NewImage": item}}], stores)


def traced_record() -> InvocationRecord:
    return a_record(1, traced=begun(None, invocation_id(1), 1.0), attempts=(an_attempt(),), timestamp=NOW)


def test_the_stream_consumer_sends_a_batchs_spans_to_the_collector() -> None:
    with collector() as (url, got):
        assert folded(traced_record(), url) == {"batchItemFailures": []}
        (body,) = got
        assert len(by_the_protocol(body)) == 4
        folded(a_record(2), url)
        assert len(got) == 1, "nothing is sent of what is not traced"


@pytest.mark.parametrize("status", [400, 503, None])
def test_a_collector_that_is_away_or_refuses_holds_up_no_record(status: int | None) -> None:
    with collector(status or 200) as (url, _):
        to = url if status else "http://127.0.0.1:1"
        assert folded(traced_record(), to) == {"batchItemFailures": []}


@pytest.mark.parametrize(
    "url", ["http://collector.example", "https://u:p@collector.example", "collector", "https://x/?a=b"]
)
def test_a_collector_is_an_https_url_without_a_secret_in_it(url: str) -> None:
    base = {"FISO_STAGE": "prod", "FISO_LOG_TABLE": "l", "FISO_STATE_TABLE": "s", "FISO_BUCKET": "b"}
    with pytest.raises(BadSetting, match="FISO_OTLP_URL"):
        StreamConsumerSettings.from_environ(base | {"FISO_OTLP_URL": url})


@pytest.mark.parametrize("share", ["2", "-0.1", "nan", "x"])
def test_a_share_is_a_share(share: str) -> None:
    base = {"FISO_STAGE": "local", "FISO_LOG_TABLE": "l", "FISO_STATE_TABLE": "s", "FISO_BUCKET": "b"}
    base |= {"FISO_IDEMPOTENCY_TABLE": "i", "FISO_MODEL_DIR": "m"}
    with pytest.raises(BadSetting, match="FISO_TRACED_SHARE"):
        OrchestratorSettings.from_environ(base | {"FISO_TRACED_SHARE": share})
