"""`fiso what-if` over logs with a known truth, over what the genuine orchestrator logs, and over a stage's archive."""

import json
import random
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import pytest
from typer.testing import CliRunner, Result

from fiso.adapters.aws.archive import S3Archive
from fiso.codecs.record import to_document
from fiso.domain.endpoint import EndpointId, FunctionName
from fiso.domain.policy import Weights
from fiso.domain.record import InvocationRecord
from fiso.learning.logged import Loss
from fiso.testing.rig import Rig
from fiso_cli.errors import USAGE
from fiso_cli.main import app
from fiso_cli.what_if.commands import THIN
from fiso_cli.what_if.comparison import compare
from fiso_client.core.failures import Failure
from tests.builders import a_record, a_summary, an_attempt, an_entry
from tests.emulator import running_emulator

PREDICTED = {"aws": (100.0, 4e-6), "azure": (200.0, 1e-6)}
TRUE_MS = {"aws": 120.0, "azure": 180.0}
FAILS = {"aws": 0.02, "azure": 0.10}
WORST_MS = 200.0
FUNCTION = """
  {name}:
    type: text
    endpoints:
      - {{id: aws, provider: aws, region: us-east-1, memory_mb: 512, address: fn}}
      - {{id: azure, provider: azure, region: eastus, memory_mb: 512, address: "https://a.azurewebsites.net"}}{more}
    policy: {{exploration: 0, weights: {weights}}}"""
GCP = """
      - {id: gcp, provider: gcp, region: us-east4, memory_mb: 512, address: "https://g.run.app"}"""
FAST = "{latency: 1, cost: 0, reliability: 0, region_affinity: 0}"
CHEAP = "{latency: 0, cost: 1, reliability: 0, region_affinity: 0}"


def logged(records: int, *, aws: float = 0.7, function: str = "word-count", at: datetime | None = None) -> list[Any]:
    """Records of a policy that calls aws first with this chance. Latencies are log-normal; failures fail over."""
    rng = random.Random(7)
    return [_logged(rng, number, aws, function, at) for number in range(records)]


def _logged(rng: random.Random, number: int, aws: float, function: str, at: datetime | None) -> InvocationRecord:
    called = "aws" if rng.random() < aws else "azure"
    failed = rng.random() < FAILS[called]
    latency_ms = TRUE_MS[called] * rng.lognormvariate(-0.02, 0.2)
    first = an_attempt(called, latency_ms=latency_ms, cost_usd=PREDICTED[called][1])
    if failed:
        first = an_attempt(called, latency_ms=1.0, cost_usd=0.0, status=None, failure=Failure.UNREACHABLE)
    candidates = tuple(
        a_summary(name, propensity=chance, latency_ms=ms, cost_usd=usd)
        for (name, (ms, usd)), chance in zip(PREDICTED.items(), (aws, 1 - aws), strict=True)
    )
    return a_record(
        number,
        function_name=FunctionName(function),
        endpoint=EndpointId(called),
        candidates=candidates,
        attempts=(first,),
        error_occurred=failed,
        cost_usd=first.cost_usd,
        **({} if at is None else {"timestamp": at}),
    )


def what_if_of(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["what-if", *map(str, arguments)])


def log_file(folder: Path, records: Sequence[InvocationRecord]) -> Path:
    path = folder / "log.jsonl"
    path.write_text("".join(json.dumps(to_document(record)) + "\n" for record in records), encoding="utf-8")
    return path


def policy_file(folder: Path, *names: str, weights: str = CHEAP, more: str = "") -> Path:
    path = folder / "new.yaml"
    functions = "".join(FUNCTION.format(name=name, weights=weights, more=more) for name in names or ("word-count",))
    path.write_text(f"version: 1\nfunctions:{functions}\n", encoding="utf-8")
    return path


