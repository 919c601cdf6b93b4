"""`python -m tests.lab bench`: what `make bench` runs."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from fiso_cli.errors import FAILED, CommandError
from fiso_cli.local_stage import CHECKOUT, LocalStage
from fiso_cli.packaging.build import build
from fiso_cli.packaging.manifest import ACCESS_LAYER
from fiso_cli.rendering import Output, Table, progress
from tests.lab.bench import measure, naive, overhead, rows
from tests.lab.bench.rows import Row

MODEL_DIR = CHECKOUT / "ml_artifacts"
TIMED = ("handler_", "decide_", "cold_start")
Say = Callable[[str | Table], None]


@dataclass(frozen=True, slots=True)
class Group:
    """Rows that are measured together. `rows` are the beginnings of their names."""

    title: str
    rows: tuple[str, ...]
    measure: Callable[[Path, Say], Sequence[Row]]
    needs_cloud: bool = False


def bench(
    *,
    without_cloud: Annotated[
        bool, typer.Option("--without-cloud", help="Leave out what needs a local cloud of its own.")
    ] = False,
    with_litellm: Annotated[
        bool, typer.Option("--with-litellm", help="Install LiteLLM into .local/litellm (260 MB) and measure its pick.")
    ] = False,
    only: Annotated[
        list[str] | None, typer.Option("--only", help="Measure only rows whose name begins like this; repeatable.")
    ] = None,
    commit: Annotated[
        str | None, typer.Option("--against", help="Measure only this tree against another commit, in turn in one run.")
    ] = None,
) -> Output:
    """Measure FISO beside the naive design, in one run; rows go to .local/bench.json. Exits 1 if a gate is missed.

    Trust the ratios, not the times: both sides of a row are measured in turn on this machine.

    \b
    python -m tests.lab bench --only request_path --only decide
    python -m tests.lab bench --against a78573b
    python -m tests.lab bench --against a78573b --only adversarial
    """
    state = LocalStage.from_environ().state
    if with_litellm:
        _install_litellm()
    if commit is not None:
        only, groups = only or list(TIMED), _groups_against(commit, state / "bench")
    else:
        groups = [group for group in GROUPS if not (group.needs_cloud and without_cloud)]
    measured = measure_groups(groups, only or [""], state / "bench" / "naive")
    if not only:
        rows.write(measured, state / "bench.json")
    missed = not all(row.is_met for row in measured)
    return Output(document=rows.documents(measured), shown=[rows.table(measured)], exit_code=FAILED if missed else 0)


def measure_groups(groups: Sequence[Group], only: Sequence[str], rival_dir: Path) -> list[Row]:
    """The rows whose names begin like one of `only`, with a line of progress for each group."""
    wanted = [group for group in groups if any(_meet(name, one) for name in group.rows for one in only)]
    if not wanted:
        known = ", ".join(name for group in groups for name in group.rows)
        raise CommandError(f"no row begins with {' or '.join(only)}; there are {known}")
    measured: list[Row] = []
    with progress("") as bar:
        for group in wanted:
            bar.say(group.title)
            measured.extend(group.measure(rival_dir, bar.remark))
    return [row for row in measured if any(row.name.startswith(one) for one in only)]


def _groups_against(commit: str, folder: Path) -> Sequence[Group]:
    from tests.lab.bench import against, against_worlds

    return (
        Group(f"against {commit}", TIMED, lambda _rival_dir, _say: against.rows(commit, folder)),
        Group("worlds in which facts lie", ("adversarial_",), lambda _, say: against_worlds.rows(commit, folder, say)),
    )


def _meet(name: str, asked: str) -> bool:
    return name.startswith(asked) or asked.startswith(name)


def _request_path(_rival_dir: Path, _say: Say) -> Sequence[Row]:
    from tests.lab.bench import request_path

    return request_path.rows(MODEL_DIR)


def _handlers(rival_dir: Path, _say: Say) -> Sequence[Row]:
    return measure.handlers_in_memory(MODEL_DIR, naive.build(rival_dir))


def _cold_starts(rival_dir: Path, _say: Say) -> Sequence[Row]:
    return measure.cold_starts(MODEL_DIR, naive.build(rival_dir))


def _cold_tls(_rival_dir: Path, say: Say) -> Sequence[Row]:
    from tests.lab.bench import cold

    try:
        return cold.rows(LocalStage.from_environ().state / "bench")
    except CommandError as error:
        say(f"left out: {error}")  # a checkout without that commit
        return []


def _decisions(rival_dir: Path, _say: Say) -> Sequence[Row]:
    from tests.lab.bench import decisions

    return decisions.measure(MODEL_DIR, naive.build(rival_dir))


def _litellm(_rival_dir: Path, say: Say) -> Sequence[Row]:
    from tests.lab.bench import decisions, litellm_router

    environment = litellm_router.Environment()
    if not environment.is_installed:
        say(litellm_router.LEFT_OUT)
        return []
    return [litellm_router.pick_vs_litellm(decisions.model_of(MODEL_DIR), environment)]


def _replays(_rival_dir: Path, say: Say) -> Sequence[Row]:
    from tests.lab.bench import replays

    return replays.measure(MODEL_DIR, say)


def _sizes(rival_dir: Path, _say: Say) -> Sequence[Row]:
    champion = json.loads((MODEL_DIR / "champion.json").read_text(encoding="utf-8"))["version"]
    counted = {made.name: made.counted_bytes / 1e6 for made in build("prod", ["orchestrator"]).built}
    return [
        measure.artifact_mb(MODEL_DIR / champion / "model.joblib", naive.build(rival_dir)),
        measure.package_mb(counted["orchestrator"], rival_dir),
        measure.package_with_tokens_mb(counted["orchestrator"] + counted[ACCESS_LAYER]),
    ]


def _hop(_rival_dir: Path, say: Say) -> Sequence[Row]:
    from tests.lab.bench import hop

    return hop.measure(MODEL_DIR, measure.cold_start_ms(MODEL_DIR), say)


def _ope(_rival_dir: Path, _say: Say) -> Sequence[Row]:
    from tests.lab.bench import ope

    return ope.rows()


def _adversarial(_rival_dir: Path, say: Say) -> Sequence[Row]:
    from tests.lab.bench import adversarial

    return adversarial.rows(say)


def _canary(_rival_dir: Path, _say: Say) -> Sequence[Row]:
    from tests.lab.bench import canary

    return canary.rows()


def _fold(_rival_dir: Path, say: Say) -> Sequence[Row]:
    from tests.lab.bench import fold

    return fold.measure(say)


def _keeper(_rival_dir: Path, say: Say) -> Sequence[Row]:
    from tests.lab.bench import keeper

    return keeper.measure(say)


def _scale(_rival_dir: Path, say: Say) -> Sequence[Row]:
    from tests.lab.bench import scale

    return scale.measure(say)


def _bill(_rival_dir: Path, _say: Say) -> Sequence[Row]:
    from tests.lab.bench import bill

    return bill.rows()


def _traces(_rival_dir: Path, _say: Say) -> Sequence[Row]:
    from tests.lab.bench import traces

    return traces.rows()


def _archive(_rival_dir: Path, _say: Say) -> Sequence[Row]:
    from tests.lab.bench import archive

    return archive.rows()


def _million(_rival_dir: Path, _say: Say) -> Sequence[Row]:
    from tests.lab.bench import archive

    return archive.million()


def _promotions(_rival_dir: Path, _say: Say) -> Sequence[Row]:
    from tests.lab.bench import promotions

    return promotions.rows()


def _model(_rival_dir: Path, _say: Say) -> Sequence[Row]:
    from tests.lab.bench import models

    return models.rows()


def _doors(_rival_dir: Path, say: Say) -> Sequence[Row]:
    from tests.lab.bench import doors

    return doors.rows(say)


def _memory(_rival_dir: Path, say: Say) -> Sequence[Row]:
    from tests.lab.bench import serve_memory

    return serve_memory.rows(say)


def _overhead(_rival_dir: Path, _say: Say) -> Sequence[Row]:
    return [overhead.overhead_over_put()]


def _install_litellm() -> None:
    from tests.lab.bench import litellm_router

    with progress("installing LiteLLM"):
        litellm_router.Environment().install()


GROUPS = (
    Group("how far one reads", ("request_path",), _request_path),
    Group("the whole handler", ("handler_in_memory", "handler_repeatable"), _handlers),
    Group("cold starts", ("cold_start", "rss_mb"), _cold_starts),
    Group("cold starts over TLS at 256 MB's share of a processor", ("cold_tls_",), _cold_tls),
    Group("decisions among 12 candidates", ("decide_",), _decisions),
    Group("LiteLLM's pick", ("pick_vs_litellm",), _litellm),
    Group("replays", ("replay_", "early_regret_", "captured_", "cache_hit_rate"), _replays),
    Group("sizes", ("artifact_mb", "package_"), _sizes),
    Group("front doors side by side", ("serve_rate", "serve_added"), _doors),
    Group("memory over 200,000 requests", ("serve_memory",), _memory),
    Group("what the hop costs", ("hop_usd_per_million",), _hop),
    Group("off-policy intervals over a known world", ("ope_",), _ope),
    Group("canaries by simulation", ("canary_",), _canary),
    Group("worlds in which facts lie", ("adversarial_",), _adversarial),
    Group("one hot function's fold, on a virtual clock", ("fold_lag",), _fold),
    Group("the keeper's round, by CloudWatch's limits", ("keeper_round",), _keeper),
    Group("what breaks first, by published limits", ("scale_",), _scale),
    Group("retraining over a month of archive", ("archive_",), _archive),
    Group("retraining on a million rows", ("retrain_1m",), _million),
    Group("promotions by simulation", ("promoted_",), _promotions),
    Group("what retraining exports", ("model_",), _model),
    Group("a bill of 100,000 lines", ("bill_",), _bill),
    Group("traces beside an SDK", ("trace_",), _traces),
    Group("FISO's own time on a local cloud", ("overhead_over_put",), _overhead, needs_cloud=True),
)
