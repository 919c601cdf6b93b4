"""The soak's schedule and its slopes."""

from random import Random

import pytest

from tests.lab.chaos.experiments import soak
from tests.lab.chaos.rig.rows import Row
from tests.lab.chaos.soaking import TROUBLES, Held, growth_per_hour, steps

PROVIDERS = ("aws", "azure", "gcp")


@pytest.mark.parametrize("seed", range(5))
def test_an_hour_is_filled_with_every_trouble_and_one_provider_is_always_well(seed: int) -> None:
    drawn = list(steps(Random(seed), PROVIDERS, 3_600))
    assert sum(step.seconds for step in drawn) == pytest.approx(3_600)
    assert max(len(step.modes) for step in drawn) == 2
    assert all(bool(step.modes) == bool(place % 2) for place, step in enumerate(drawn))
    assert {mode for step in drawn for mode in step.modes.values()} == set(TROUBLES.values())


def test_the_same_seed_draws_the_same_troubles() -> None:
    assert list(steps(Random(3), PROVIDERS, 600)) == list(steps(Random(3), PROVIDERS, 600))
    assert list(steps(Random(3), PROVIDERS, 600)) != list(steps(Random(4), PROVIDERS, 600))


def looks(*, grows: float, process: int = 0, first: float = 100.0) -> list[Held]:
    """An hour of looks every 5 s. What a process begins with is not counted."""
    return [
        Held(
            at_s=at_s,
            process=process,
            resident_mb=first * (1 + grows * at_s / 3600) if at_s > 1_500 else at_s / 10,
            open_files=50 + at_s // 5 % 2,
            threads=9,
        )
        for at_s in range(0, 3_600, 5)
    ]


@pytest.mark.parametrize("grows", [0.0, 0.004, 0.02])
def test_growth_is_that_of_the_process_that_grows_most(grows: float) -> None:
    seen = [*looks(grows=0.0), *looks(grows=grows, process=1, first=300.0)]
    assert growth_per_hour(seen, "resident_mb") == pytest.approx(grows, rel=0.02)
    assert growth_per_hour(seen, "open_files") == pytest.approx(0.0, abs=1e-3)
    assert growth_per_hour(seen, "threads") == 0.0


def row(id: str, **changes: object) -> Row:
    fields = {"at": 0.0, "intended_s": 0.0, "latency_ms": 5.0, "status": 200, "phase": "well", "environment": 1}
    return Row(**(fields | {"invocation_id": id} | changes))  # type: ignore[arg-type]


def test_each_violation_is_a_missed_figure() -> None:
    found = [
        row("a", key="k", status=503),
        row("b"),
        row("c", served_ms=5_051.0),
        row("d", status=500),
    ]
    missed = [figure.name for figure in soak._of_requests(found, {"b": 2}) if not figure.is_met]
    assert missed == [
        "success of what may be repeated",
        "executed twice that must not be",
        "past the deadline",
        "untyped answers and 500s",
    ]
