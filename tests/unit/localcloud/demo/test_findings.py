from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from fiso.domain.model import RetrainingRun
from fiso_cli.traffic.samples import Sample
from localcloud.demo.findings import Findings, checks, run_document
from localcloud.demo.run import busiest

AT = datetime(2030, 1, 1, tzinfo=UTC)


def sample(number: int, provider: str | None, reason: str = "score", problem: str | None = None) -> Sample:
    return Sample(
        function="compress",
        latency_ms=10.0 + number,
        status=200,
        problem=problem,
        provider=provider,
        region="r",
        reason=reason,
        attempts=1,
        overhead_ms=float(number),
        invocation_id=f"i{number}",
        model_version="m0",
        user_region=f"region-{number}",
    )


def run(trigger: str, *, promoted: bool, minutes: int = 0) -> RetrainingRun:
    return RetrainingRun(
        started_at=AT + timedelta(minutes=minutes),
        trigger=trigger,
        rows=240,
        promoted=promoted,
        reason="better" if promoted else "too few rows: 0 of 100",
        champion_version="m0",
        challenger_version="m1" if promoted else None,
    )


BY_SCORE = (sample(1, "aws"), sample(2, "azure"), sample(3, "gcp"))
OLD_MODEL = (*BY_SCORE, sample(4, "gcp", "failover"), sample(5, "aws", "explore"))
LAST = replace(OLD_MODEL[-1], model_version="m1")
SAMPLES = (*OLD_MODEL[:-1], LAST)
GOOD = Findings(
    samples=SAMPLES,
    logged=5,
    folded=5,
    runs=(run("schedule", promoted=True, minutes=1), run("command", promoted=False)),
    killed="aws",
    had_champion=False,
    api_url="http://h/api",
)


def failed(findings: Findings) -> list[str]:
    return [check.claim for check in checks(findings) if not check.held]


def test_a_good_run_holds_every_claim() -> None:
    assert failed(GOOD) == []


@pytest.mark.parametrize(
    ("changes", "claim"),
    [
        ({"samples": (*SAMPLES[:4], replace(LAST, problem="status 502"))}, "every request got its function's bytes"),
        ({"samples": (*SAMPLES[:3], sample(4, "gcp"), LAST)}, "failed over while aws was down"),
        ({"logged": 4}, "logged = folded = answered"),
        ({"folded": 6}, "logged = folded = answered"),
        ({"logged": 4, "folded": 4}, "logged = folded = answered"),
        (
            {"samples": (SAMPLES[0], sample(2, "azure", "explore"), *SAMPLES[2:])},
            "each provider was the best for some function and user region",
        ),
        ({"samples": OLD_MODEL}, "a newly trained model serves without a redeploy"),
    ],
)
def test_each_claim_can_fail_by_itself(changes: dict[str, object], claim: str) -> None:
    assert failed(replace(GOOD, **changes)) == [claim]  # type: ignore[arg-type]


def test_a_schedule_that_never_fired_fails_even_when_a_command_trained() -> None:
    found = replace(GOOD, runs=(run("command", promoted=True),))
    assert failed(found) == ["the schedule fired the retrainer"]


def test_a_refusal_is_sound_only_over_an_earlier_champion() -> None:
    refused = replace(GOOD, runs=(run("schedule", promoted=False),))
    assert failed(refused) == ["a newly trained model serves without a redeploy"]
    assert failed(replace(refused, had_champion=True)) == []


def test_a_failed_claim_says_what_was_seen() -> None:
    lost = replace(GOOD, samples=(*SAMPLES[:4], sample(5, None, problem="no answer (ReadTimeout)")))
    said = "FAILED  every request got its function's bytes (1 of 5 failed; 1 x no answer (ReadTimeout))"
    assert str(checks(lost)[0]) == said


def test_the_run_document_has_exactly_the_keys_that_are_promised() -> None:
    document = run_document(GOOD)
    assert list(document) == [
        "invocations", "by_provider", "failures", "failovers", "overhead_p50_ms", "overhead_p99_ms", "records_logged",
        "records_folded", "schedules_fired", "model_version", "api_url", "console_url",
    ]  # fmt: skip
    assert document["by_provider"] == {"aws": 2, "gcp": 2, "azure": 1}
    assert (document["overhead_p50_ms"], document["overhead_p99_ms"]) == (3.0, 5.0)
    assert (document["schedules_fired"], document["model_version"], document["failovers"]) == (1, "m1", 1)


def test_the_busiest_provider_is_the_one_to_lose() -> None:
    assert busiest([sample(1, "gcp"), sample(2, "aws"), sample(3, "gcp")]) == "gcp"
    assert busiest([]) == "aws"
