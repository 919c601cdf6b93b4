"""`fiso invoke`: send requests to a function and show who answered, how fast, and why there."""

import asyncio
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import httpx
import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from fiso_cli.errors import CommandError
from fiso_cli.traffic import calls, payload, samples, tables, terminal
from fiso_cli.traffic.bodies import body_document, is_printable
from fiso_cli.traffic.calls import Call, Load
from fiso_cli.traffic.gateway import ANSWER_TIMEOUT_S, Gateway
from fiso_cli.traffic.samples import Sample
from fiso_cli.traffic.stage_access import JsonOption, StageOption, UrlOption, gateway_of

INTERRUPTED = 130
app = typer.Typer()
DataOption = Annotated[str, typer.Option("--data", "-d", help="The body: @FILE, - for standard input, or the text.")]


@app.command()
def invoke(  # noqa: PLR0913 - a command's options
    function: Annotated[str, typer.Argument(help="The function's name in the catalog.")],
    *,
    data: DataOption = "",
    requests: Annotated[int, typer.Option("-n", "--requests", min=1, help="How many requests to send.")] = 1,
    concurrency: Annotated[int, typer.Option("-c", "--concurrency", min=1, max=256, help="How many at once.")] = 1,
    content_type: Annotated[str, typer.Option(help="Default: application/json if it is JSON, else plain bytes.")] = "",
    query: Annotated[list[str] | None, typer.Option(help="NAME=VALUE for the query string; repeatable.")] = None,
    user_region: Annotated[str, typer.Option(help="Where the user is, for region affinity.")] = "",
    idempotency_key: Annotated[str, typer.Option(help="Makes repeating this request safe.")] = "",
    timeout_ms: Annotated[int, typer.Option(min=0, help="The whole request's deadline; 0: the policy's.")] = 0,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write the answer's body to this file.")] = None,
    stage: StageOption = "local",
    api_url: UrlOption = "",
    as_json: JsonOption = False,
) -> None:
    """Send requests to a function and show who answered and why.

    One request prints the function's own answer, and on standard error who gave it. Several print a table per provider.
    Exits 1 if any request failed.

        fiso invoke word-count --data 'one two two'
        fiso invoke compress --data @photo.raw --output photo.z
        fiso invoke graph-bfs --data @graph.json -n 200 -c 4 --user-region eu-west-1
    """
    body = payload.read(data)
    call = Call(
        function=function,
        body=body,
        content_type=content_type or payload.content_type_of(body),
        query=payload.pairs(query or []),
        headers=_headers(user_region=user_region, idempotency_key=idempotency_key, timeout_ms=timeout_ms),
    )
    timeout_s = max(ANSWER_TIMEOUT_S, timeout_ms / 1000 + 5)
    gateway = gateway_of(stage, api_url, timeout_s=timeout_s)
    if requests == 1:
        _invoke_once(gateway, call, output, as_json=as_json)
    elif output is not None:
        raise CommandError("--output takes the answer of one request: leave out -n, or --output")
    else:
        _invoke_many(gateway, Load(calls=[call] * requests, concurrency=concurrency), as_json=as_json)


def _headers(*, user_region: str, idempotency_key: str, timeout_ms: int) -> Mapping[str, str]:
    wanted = {
        "x-fiso-user-region": user_region,
        "idempotency-key": idempotency_key,
        "x-fiso-timeout-ms": str(timeout_ms) if timeout_ms else "",
    }
    return {name: value for name, value in wanted.items() if value}


def _invoke_once(gateway: Gateway, call: Call, output: Path | None, *, as_json: bool) -> None:
    sample, answer = calls.send(gateway, call)
    if output is not None:
        _save(output, answer.content)
    if as_json:
        terminal.write_json(asdict(sample) | body_document(answer.content))
    elif output is None:
        _show_body(answer)
    terminal.err().print(remark(sample), style="red" if sample.problem else "dim", markup=False)
    if sample.problem:
        raise typer.Exit(1)


def remark(sample: Sample) -> str:
    """Who answered, why there, and how long it took, on one line."""
    who = f"{sample.provider}/{sample.region}" if sample.provider else "no provider"
    parts = [
        sample.problem or f"{sample.status} from {who}",
        f"reason {sample.reason}" if sample.reason else "",
        f"{sample.attempts} attempts" if sample.attempts > 1 else "",
        f"{terminal.ms(sample.latency_ms)} ms",
        f"FISO's own {terminal.ms(sample.overhead_ms)} ms" if sample.overhead_ms is not None else "",
        f"model {sample.model_version}" if sample.model_version else "",
        f"invocation {sample.invocation_id}" if sample.invocation_id else "",
    ]
    return "; ".join(part for part in parts if part)


def _save(output: Path, body: bytes) -> None:
    try:
        output.write_bytes(body)
    except OSError as error:
        raise CommandError(f"cannot write {str(output)!r}: {error.strerror}") from error


def _show_body(answer: httpx.Response) -> None:
    if sys.stdout.isatty() and not is_printable(answer.content):
        note = f"{len(answer.content):,} bytes of {answer.headers.get('content-type')}, not shown: use --output FILE"
        terminal.err().print(note, markup=False)
        return
    sys.stdout.buffer.write(answer.content)
    if sys.stdout.isatty() and not answer.content.endswith(b"\n"):
        sys.stdout.buffer.write(b"\n")
    sys.stdout.buffer.flush()


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """What came of a load; `was_interrupted` when the user stopped it."""

    samples: list[Sample]
    was_interrupted: bool


def _invoke_many(gateway: Gateway, load: Load, *, as_json: bool) -> None:
    sent = _send_all(gateway, load)
    failed = samples.failures(sent.samples)
    if as_json:
        terminal.write_json(summary(load.calls[0].function, sent))
    elif sent.samples:
        stopped = f", stopped after {len(sent.samples)} of {len(load.calls)}" if sent.was_interrupted else ""
        title = f"{load.calls[0].function}: {len(sent.samples)} requests, {len(failed)} failed{stopped}"
        terminal.out().print(tables.of_tallies(samples.tallies(sent.samples), title))
    for problem, count in samples.problems(sent.samples).items():
        terminal.err().print(f"{count} x {problem}", style="red", markup=False)
    if sent.was_interrupted:
        raise typer.Exit(INTERRUPTED)
    if failed:
        raise typer.Exit(1)


def _send_all(gateway: Gateway, load: Load) -> Sent:
    done: list[Sample] = []
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=terminal.err(), transient=True) as progress:
        bar = progress.add_task(load.calls[0].function, total=len(load.calls))

        def count(sample: Sample) -> None:
            done.append(sample)
            progress.advance(bar)

        try:
            asyncio.run(calls.run(gateway, load, count))
        except KeyboardInterrupt:
            return Sent(samples=done, was_interrupted=True)
    return Sent(samples=done, was_interrupted=False)


def summary(function: str, sent: Sent) -> dict[str, object]:
    """The table as one document."""
    return {
        "function": function,
        "requests": len(sent.samples),
        "failures": len(samples.failures(sent.samples)),
        "failovers": sum(sample.is_failover for sample in sent.samples),
        "interrupted": sent.was_interrupted,
        "by_provider": [asdict(row) for row in samples.tallies(sent.samples)],
        "problems": samples.problems(sent.samples),
    }
