"""The learning loop on the deployed stage: the schedule fires, and a newly trained model serves without a redeploy."""

import asyncio

from fiso_cli.traffic import calls
from fiso_cli.traffic.calls import Load
from fiso_cli.traffic.samples import Sample
from localcloud.demo import plan
from localcloud.demo.findings import SCHEDULE, chosen_by_score
from tests.e2e.conftest import LiveCloud, eventually

SCHEDULE_WITHIN_S = 150.0
"""`rate(1 minute)` fires first about 66 s after a deployment, and again after every other one."""


def batch(live: LiveCloud, count: int) -> list[Sample]:
    samples: list[Sample] = []
    asyncio.run(calls.run(live.gateway, Load(calls=plan.calls(count), concurrency=4), samples.append))
    assert [sample.problem for sample in samples if sample.problem] == []
    return samples


def test_no_cloud_is_the_best_for_every_function_and_user_region_and_each_is_tried(live: LiveCloud) -> None:
    samples = batch(live, 240)
    # which one wins in how many places depends on this machine's load: that more than one does is the claim
    assert len(chosen_by_score(samples)) >= 2
    assert {sample.provider for sample in samples} == {"aws", "azure", "gcp"}


def test_the_schedule_fires_the_retrainer_and_what_it_publishes_serves_without_a_redeploy(live: LiveCloud) -> None:
    def published() -> list[str | None]:
        runs = live.machine.counts.runs_since(live.started_at)
        fired = [run for run in runs if run.trigger == SCHEDULE]
        return [run.challenger_version for run in runs if run.promoted] if fired else []

    versions = eventually(published, within_s=SCHEDULE_WITHIN_S)
    eventually(lambda: live.invoke("word-count").headers["x-fiso-model-version"] in versions, within_s=60)
