"""Runs: the demo from boot to findings, told while it happens.

boot -> train -> deploy -> apply -> a refused retraining -> the batch with a provider lost and healed
     -> folded -> the schedule fires -> the new model answers -> folded
"""

import asyncio
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeVar

from fiso_cli.counting import Runs
from fiso_cli.rendering import progress, remark
from fiso_cli.traffic import calls
from fiso_cli.traffic.calls import Load
from fiso_cli.traffic.gateway import Gateway
from fiso_cli.traffic.samples import Sample
from localcloud import banner, faults
from localcloud.demo import plan
from localcloud.demo.findings import SCHEDULE, Findings
from localcloud.demo.machine import Machine

T = TypeVar("T")

FOLD_WITHIN_S = 60.0
SCHEDULE_WITHIN_S = 200.0
"""`rate(1 minute)` fires first about 66 s after a deployment; a first run that refuses has a second one to follow."""
NEW_MODEL_WITHIN_S = 60.0
MOST_FURTHER_REQUESTS = 120
REMIND_EVERY_S = 15.0
"""Where no terminal shows a spinner, a wait says this often that it goes on."""


def step(title: str, do: Callable[[], str]) -> None:
    """Do something that answers with one line; say how long it took."""
    start = time.monotonic()
    with progress(title):
        came_of_it = do()
    remark(f"{title}: {came_of_it} ({time.monotonic() - start:.1f} s)")


def wait(reason: str, look: Callable[[], T], is_enough: Callable[[T], bool], *, within_s: float) -> T:
    """Look until it is enough or time is up; the last thing seen either way."""
    start = said = time.monotonic()
    with progress(f"waiting {reason}") as bar:
        while not is_enough(seen := look()) and (left_s := start + within_s - time.monotonic()) > 0:
            line = f"waiting {reason}: {left_s:.0f} s at most"
            bar.say(line)
            if not sys.stderr.isatty() and time.monotonic() - said >= REMIND_EVERY_S:
                said = time.monotonic()
                remark(f"  {line}")
            time.sleep(0.5)
    remark(f"waited {reason} ({time.monotonic() - start:.1f} s)")
    return seen


@dataclass(frozen=True, slots=True, kw_only=True)
class Demo:
    """One demo run."""

    machine: Machine
    requests: int
    concurrency: int

    def prepare(self) -> None:
        """From nothing to a deployed stage with a catalog and a model."""
        step("booting the local cloud", self.machine.boot)
        for line in banner.lines(self.machine.cloud):
            remark(f"  {line}")
        step("the packaged model", self.machine.train)
        step("deploying with serverless", self.machine.deploy)
        step("applying the catalog", self.machine.apply)

    def run(self) -> Findings:
        """Route the batch and wait for what must follow from it."""
        counts, since = self.machine.counts, datetime.now(UTC)
        gateway, had_champion = Gateway(url=self.machine.stage.api_url), counts.has_champion()
        step("retraining on too few records", self.machine.retrain)
        folded_before = counts.folded()
        samples: list[Sample] = []
        killed = self._batch(gateway, samples)
        self._await_folding(samples, since, folded_before)
        runs = self._await_schedule(since, had_champion=had_champion)
        samples.extend(self._further(gateway, runs))
        logged, folded = self._await_folding(samples, since, folded_before)
        return Findings(
            samples=samples,
            logged=logged,
            folded=folded,
            runs=counts.runs_since(since),
            killed=killed,
            had_champion=had_champion,
            api_url=gateway.url,
        )

    def _batch(self, gateway: Gateway, samples: list[Sample]) -> str:
        """The first requests; the busiest provider is lost after a third of them and healed after two thirds."""
        killed: list[str] = []

        def kill() -> None:
            killed.append(busiest(samples))
            faults.kill(self.machine.cloud, killed[0])
            remark(f"  {killed[0]} is down")

        def heal() -> None:
            faults.heal(self.machine.cloud, killed[0])
            remark(f"  {killed[0]} is healed")

        interludes = {self.requests // 3: kill, 2 * self.requests // 3: heal}
        load = Load(calls=plan.calls(self.requests), concurrency=self.concurrency, interludes=interludes)
        start = time.monotonic()
        with progress("routing", self.requests) as bar:

            def on_sample(sample: Sample) -> None:
                samples.append(sample)
                bar.advance()

            asyncio.run(calls.run(gateway, load, on_sample))
        remark(f"routing: {self.requests} requests ({time.monotonic() - start:.1f} s)")
        return killed[0]

    def _await_folding(self, samples: Sequence[Sample], since: datetime, folded_before: int) -> tuple[int, int]:
        """Wait until every answer is logged and folded; the counts as last seen."""
        answered, counts = (
            len({sample.invocation_id for sample in samples if sample.invocation_id}),
            self.machine.counts,
        )
        return wait(
            "for the stream to fold every record",
            lambda: (counts.logged_since(since), counts.folded() - folded_before),
            lambda seen: seen == (answered, answered),
            within_s=FOLD_WITHIN_S,
        )

    def _await_schedule(self, since: datetime, *, had_champion: bool) -> Runs:
        """Wait for a scheduled retraining that publishes; where a champion stands already, for any."""

        def is_enough(runs: Runs) -> bool:
            fired = any(run.trigger == SCHEDULE for run in runs)
            return fired and (had_champion or any(run.promoted for run in runs))

        reason = "for the schedule to fire the retrainer (a minute or two)"
        look = self.machine.counts.runs_since
        return wait(reason, lambda: look(since), is_enough, within_s=SCHEDULE_WITHIN_S)

    def _further(self, gateway: Gateway, runs: Runs) -> list[Sample]:
        """More requests, until one was decided by a published model. None when none was published."""
        published = {run.challenger_version for run in runs if run.promoted}
        samples: list[Sample] = []
        if not published:
            return samples
        queue = iter(plan.calls(MOST_FURTHER_REQUESTS))

        def ask() -> str | None:
            if (call := next(queue, None)) is not None:
                asyncio.run(calls.run(gateway, Load(calls=[call], concurrency=1), samples.append))
            return samples[-1].model_version

        reason = "for the orchestrator to pick up the new model"
        wait(reason, ask, lambda version: version in published, within_s=NEW_MODEL_WITHIN_S)
        return samples


def busiest(samples: Sequence[Sample]) -> str:
    """The provider that answered most so far: the one whose loss is felt."""
    answered = Counter(sample.provider for sample in samples if sample.provider)
    return answered.most_common(1)[0][0] if answered else "aws"
