from dataclasses import replace
from pathlib import Path

from fiso.billing import hop as prices
from fiso_cli.cost import measured, template
from fiso_cli.local_stage import CHECKOUT
from tests.lab.bench import hop


def test_the_deployed_memory_is_the_one_that_the_measured_work_chooses() -> None:
    best = hop.chosen(hop.choices(prices.current(), measured.work()))
    assert template.setup().memory_mb == best.memory_mb


def test_the_cheapest_within_the_bounds_is_chosen_and_the_largest_when_none_is() -> None:
    found = hop.choices(prices.current(), replace(measured.work(), cold_ms=100.0))
    assert hop.chosen(found).memory_mb == min(choice.memory_mb for choice in found if choice.is_within)
    too_slow = hop.choices(prices.current(), replace(measured.work(), cold_ms=1e6))
    assert hop.chosen(too_slow).memory_mb == hop.MEMORIES_MB[-1]


def test_processor_times_are_measured_through_the_genuine_handlers() -> None:
    work = hop.measured_work(Path(CHECKOUT / "ml_artifacts"))
    assert min(work.cpu_ms, work.consumer_cpu_ms) > 0
    assert work.record_units == measured.work().record_units
