"""The choreography against a machine and an API that only count."""

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest
from rich.console import Console

from fiso.domain.model import RetrainingRun
from fiso_cli.traffic.gateway import Gateway
from localcloud.demo.awaiting import Patience
from localcloud.demo.narration import Narration
from localcloud.demo.run import Demo
from tests.functional.contract_server import ContractServer, serving

AT = datetime(2030, 1, 1, tzinfo=UTC)


@dataclass
class CountingMachine:
    """Folds one record per look, fires the schedule at the third look, and remembers what was asked of it."""

    server: ContractServer
    folded_before: int = 7
    promotes: bool = True
    looks: int = 0
    folds: int = 0
    said: list[str] = field(default_factory=list)
    requests_at: dict[str, int] = field(default_factory=dict)

    def _do(self, name: str) -> str:
        self.said.append(name)
        self.requests_at[name] = len(self.server.seen)
        return "done"

    def boot(self) -> str:
        return self._do("boot")

    def train(self) -> str:
        return self._do("train")

    def deploy(self) -> str:
        return self._do("deploy")

    def apply(self) -> str:
        return self._do("apply")

    def retrain(self) -> str:
        return self._do("retrain")

    def kill(self, provider: str) -> None:
        self._do(f"kill {provider}")

    def heal(self, provider: str) -> None:
        self._do(f"heal {provider}")

    def gateway(self) -> Gateway:
        return Gateway(url=self.server.url)

    def had_champion(self) -> bool:
        return False

    def logged_since(self, moment: datetime) -> int:
        assert moment == AT
        return len(self.server.seen)

    def folded(self) -> int:
        self.folds = min(self.folds + 20, len(self.server.seen))
        return self.folded_before + self.folds

    def runs_since(self, moment: datetime) -> Sequence[RetrainingRun]:
        self.looks += 1
        if self.looks < 3:
            return []
        self.server.model_version = "m-2" if self.promotes else "m-1"
        return [
            RetrainingRun(
                started_at=moment + timedelta(minutes=1), trigger="schedule", rows=60, promoted=self.promotes,
                reason="r", champion_version="m-1", challenger_version="m-2",
            )
        ]  # fmt: skip


@pytest.fixture
def machine() -> Iterator[CountingMachine]:
    with serving() as server:
        yield CountingMachine(server=server)


def demo(machine: CountingMachine, said: io.StringIO) -> Demo:
    soon = Patience(seconds=5, every_s=0.0)
    return Demo(
        machine=machine,
        narration=Narration(Console(file=said, width=200)),
        requests=60,
        concurrency=4,
        clock=lambda: AT,
        schedule_patience=soon,
        fold_patience=soon,
        further_patience=soon,
    )


def test_preparation_goes_from_boot_to_catalog_and_tells_each_step(machine: CountingMachine) -> None:
    said = io.StringIO()
    demo(machine, said).prepare()
    assert machine.said == ["boot", "train", "deploy", "apply"]
    assert said.getvalue().count(": done (") == 4


def test_a_provider_is_lost_after_a_third_of_the_batch_and_healed_after_two(machine: CountingMachine) -> None:
    found = demo(machine, io.StringIO()).run()
    assert machine.said[0] == "retrain"
    assert machine.said[1:] == [f"kill {found.killed}", f"heal {found.killed}"]
    assert 17 <= machine.requests_at[f"kill {found.killed}"] <= 24
    assert 37 <= machine.requests_at[f"heal {found.killed}"] <= 44


def test_the_requests_that_met_the_new_model_are_counted_too(machine: CountingMachine) -> None:
    found = demo(machine, io.StringIO()).run()
    assert len(found.samples) > 60
    assert (found.first_model, found.last_model) == ("m-1", "m-2")
    assert found.logged == found.folded == found.answered == len(found.samples)


def test_without_a_promotion_no_further_requests_are_sent_and_waits_end(machine: CountingMachine) -> None:
    machine.promotes = False
    run = demo(machine, io.StringIO())
    found = Demo(
        machine=run.machine, narration=run.narration, requests=60, concurrency=4, clock=run.clock,
        schedule_patience=Patience(seconds=0.01, every_s=0.001), fold_patience=run.fold_patience,
    ).run()  # fmt: skip
    assert len(found.samples) == 60
    assert found.promotions == []


def test_answers_with_other_bytes_than_expected_are_failures(machine: CountingMachine) -> None:
    found = demo(machine, io.StringIO()).run()
    assert {sample.problem for sample in found.samples} == {"not the expected bytes"}
