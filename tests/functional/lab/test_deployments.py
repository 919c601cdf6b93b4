"""First deployments that fail half-way, in small; `python -m tests.lab deployments` has six places of failure."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.deployments import Run, account
from tests.set_up import set_up


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    with account(tmp_path) as made:
        yield made


def test_a_stage_fails_half_way_succeeds_is_removed_comes_back_and_stands_beside_others(run: Run) -> None:
    checks = run.run(places=("InvocationLog",))
    assert [str(check) for check in checks if not check.held] == []
    assert len(checks) == 15


def test_under_another_policy_the_first_failure_would_stand_in_the_way_of_the_second_try(run: Run) -> None:
    template = run.prod.template()
    for each in template["Resources"].values():
        if each.get("DeletionPolicy") == "RetainExceptOnCreate":
            each["DeletionPolicy"] = "Retain"
    set_up("prod", run.prod.aws)
    run.fails_after("InvocationLog", template)
    (check,) = run.checks
    assert not check.held
    assert "fiso-invocation-logs-prod" in check.seen
