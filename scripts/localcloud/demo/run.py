"""Runs: the demo from boot to findings, in one order. Knows the machine through its interface only.

boot -> train -> deploy -> apply -> a refused retraining -> the batch with a provider lost and healed
     -> folded -> the schedule fires -> the new model answers -> folded
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from fiso.domain.endpoint import Provider
from fiso.domain.model import RetrainingRun
from fiso_cli.traffic import calls
from fiso_cli.traffic.calls import Call, Load
from fiso_cli.traffic.gateway import Gateway
from fiso_cli.traffic.samples import Sample
from localcloud.demo import plan
from localcloud.demo.awaiting import Patience
from localcloud.demo.findings import SCHEDULE, Findings, busiest
from localcloud.demo.machine import Machine
from localcloud.demo.narration import Narration

SCHEDULE_PATIENCE = Patience(seconds=200, every_s=2)
"""`rate(1 minute)` fires first about 66 s after a deployment; a first run that refuses has a second one to follow."""
FOLD_PATIENCE = Patience(seconds=60, every_s=0.5)
FURTHER_PATIENCE = Patience(seconds=60, every_s=0.5)
MOST_FURTHER_REQUESTS = 120


@dataclass(frozen=True, slots=True, kw_only=True)
class Demo:
    """One demo run. The patiences bound its waits; `clock` gives aware UTC datetimes."""

    machine: Machine
    narration: Narration
    requests: int
    concurrency: int
    clock: Callable[[], datetime] = field(default=lambda: datetime.now(UTC))
    schedule_patience: Patience = SCHEDULE_PATIENCE
    fold_patience: Patience = FOLD_PATIENCE
    further_patience: Patience = FURTHER_PATIENCE

    def prepare(self) -> None:
        """From nothing to a deployed stage with a catalog and a model."""
        steps = (
            ("booting the local cloud", self.machine.boot),
            ("the packaged model", self.machine.train),
            ("deploying with serverless", self.machine.deploy),
            ("applying the catalog", self.machine.apply),
        )
        for title, step in steps:
            self.narration.step(title, step)

    def run(self) -> Findings:
        """Route the batch and wait for what must follow from it."""
        machine, started_at = self.machine, self.clock()
        gateway, had_champion = machine.gateway(), machine.had_champion()
        self.narration.step("retraining on too few records", machine.retrain)
        folded_before = machine.folded()
        samples: list[Sample] = []
        killed = self._batch(gateway, samples)
        self._await_folding(samples, started_at, folded_before)
        runs = self._await_schedule(started_at, had_champion)
        samples.extend(self._further(gateway, runs))
        logged, folded = self._await_folding(samples, started_at, folded_before)
        return Findings(
            samples=samples,
            logged=logged,
            folded=folded,
            runs=machine.runs_since(started_at),
            killed=killed,
            first_model=_first_model(samples),
            last_model=_first_model(samples[::-1]),
            had_champion=had_champion,
            api_url=gateway.url,
            console_url=f"{gateway.url}/console",
        )

    def _batch(self, gateway: Gateway, samples: list[Sample]) -> str:
        """The first requests; the busiest provider is lost after a third of them and healed after two thirds."""
        killed: list[str] = []

        def kill() -> None:
            killed.append(busiest(samples, otherwise=Provider.AWS))
            self.machine.kill(killed[0])
            self.narration.remark(f"{killed[0]} is down")

        def heal() -> None:
            self.machine.heal(killed[0])
            self.narration.remark(f"{killed[0]} is healed")

        interludes = {self.requests // 3: kill, 2 * self.requests // 3: heal}
        load = Load(calls=plan.calls(self.requests), concurrency=self.concurrency, interludes=interludes)
        with self.narration.counting("routing", self.requests) as advance:

            def on_sample(sample: Sample) -> None:
                samples.append(sample)
                advance()

            asyncio.run(calls.run(gateway, load, on_sample))
        return killed[0]

    def _await_folding(self, samples: Sequence[Sample], since: datetime, folded_before: int) -> tuple[int, int]:
        """Wait until every answer is logged and folded; the counts as last seen."""
        answered = len({sample.invocation_id for sample in samples if sample.invocation_id})

        def look() -> tuple[int, int]:
            return self.machine.logged_since(since), self.machine.folded() - folded_before

        with self.narration.waiting("for the stream to fold every record") as say:
            patience = self.fold_patience.telling(say)
            return patience.wait_for(look, lambda seen: seen == (answered, answered))

    def _await_schedule(self, since: datetime, had_champion: bool) -> Sequence[RetrainingRun]:
        """Wait for a scheduled retraining that publishes; where a champion stands already, for any."""

        def is_enough(runs: Sequence[RetrainingRun]) -> bool:
            fired = any(run.trigger == SCHEDULE for run in runs)
            return fired and (had_champion or any(run.promoted for run in runs))

        with self.narration.waiting("for the schedule to fire the retrainer (a minute or two)") as say:
            patience = self.schedule_patience.telling(say)
            return patience.wait_for(lambda: self.machine.runs_since(since), is_enough)

    def _further(self, gateway: Gateway, runs: Sequence[RetrainingRun]) -> list[Sample]:
        """More requests, until one was decided by a published model. None when none was published."""
        published = {run.challenger_version for run in runs if run.promoted}
        samples: list[Sample] = []
        if not published:
            return samples
        queue = iter(plan.calls(MOST_FURTHER_REQUESTS))

        def ask() -> str | None:
            call: Call | None = next(queue, None)
            if call is not None:
                asyncio.run(calls.run(gateway, Load(calls=[call], concurrency=1), samples.append))
            return samples[-1].model_version

        with self.narration.waiting("for the orchestrator to pick up the new model") as say:
            self.further_patience.telling(say).wait_for(ask, lambda version: version in published)
        return samples


def _first_model(samples: Sequence[Sample]) -> str:
    return next((sample.model_version for sample in samples if sample.model_version), "none")
