"""What holds for the whole suite: laws have no limit of time, and in CI they try the same examples each time."""

import os
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

os.environ.setdefault("OMP_NUM_THREADS", "1")
"""Beside other work, threads of scikit-learn's own wait for each other longer than they save."""

settings.register_profile(
    "fiso",
    deadline=None,
    derandomize=os.environ.get("CI") == "true",
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("fiso")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Samples in full are for `make samples`: they take minutes, and who does not ask for them waits for none."""
    if "slow" not in str(config.option.markexpr):
        slow = [item for item in items if item.get_closest_marker("slow")]
        config.hook.pytest_deselected(items=slow)
        items[:] = [item for item in items if item not in slow]


@pytest.fixture(params=["gateway", "wsgi"])
def each_door(request: pytest.FixtureRequest) -> Iterator[None]:
    """The test's requests go through this door of the orchestrator."""
    from fiso.testing.rig import DOOR
    from functions.orchestrator.handler import answer_event
    from tests.doors import by_wsgi

    is_wsgi = request.param == "wsgi"
    if is_wsgi and request.node.get_closest_marker("gateway_form"):
        pytest.skip("it is about the form that Lambda gives an answer")
    before = DOOR.set(by_wsgi if is_wsgi else answer_event)
    yield
    DOOR.reset(before)