def test_estimates_what_the_new_policy_would_have_come_to(tmp_path: Path) -> None:
    shown = what_if_of("--policy", policy_file(tmp_path), "--log", log_file(tmp_path, logged(3_000)), "--json")
    assert shown.exit_code == 0, shown.output
    document = json.loads(shown.stdout)
    (function,) = document["functions"]
    assert (function["function"], function["refusal"]) == ("word-count", None)
    assert function["overlap"]["records"] == 3_000
    assert function["overlap"]["sample_size"] == pytest.approx(900, rel=0.1)
    always_azure = {
        "latency_ms": 0.9 * TRUE_MS["azure"] + 0.1 * WORST_MS,
        "cost_per_million": 0.9 * 1.0 + 0.1 * 4.0,
        "success": 0.9,
    }
    for name, value in always_azure.items():
        figure = function["figures"][name]
        for estimator in ("snips", "dr"):
            assert figure[estimator]["low"] < value < figure[estimator]["high"], (name, estimator)
            assert figure[estimator]["high"] - figure[estimator]["low"] < 0.2 * value
            expected = figure[estimator]["value"] - figure["logged"]["value"]
            assert figure[f"{estimator}_difference"]["value"] == pytest.approx(expected)
    assert "one-step values" in document["meaning"]
    assert function["figures"]["success"]["snips_difference"]["high"] < 0


def test_tables_say_what_the_figures_mean_and_who_is_missing(tmp_path: Path) -> None:
    records = [*logged(500), *(a_record(n, function_name=FunctionName("stranger")) for n in range(600, 603))]
    shown = what_if_of(
        "--policy", policy_file(tmp_path, "word-count", "newcomer"), "--log", log_file(tmp_path, records)
    )
    assert shown.exit_code == 0, shown.output
    for said in (
        "word-count: n 500, effective sample size",
        "latency_ms",
        "cost_per_million",
        "one-step values",
        "by the propensities of the first attempts",
        "in the file but not in the log: newcomer",
        "in the log but not in the file: stranger (3 records)",
    ):
        assert said in shown.stdout, said


def test_refuses_per_function_and_shows_the_others(tmp_path: Path) -> None:
    certain = [a_record(number + 1_000, **_as(record, "certain")) for number, record in enumerate(logged(500, aws=1.0))]
    records = [*logged(500), *certain]
    policy = policy_file(tmp_path, "word-count", "certain")
    shown = what_if_of("--policy", policy, "--log", log_file(tmp_path, records))
    assert shown.exit_code == THIN
    assert "word-count: n 500" in shown.stdout
    assert "certain: refused (uncovered): 100.0% of the policy's choices" in shown.stdout
    document = json.loads(what_if_of("--policy", policy, "--log", log_file(tmp_path, records), "--json").stdout)
    refused = next(row for row in document["functions"] if row["function"] == "certain")
    assert refused["refusal"]["reason"] == "uncovered"
    assert refused["overlap"]["uncovered"] == {"azure": 1.0}
    assert refused["figures"] == {}


def _as(record: InvocationRecord, function: str) -> dict[str, Any]:
    kept = {"decision": record.decision, "result": record.result, "attempts": record.attempts}
    return kept | {"function_name": FunctionName(function)}


def test_refuses_an_endpoint_of_which_nothing_was_ever_predicted(tmp_path: Path) -> None:
    shown = what_if_of("--policy", policy_file(tmp_path, more=GCP), "--log", log_file(tmp_path, logged(300)))
    assert shown.exit_code == THIN
    assert "refused (uncovered)" in shown.stdout
    assert "gcp 100.0%" in shown.stdout


def test_a_log_of_other_functions_only_says_so(tmp_path: Path) -> None:
    shown = what_if_of("--policy", policy_file(tmp_path, "other"), "--log", log_file(tmp_path, logged(10)))
    assert shown.exit_code == THIN
    assert "no records of the file's functions" in shown.stdout


def test_an_unpriced_endpoint_leaves_the_cost_out_and_says_so(tmp_path: Path) -> None:
    unpriced = [
        a_record(
            number, **_as(record, "word-count") | {"candidates": (record.decision.candidates[0], *_unpriced(record))}
        )
        for number, record in enumerate(logged(400))
    ]
    shown = what_if_of("--policy", policy_file(tmp_path, weights=FAST), "--log", log_file(tmp_path, unpriced))
    assert shown.exit_code == 0, shown.output
    assert "cost_per_million" not in shown.stdout
    assert "an endpoint is unpriced in 400 records" in shown.stdout


