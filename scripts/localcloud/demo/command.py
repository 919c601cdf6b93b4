"""`fiso demo`: what `make run` does on a machine that is set up."""

import json
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Annotated, NoReturn

import typer
from rich.console import Console

from fiso_cli.errors import CommandError
from fiso_cli.stage import Stage
from fiso_cli.traffic import terminal
from localcloud.demo import plan, report
from localcloud.demo.counting import Counts
from localcloud.demo.findings import Check, Findings, checks, run_document
from localcloud.demo.local_machine import LocalMachine
from localcloud.demo.narration import Narration
from localcloud.demo.run import Demo

LOCAL = "local"
INTERRUPTED = 130


app = typer.Typer()


@app.command()
def demo(
    *,
    once: Annotated[bool, typer.Option("--once", help="Exit after the checks: 0 only if all held.")] = False,
    requests: Annotated[int, typer.Option(min=30, help="Requests in the first batch.")] = 480,
    concurrency: Annotated[int, typer.Option(min=1, max=64, help="Requests at once.")] = 4,
    as_json: Annotated[bool, typer.Option("--json", help="Print the run as JSON instead of tables.")] = False,
) -> None:
    """Boot the local cloud, deploy, route a batch while a provider is lost and healed, check every claim, then serve.

    Needs what `make setup` installs. Everything is gone after Ctrl-C, or at once with --once.
    """
    stage = Stage.named(LOCAL)
    machine = LocalMachine(stage=stage, counts=Counts(stage=stage, functions=plan.functions()))
    with stopped_by_sigterm():
        try:
            found = _run(machine, requests=requests, concurrency=concurrency)
            results = checks(found)
            _write(machine.run_file, found)
            _show(found, results, as_json=as_json)
            if not once:
                _serve(found)
        except KeyboardInterrupt:
            raise typer.Exit(INTERRUPTED) from None
        finally:
            with undisturbed():
                machine.shut_down()
    if not all(check.held for check in results):
        raise typer.Exit(1)


@contextmanager
def stopped_by_sigterm() -> Iterator[None]:
    """SIGTERM leaves by the same door as Ctrl-C, so that nothing is left running."""

    def leave(number: int, frame: FrameType | None) -> NoReturn:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def undisturbed() -> Iterator[None]:
    """A second Ctrl-C does not keep the local cloud from being stopped."""
    before = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _run(machine: LocalMachine, *, requests: int, concurrency: int) -> Findings:
    run = Demo(machine=machine, narration=Narration(terminal.err()), requests=requests, concurrency=concurrency)
    run.prepare()
    return run.run()


def _write(path: Path, found: Findings) -> None:
    try:
        path.write_text(json.dumps(run_document(found), indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise CommandError(f"cannot write {path}: {error.strerror}") from error


def _show(found: Findings, results: list[Check], *, as_json: bool) -> None:
    if as_json:
        terminal.write_json(run_document(found))
    else:
        _show_tables(terminal.out(), found)
    for check in results:
        terminal.err().print(report.of_check(check))


def _show_tables(console: Console, found: Findings) -> None:
    console.print(report.of_providers(found))
    console.print(report.of_contexts(found.samples))
    console.print(report.of_runs(found.runs))
    console.print(report.of_figures(found), markup=False)
    console.print(report.LABEL, style="yellow")


def _serve(found: Findings) -> None:
    console = terminal.err()
    console.print("\nServing until Ctrl-C. A request to paste:", markup=False)
    console.print(f"  {report.curl_line(found.api_url)}", markup=False, soft_wrap=True)
    console.print(f"The console: {found.console_url}", markup=False, soft_wrap=True)
    try:
        while True:
            time.sleep(3600)
    except KeyboardInterrupt:
        console.print("stopping", style="dim")
