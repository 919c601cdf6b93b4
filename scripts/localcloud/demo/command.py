"""`fiso demo`: what `make run` does on a machine that is set up."""

import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from fiso_cli.commands import JsonOption
from fiso_cli.rendering import Output, deliver, remark, write_json

if TYPE_CHECKING:
    from localcloud.demo.findings import Check

INTERRUPTED = 130


def demo(
    *,
    once: Annotated[bool, typer.Option("--once", help="Exit after the checks: 0 only if all held.")] = False,
    requests: Annotated[int, typer.Option(min=30, help="Requests in the first batch.")] = 480,
    concurrency: Annotated[int, typer.Option(min=1, max=64, help="Requests at once.")] = 4,
    as_json: JsonOption = False,
) -> None:
    """Boot the local cloud, deploy, route a batch while a provider is lost and healed, check every claim, then serve.

    Needs what `make setup` installs. Everything is stopped after Ctrl-C, or at once with --once; tables and policies
    are kept for the next `fiso local up`. Exits 1 if a claim did not hold.

    \b
    fiso demo
    fiso demo --once --requests 60 --json
    """
    from localcloud import private
    from localcloud.demo import findings
    from localcloud.demo.machine import Machine
    from localcloud.demo.run import Demo

    machine = Machine.from_environ()
    with stopped_by_sigterm():
        try:
            run = Demo(machine=machine, requests=requests, concurrency=concurrency)
            run.prepare()
            found = run.run()
            results, document = findings.checks(found), findings.run_document(found)
            file = machine.cloud.state / "run.json"
            write_json(file, document)
            file.chmod(private.FILE)
            deliver(Output(document=document, shown=findings.parts(found)), as_json=as_json)
            _tell(results)
            if not once:
                _serve(found.api_url, findings.curl_line(found.api_url))
        except KeyboardInterrupt:
            raise typer.Exit(INTERRUPTED) from None
        finally:
            machine.shut_down()  # were it cut short, the cloud would still stop: its lease has ended
    if not all(check.held for check in results):
        raise typer.Exit(1)


def _tell(results: "Sequence[Check]") -> None:
    for check in results:
        remark(str(check), is_bad=not check.held)


def _serve(api_url: str, curl_line: str) -> None:
    remark(f"\nServing until Ctrl-C. A request to paste:\n  {curl_line}\nThe console: {api_url}/console")
    try:
        while True:
            time.sleep(3600)
    except KeyboardInterrupt:
        remark("stopping")


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
