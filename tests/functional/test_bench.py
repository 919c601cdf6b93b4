"""What the benchmarks time: that the decisions are what their rows claim, and that what is absent is left out."""

from pathlib import Path

import pytest

from fiso.billing import plans
from fiso.prediction import features
from fiso_cli.errors import CommandError
from fiso_cli.local_stage import CHECKOUT
from fiso_cli.worlds.inputs import VARIABLE
from tests.lab.bench import against, candidates, commands, decisions, litellm_router, replays, request_path, rows
from tests.unit.fiso_cli.worlds.paired import pair, write

MODEL_DIR = CHECKOUT / "ml_artifacts"


def test_the_world_has_twelve_candidates_called_forty_times_each() -> None:
    world = candidates.known_world(decisions.model_of(MODEL_DIR))
    assert len(world.entry.endpoints) == 12
    assert {state.attempts for state in world.states.values()} == {40}
    assert len(world.states) == 12
    assert world == candidates.known_world(decisions.model_of(MODEL_DIR))


def test_decisions_in_a_seen_context_are_look_ups() -> None:
    made = decisions.SeenDecisions(decisions.model_of(MODEL_DIR))
    for _ in range(20):
        made()
    assert made.are_seen


def test_decisions_in_new_contexts_never_are() -> None:
    model = decisions.model_of(MODEL_DIR)
    count = 120
    for worlds in (decisions.one_world(model), decisions.changing_worlds(model)):
        made = decisions.NewDecisions(model, worlds, count)
        for _ in range(count):
            made()
        assert made.are_new


def test_where_no_trace_is_at_hand_one_line_says_so(tmp_path: Path) -> None:
    said: list[str] = []
    assert replays.measure(MODEL_DIR, said.append, folder=tmp_path / "paired") == []
    (line,) = said
    assert VARIABLE in line


def test_each_trace_is_replayed_under_both_objectives(tmp_path: Path) -> None:
    write(tmp_path, *(line for number in range(30) for line in pair(number, 100, 40, cost_usd=1e-6 * (1 + number % 2))))
    said: list[str] = []
    found = replays.measure(MODEL_DIR, said.append, folder=tmp_path)
    assert {"replay_trace_latency", "replay_trace_cost"} <= {figure.name for figure in found}
    assert said == []


def test_litellm_counts_as_installed_only_from_the_lock_as_it_is(tmp_path: Path) -> None:
    environment = litellm_router.Environment(folder=tmp_path, lock=tmp_path / "lock.txt")
    environment.lock.write_text("litellm==1.0", encoding="ascii")
    before = environment.is_installed
    environment.mark()
    made = environment.is_installed
    environment.lock.write_text("litellm==2.0", encoding="ascii")
    assert (before, made, environment.is_installed) == (False, True, False)


def test_a_path_counts_files_functions_and_moves_of_fiso_alone() -> None:
    def call() -> object:
        rows.row("ours is no file of FISO's", 1.0, "", rival="", rival_value=None, n=1)
        plans.gcp_vcpu(512)
        return [features.function_type_code(kind) for kind in ("text", "image")]

    assert request_path.counted(call) == request_path.Count(files=2, functions=2, moves=1)


def test_only_the_rows_asked_for_are_measured(tmp_path: Path) -> None:
    found = commands.measure_groups(commands.GROUPS, ["request_path_m"], tmp_path)
    assert [row.name for row in found] == ["request_path_moves"]


def test_each_row_against_another_commit_is_timed_by_a_trees_own_code(tmp_path: Path) -> None:
    with against.side(CHECKOUT) as process:
        for name in against.EACH:
            assert len(against.timer(process, name)(3)) == 3
    with pytest.raises(CommandError, match="commit 0000000 cannot be checked out: fatal: invalid reference: 0000000"):
        against.checked_out("0000000", tmp_path)
