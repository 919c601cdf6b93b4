"""The Lambda host's pure parts: references, deployments, log lines, embedded metrics, variables, paths."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from fiso_cli.access_key import AccessKey
from localcloud.lambda_host import log_lines
from localcloud.lambda_host.environment import HostVariables, function_variables, log_stream_name
from localcloud.lambda_host.function import Deployment, FunctionReference, UnusableReferenceError, deployment_of
from localcloud.lambda_host.sandbox import rewrite_paths
from localcloud.lambda_host.server import checked_payload
from localcloud.lambda_host.shipping import MetricDatum, metrics_of

ARN = "arn:aws:lambda:eu-west-1:000000000000:function:fiso-local-keeper"


def deployment(**changes: object) -> Deployment:
    configuration = {"FunctionName": "fiso-local-keeper", "FunctionArn": ARN, "CodeSha256": "abc", "Handler": "h.f"}
    return deployment_of({"Configuration": configuration | changes, "Code": {"Location": "http://here/zip"}})


@pytest.mark.parametrize(
    ("text", "qualifier", "expected"),
    [
        ("keeper", None, FunctionReference("keeper")),
        ("keeper:7", None, FunctionReference("keeper", "7")),
        ("keeper", "live", FunctionReference("keeper", "live")),
        ("000000000000:function:keeper", None, FunctionReference("keeper")),
        (ARN, None, FunctionReference("fiso-local-keeper")),
        (f"{ARN}:$LATEST", None, FunctionReference("fiso-local-keeper")),
    ],
)
def test_a_reference_is_read_from_every_form_lambda_takes(
    text: str, qualifier: str | None, expected: FunctionReference
) -> None:
    assert FunctionReference.parse(text, qualifier) == expected


@pytest.mark.parametrize("text", ["", "a/b", "../etc", "arn:aws:s3:::bucket", "x" * 141])
def test_what_names_no_function_is_refused(text: str) -> None:
    with pytest.raises(UnusableReferenceError):
        FunctionReference.parse(text)


def test_what_a_deployment_leaves_out_has_lambdas_defaults() -> None:
    plain = deployment()
    assert (plain.timeout_s, plain.memory_mb, plain.ephemeral_mb, plain.reserved_concurrency) == (3, 128, 512, None)
    assert (plain.version, plain.log_group, plain.region) == ("$LATEST", "/aws/lambda/fiso-local-keeper", "eu-west-1")


@pytest.mark.parametrize("changed", ["CodeSha256", "RevisionId", "LastModified"])
def test_every_kind_of_redeployment_changes_the_revision(changed: str) -> None:
    assert deployment(**{changed: "other"}).revision != deployment().revision


@pytest.mark.parametrize(
    ("duration_ms", "init_ms", "billed_ms"), [(1.2, None, 2), (3.0, None, 3), (1.2, 100.5, 102), (0.0, None, 0)]
)
def test_billed_time_is_rounded_up_and_includes_the_init_phase(
    duration_ms: float, init_ms: float | None, billed_ms: int
) -> None:
    usage = log_lines.Usage(duration_ms=duration_ms, memory_mb=128, max_memory_used_mb=None, init_ms=init_ms)
    assert usage.billed_ms == billed_ms


def test_the_report_reads_as_lambdas() -> None:
    usage = log_lines.Usage(duration_ms=3.14159, memory_mb=128, max_memory_used_mb=37, init_ms=120.5)
    assert log_lines.report("id", usage) == (
        "REPORT RequestId: id\tDuration: 3.14 ms\tBilled Duration: 124 ms\tMemory Size: 128 MB\t"
        "Max Memory Used: 37 MB\tInit Duration: 120.50 ms\t"
    )
    late = log_lines.report("id", usage, log_lines.timed_out("id", 3))
    assert late.endswith("\tStatus: timeout\t")


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (0, "Runtime exited without providing a reason"),
        (1, "Runtime exited with error: exit status 1"),
        (-9, "Runtime exited with error: signal: killed"),
        (137, "Runtime exited with error: signal: killed"),
        (255, "Runtime exited with error: exit status 255"),
    ],
)
def test_an_exit_is_described_as_lambda_does(status: int, message: str) -> None:
    document = json.loads(log_lines.exited("id", status).document())
    assert document == {"errorType": "Runtime.ExitError", "errorMessage": f"RequestId: id Error: {message}"}


def test_metrics_are_found_under_every_set_of_dimensions() -> None:
    directive = {"Namespace": "N", "Dimensions": [["a"], ["a", "b"]], "Metrics": [{"Name": "M", "Unit": "Count"}]}
    line = json.dumps({"_aws": {"Timestamp": 5, "CloudWatchMetrics": [directive]}, "a": "1", "b": 2, "M": [3, 4.5]})
    found = metrics_of(line, received_ms=9)
    assert [datum.dimensions for datum in found] == [(("a", "1"),), (("a", "1"), ("b", "2"))]
    assert found[0] == MetricDatum(
        namespace="N", name="M", unit="Count", values=(3.0, 4.5), dimensions=(("a", "1"),), timestamp_ms=5
    )


@pytest.mark.parametrize(
    "line",
    [
        "plain text",
        '{"CloudWatchMetrics"',
        '{"_aws": {"CloudWatchMetrics": 1}}',
        '{"_aws": {"CloudWatchMetrics": [{"Namespace": "N", "Metrics": [{"Name": "M"}]}]}, "M": "many"}',
        '{"_aws": {"CloudWatchMetrics": [{"Namespace": "N", "Metrics": [{"Name": "M"}]}]}}',
    ],
)
def test_a_line_without_usable_metrics_has_none(line: str) -> None:
    assert metrics_of(line, received_ms=0) == []


@pytest.mark.parametrize(("stage", "login"), [("local", "http://login"), ("dev", "http://own")])
def test_a_function_cannot_change_reserved_variables_but_the_hosts_extra_ones_win(stage: str, login: str) -> None:
    """Those of FISO on the local stage alone."""
    own = {
        "AWS_REGION": "mars",
        "TZ": "CET",
        "FISO_STAGE": stage,
        "FISO_LOGIN": "http://own",
        "AWS_ENDPOINT_URL_S3": "http://s3",
    }
    variables = function_variables(
        deployment(Environment={"Variables": own}),
        HostVariables(
            aws_endpoint_url="http://aws",
            key=AccessKey(id="mine", secret="secret"),
            extra={"FISO_LOGIN": "http://login", "TZ": "UTC"},
        ),
        runtime_api="127.0.0.1:1",
        log_stream="s",
    )
    expected = {"AWS_REGION": "eu-west-1", "TZ": "UTC", "FISO_LOGIN": login, "AWS_ENDPOINT_URL_S3": "http://s3"}
    assert {name: variables[name] for name in expected} == expected
    assert variables["AWS_ENDPOINT_URL"] == "http://aws"
    assert "secret" not in variables.values()


def test_a_log_stream_is_named_as_lambda_does() -> None:
    assert log_stream_name("$LATEST", "ab", datetime(2026, 2, 3, tzinfo=UTC)) == "2026/02/03/[$LATEST]ab"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("/var/task/shared:/opt/python:/var/runtime", "/code/shared:/layers/python:/run"),
        ("/opt", "/layers"),
        ("/optional:/var/tasks", "/optional:/var/tasks"),
        ("http://host/opt/model", "http://host/opt/model"),
    ],
)
def test_only_whole_path_prefixes_are_rewritten(value: str, expected: str) -> None:
    paths = {"/var/task": Path("/code"), "/var/runtime": Path("/run"), "/opt": Path("/layers")}
    assert rewrite_paths(value, paths) == expected


def test_no_payload_means_an_empty_object() -> None:
    assert checked_payload(b"") == b"{}"
    assert checked_payload(b"null") == b"null"
