from pathlib import Path

from fiso.billing import hop as prices
from fiso_cli.local_stage import CHECKOUT
from fiso_cli.reports.savings import deployed_memory_mb
from tests.lab.bench import hop


def test_the_deployed_memory_is_the_one_that_the_reference_figures_choose() -> None:
    best = hop.chosen(hop.choices(prices.current(), prices.REFERENCE, prices.REFERENCE_COLD_MS))
    assert deployed_memory_mb() == best.memory_mb


def test_the_cheapest_within_the_bounds_is_chosen_and_the_largest_when_none_is() -> None:
    found = hop.choices(prices.current(), prices.REFERENCE, cold_ms=100.0)
    assert hop.chosen(found).memory_mb == min(choice.memory_mb for choice in found if choice.is_within)
    assert hop.chosen(hop.choices(prices.current(), prices.REFERENCE, cold_ms=1e6)).memory_mb == hop.MEMORIES_MB[-1]


def test_an_item_is_counted_as_dynamodb_does() -> None:
    assert hop.item_bytes({"id": {"S": "abc"}, "n": {"N": "1234"}, "ok": {"BOOL": True}}) == 5 + 4 + 3


def test_requests_are_measured_through_the_genuine_handler() -> None:
    work = hop.measured_work(Path(CHECKOUT / "ml_artifacts"))
    assert 0 < work.open_bytes < work.record_bytes < 2_048
    assert work.cpu_ms > 0
    assert work.log_bytes > 100
