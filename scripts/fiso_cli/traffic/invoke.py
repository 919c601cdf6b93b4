"""Invoking: requests sent, and what came of one or of many."""

import asyncio
import base64
import json
from dataclasses import asdict
from pathlib import Path

from fiso.codecs.typed import Json
from fiso_cli.errors import FAILED
from fiso_cli.rendering import Output, Part, ms, progress, save
from fiso_cli.traffic import calls, samples, tables
from fiso_cli.traffic.calls import Call, Load
from fiso_cli.traffic.gateway import Gateway
from fiso_cli.traffic.samples import Sample

INTERRUPTED = 130


def once(gateway: Gateway, call: Call, output: Path | None) -> Output:
    """One request: the function's own answer, and who gave it."""
    sample, answer = calls.send(gateway, call)
    if output is not None:
        save(output, answer.content)
    return Output(
        document=asdict(sample) | body_document(answer.content),
        shown=[] if output else [answer.content],
        remarks=[remark(sample)],
        exit_code=FAILED if sample.problem else 0,
    )


def remark(sample: Sample) -> str:
    """Who answered, why there, and how long it took, on one line."""
    who = f"{sample.provider}/{sample.region}" if sample.provider else "no provider"
    parts = [
        sample.problem or f"{sample.status} from {who}",
        f"reason {sample.reason}" if sample.reason else "",
        f"{sample.attempts} attempts" if sample.attempts > 1 else "",
        f"{ms(sample.latency_ms)} ms",
        f"FISO's own {ms(sample.overhead_ms)} ms" if sample.overhead_ms is not None else "",
        f"model {sample.model_version}" if sample.model_version else "",
        f"invocation {sample.invocation_id}" if sample.invocation_id else "",
    ]
    return "; ".join(part for part in parts if part)


def many(gateway: Gateway, load: Load) -> Output:
    """Several requests: a table per provider. Ctrl-C stops them, and shows what was done."""
    function, total = load.calls[0].function, len(load.calls)
    done: list[Sample] = []
    was_interrupted = False
    with progress(function, total) as bar:

        def count(sample: Sample) -> None:
            done.append(sample)
            bar.advance()

        try:
            asyncio.run(calls.run(gateway, load, count))
        except KeyboardInterrupt:
            was_interrupted = True
    failed, problems = samples.failures(done), samples.problems(done)
    stopped = f", stopped after {len(done)} of {total}" if was_interrupted else ""
    title = f"{function}: {len(done)} requests, {len(failed)} failed{stopped}"
    tallies = samples.tallies(done)
    shown: list[Part] = [tables.of_tallies(tallies, title)] if done else []
    return Output(
        document={
            "function": function,
            "requests": len(done),
            "failures": len(failed),
            "failovers": sum(sample.is_failover for sample in done),
            "interrupted": was_interrupted,
            "by_provider": [asdict(row) for row in tallies],
            "problems": problems,
        },
        shown=shown,
        remarks=[f"{count} x {problem}" for problem, count in problems.items()],
        exit_code=INTERRUPTED if was_interrupted else FAILED if failed else 0,
    )


def body_document(body: bytes) -> dict[str, object]:
    """`body` as JSON or text where it is that, else `body_base64`."""
    try:
        decoded = body.decode("utf-8")
    except UnicodeDecodeError:
        return {"body_base64": base64.b64encode(body).decode("ascii")}
    try:
        document: Json = json.loads(decoded)
    except (ValueError, RecursionError):
        return {"body": decoded}
    return {"body": document}
