"""`fiso demo`: what `make run` does on a machine that is set up."""

import json
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Annotated, NoReturn

import typer
from rich.text import Text

from fiso_cli.errors import CommandError
from fiso_cli.traffic import terminal
from fiso_cli.traffic.samples import tallies
from fiso_cli.traffic.tables import of_tallies
from localcloud.demo import findings
from localcloud.demo.findings import Check, Findings, checks, run_document
from localcloud.demo.machine import Machine
from localcloud.demo.run import Demo, Narration

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
    machine = Machine.from_environ()
    with stopped_by_sigterm():
        try:
            run = Demo(
                machine=machine, narration=Narration(console=terminal.err()), requests=requests, concurrency=concurrency
            )
            run.prepare()
            found = run.run()
            results = checks(found)
            _write(machine, found)
            _show(found, results, as_json=as_json)
            if not once:
                _serve(found.api_url)
        except KeyboardInterrupt:
            raise typer.Exit(INTERRUPTED) from None
        finally:
            machine.shut_down()  # were it cut short, the cloud would still stop: its lease has ended
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


def _write(machine: Machine, found: Findings) -> None:
    path = machine.cloud.state / "run.json"
    try:
        path.write_text(json.dumps(run_document(found), indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise CommandError(f"cannot write {path}: {error.strerror}") from error


def _show(found: Findings, results: list[Check], *, as_json: bool) -> None:
    if as_json:
        terminal.write_json(run_document(found))
    else:
        title = f"{len(found.samples)} requests; {found.killed} was down for the middle third"
        console = terminal.out()
        console.print(of_tallies(tallies(found.samples), title))
        console.print(findings.of_contexts(found.samples))
        console.print(findings.of_runs(found.runs))
        console.print(findings.of_figures(found), markup=False)
        console.print(findings.LABEL, style="yellow")
    for check in results:
        terminal.err().print(Text(str(check), style="green" if check.held else "bold red"))


def _serve(api_url: str) -> None:
    console = terminal.err()
    console.print("\nServing until Ctrl-C. A request to paste:", markup=False)
    console.print(f"  {findings.curl_line(api_url)}", markup=False, soft_wrap=True)
    console.print(f"The console: {api_url}/console", markup=False, soft_wrap=True)
    try:
        while True:
            time.sleep(3600)
    except KeyboardInterrupt:
        console.print("stopping", style="dim")