def _unpriced(record: InvocationRecord) -> Iterator[Any]:
    for candidate in record.decision.candidates[1:]:
        yield a_summary(
            candidate.endpoint, propensity=candidate.propensity, latency_ms=candidate.latency_ms, cost_usd=None
        )


@pytest.mark.parametrize(
    ("since", "policy", "log", "said"),
    [
        ("30", "new.yaml", "log.jsonl", "--since must be days or hours"),
        ("30d", "none.yaml", "log.jsonl", "No such file"),
        ("30d", "log.jsonl", "log.jsonl", "log.jsonl:2:1: "),
        ("30d", "new.yaml", "none.jsonl", "No such file"),
        ("30d", "new.yaml", "new.yaml", "new.yaml: line 1: "),
    ],
)
def test_bad_input_is_one_line_and_exit_2(tmp_path: Path, since: str, policy: str, log: str, said: str) -> None:
    policy_file(tmp_path)
    log_file(tmp_path, logged(3))
    shown = what_if_of("--policy", tmp_path / policy, "--log", tmp_path / log, "--since", since)
    assert shown.exit_code == USAGE
    assert said in shown.stderr
    assert shown.stderr.count("\n") == 1
    assert shown.stdout == ""


def test_what_the_orchestrator_logged_rescored_under_its_own_policy_is_what_it_did() -> None:
    weights = Weights(latency=0.05, cost=0.05, reliability=0.05, region_affinity=0.85)
    entry = an_entry(weights=weights, exploration=0.0)
    rig = Rig(entry)
    for number in range(120):
        region = ("us-east-1", "us-west-2", "eu-west-1")[number % 3]
        assert rig.invoke("word-count", x_fiso_user_region=region).status == 200
    assert len({record.result.endpoint for record in rig.records}) > 1
    (found,) = compare(rig.records, [entry]).comparisons
    assert (found.refusal, found.agreement, found.unusable) == (None, 1.0, 0)
    for loss in Loss:
        evaluation = found.evaluations[loss]
        assert evaluation.snips.value == pytest.approx(evaluation.logged.value)


def test_reads_a_stages_archive_as_far_back_as_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = datetime.now(UTC)
    with running_emulator(tmp_path) as url:
        for name, value in {
            "AWS_ENDPOINT_URL": url,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": "us-east-1",
        }.items():
            monkeypatch.setenv(name, value)
        s3 = boto3.client("s3")
        bucket, own = (
            "fiso-artifacts-dev",
            {"Type": "AWS::S3::Bucket", "Properties": {"BucketName": "fiso-artifacts-dev"}},
        )
        stack = {"Resources": {"Artifacts": own}, "Outputs": {"ArtifactsBucket": {"Value": {"Ref": "Artifacts"}}}}
        boto3.client("cloudformation").create_stack(StackName="fiso-dev", TemplateBody=json.dumps(stack))
        boto3.client("cloudformation").get_waiter("stack_create_complete").wait(
            StackName="fiso-dev", WaiterConfig={"Delay": 1}
        )
        archive = S3Archive(s3, bucket, clock=lambda: now)
        archive.append(logged(300, at=now - timedelta(hours=3)), batch_id="new")
        old = [
            a_record(n + 500, **_as(r, "word-count"), timestamp=now - timedelta(days=9))
            for n, r in enumerate(logged(40))
        ]
        archive.append(old, batch_id="old")
        counts = {}
        for since in ("2d", "30d"):
            shown = what_if_of("--policy", policy_file(tmp_path), "--stage", "dev", "--since", since, "--json")
            assert shown.exit_code == 0, shown.output
            counts[since] = json.loads(shown.stdout)["functions"][0]["overlap"]["records"]
        s3.close()
    assert counts == {"2d": 300, "30d": 340}
