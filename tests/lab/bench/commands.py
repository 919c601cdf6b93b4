"""`python -m tests.lab bench`: what `make bench` runs."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from fiso_cli.packaging.build import build
from fiso_cli.packaging.manifest import ACCESS_LAYER
from fiso_cli.traffic import terminal
from localcloud.layout import CHECKOUT, LocalCloud
from tests.lab.bench import measure, naive, ope, overhead, rows
from tests.lab.bench.rows import Row

bench_app = typer.Typer(add_completion=False)


@bench_app.callback(invoke_without_command=True)
def bench_command(
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print the rows as JSON.")] = False,
    without_cloud: Annotated[
        bool, typer.Option("--without-cloud", help="Leave out what needs a local cloud of its own.")
    ] = False,
    with_litellm: Annotated[
        bool, typer.Option("--with-litellm", help="Install LiteLLM into .local/litellm (260 MB) and measure its pick.")
    ] = False,
) -> None:
    """Measure FISO beside the naive design, in one run; rows go to .local/bench.json. Exits 1 if a gate is missed.

    Trust the ratios, not the times: both sides of a row are measured in turn on this machine.
    For example: python -m tests.lab bench --without-cloud --with-litellm
    """
    state = LocalCloud.from_environ().state
    if with_litellm:
        _install_litellm()
    measured = measure_all(state / "bench" / "naive", with_cloud=not without_cloud)
    rows.write(measured, state / "bench.json")
    if as_json:
        typer.echo(json.dumps(json.loads((state / "bench.json").read_text(encoding="utf-8"))))
    else:
        terminal.out().print(rows.table(measured))
    if not all(row.is_met for row in measured):
        raise typer.Exit(1)


def measure_all(rival_dir: Path, *, with_cloud: bool) -> list[Row]:
    """Every row, with a line of progress for each."""
    from tests.lab.bench import decisions, hop, replays  # scikit-learn takes a second to import

    measured: list[Row] = []
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=terminal.err(), transient=True) as progress:

        def step(title: str, work: Callable[[], list[Row]]) -> None:
            task = progress.add_task(title, total=1)
            measured.extend(work())
            progress.advance(task)

        def say(remark: str) -> None:
            progress.console.print(remark, soft_wrap=True, markup=False)

        step("building the naive rival (once)", lambda: _nothing(naive.build(rival_dir)))
        model_dir = CHECKOUT / "ml_artifacts"
        step("the whole handler", lambda: list(measure.handlers_in_memory(model_dir, rival_dir)))
        step("cold starts", lambda: list(measure.cold_starts(model_dir, rival_dir)))
        step("decisions among 12 candidates", lambda: decisions.measure(model_dir, rival_dir))
        step("LiteLLM's pick", lambda: _litellm(model_dir, say))
        step("replays", lambda: replays.measure(model_dir, say))
        step("sizes", lambda: _sizes(model_dir, rival_dir))
        cold_ms = next(found.value for found in measured if found.name == "cold_start")
        step("what the hop costs", lambda: hop.measure(model_dir, cold_ms, progress.console.print))
        step("off-policy intervals over a known world", ope.rows)
        if with_cloud:
            step("FISO's own time on a local cloud", lambda: [overhead.overhead_over_put()])
    return measured


def _sizes(model_dir: Path, rival_dir: Path) -> list[Row]:
    champion = json.loads((model_dir / "champion.json").read_text(encoding="utf-8"))["version"]
    counted = {made.name: made.counted_bytes / 1e6 for made in build("prod", ["orchestrator"]).built}
    return [
        measure.artifact_mb(model_dir / champion / "model.joblib", rival_dir),
        measure.package_mb(counted["orchestrator"], rival_dir),
        measure.package_with_tokens_mb(counted["orchestrator"] + counted[ACCESS_LAYER]),
    ]


def _install_litellm() -> None:
    from tests.lab.bench import litellm_router

    with terminal.err().status("installing LiteLLM"):
        litellm_router.Environment().install()


def _litellm(model_dir: Path, say: Callable[[str], None]) -> list[Row]:
    from tests.lab.bench import decisions, litellm_router

    environment = litellm_router.Environment()
    if not environment.is_installed:
        say(litellm_router.LEFT_OUT)
        return []
    return [litellm_router.pick_vs_litellm(decisions.model_of(model_dir), environment)]


def _nothing(_: object) -> list[Row]:
    return []
