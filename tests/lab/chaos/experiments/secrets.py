"""Secrets (row 23): canaries in requests, in what providers say when they fail, and in errors of stores and of FISO's
own. None may appear in a log line, a metric, a record or an answer of FISO's; a function's own answer passes as it is.
"""

import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.lab.chaos.experiment import Experiment, Setting
from tests.lab.chaos.experiments.secrets_forms import Canaries, function_says, http_spills, lambda_spills, spilling
from tests.lab.chaos.figures import Figure, Op, count_of_none

if TYPE_CHECKING:
    from tests.lab.chaos.experiments.secrets_tries import Orchestrator, Sinks

ROUNDS = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What was sent, and where canaries came out."""

    requests: int
    canaries: int
    lines: int
    leaks: dict[str, list[str]]
    forged_lines: int
    passed: int
    passed_wanted: int


def run(setting: Setting) -> Sequence[Figure]:
    """All of it; the sinks' texts and what leaked lie in the folder."""
    found = tried(setting, rounds=setting.sized(ROUNDS, 2))
    leaks = found.leaks
    return (
        *(count_of_none(f"canaries in {sink}", len(leaks[sink]), found.canaries, "canaries") for sink in leaks),
        count_of_none("log lines that are not one JSON document", found.forged_lines, found.lines, "lines"),
        Figure(
            name="control: canaries in functions' own answers",
            value=found.passed,
            op=Op.EQUALS,
            target=found.passed_wanted,
            unit="canaries",
            n=found.passed_wanted,
        ),
    )


def tried(setting: Setting, *, rounds: int) -> Found:
    """So many rounds of every form of secret from every side."""
    from tests.lab.chaos.experiments.secrets_tries import orchestrating

    canaries = Canaries(random.Random(setting.seed))  # nosec B311 # a repeatable sample, not a secret
    requests = 0
    with spilling() as (address, waiting), orchestrating(address) as (fiso, sinks):
        for number in range(rounds):
            setting.say(f"round {number + 1} of {rounds}: {requests} requests, {len(canaries.made)} canaries")
            requests += sum(_providers_spill(fiso, waiting, canaries))
            requests += sum(_callers_spill(fiso, waiting, canaries))
            requests += sum(_stores_spill(fiso, waiting, canaries))
        wanted = list(_functions_answer(fiso, waiting, canaries))
    leaks = {sink: canaries.found_in(text) for sink, text in sinks.texts().items()}
    _write(setting, sinks, leaks)
    lines = [line for line in sinks.lines.getvalue().split("\n") if line]
    return Found(
        requests=requests,
        canaries=len(canaries.made),
        lines=len(lines),
        leaks=leaks,
        forged_lines=sum(not _is_line(line) for line in lines),
        passed=_passed(sinks, wanted),
        passed_wanted=len(wanted),
    )


def _providers_spill(fiso: "Orchestrator", waiting: list[bytes], canaries: Canaries) -> Iterator[int]:
    from tests.lab.chaos.experiments.secrets_tries import event

    for text in (*canaries.in_forms(), canaries.plain()):
        for function, spills in (("by-http", http_spills), ("by-lambda", lambda_spills)):
            for answer in spills(text):
                waiting[:] = [answer]
                fiso.send(event(f"/v1/invoke/{function}"))
                yield 1


def _callers_spill(fiso: "Orchestrator", waiting: list[bytes], canaries: Canaries) -> Iterator[int]:
    from tests.lab.chaos.experiments.secrets_tries import event

    names = ("authorization", "cookie", "x-functions-key", "x-api-key", "x-amz-security-token", "proxy-authorization")
    headers = {name: canaries.plain() for name in names}
    ok = function_says("ok", "-")
    for text in canaries.in_forms():
        body = json.dumps({"text": text, "password": canaries.plain()})
        for path, given, query in (
            ("/v1/invoke/by-http", headers, f"code={canaries.plain()}"),
            ("/v1/explain/by-http", headers, ""),
            ("/v1/decide/by-http", headers, ""),
            (f"/v1/invoke/{text}", headers, ""),
            (f"/v1/nowhere/{text}", headers, ""),
            ("/v1/invoke/by-http", headers | {"content-type": text}, ""),
            ("/v1/invoke/by-http", headers | {"x-fiso-user-region": text, "traceparent": text}, ""),
            ("/v1/invoke/by-http", headers | {"x-fiso-timeout-ms": text}, ""),
            ("/v1/outcomes", headers, ""),
        ):
            waiting[:] = [ok]
            fiso.send(event(path, body=body, query=query, headers=given))
            yield 1
        fiso.send(event("/v1/invoke/by-http", body=f"not JSON: {text}", headers=headers))
        yield 1


def _stores_spill(fiso: "Orchestrator", waiting: list[bytes], canaries: Canaries) -> Iterator[int]:
    from tests.lab.chaos.experiments.secrets_tries import event

    for text in canaries.in_forms():
        fiso.log.says = text
        waiting[:] = [function_says("ok", "-")]
        fiso.send(event("/v1/invoke/by-http"))
        fiso.log.says = None
        try:
            raise ValueError(f"unexpected: {text}")
        except ValueError:
            _log_as_the_handler_does(text)
        yield 1


def _log_as_the_handler_does(text: str) -> None:
    from functions.orchestrator import handler

    handler.logger.exception("unexpected error", extra={"invocation_id": "i", "headers": {"authorization": text}})


def _functions_answer(fiso: "Orchestrator", waiting: list[bytes], canaries: Canaries) -> Iterator[str]:
    """A function may answer what it likes, which its caller gets as it is; FISO keeps none of it."""
    from tests.lab.chaos.experiments.secrets_tries import event

    for text in canaries.in_forms():
        waiting[:] = [function_says(text, canaries.plain())]
        fiso.send(event("/v1/invoke/by-http"))
        yield text


def _passed(sinks: "Sinks", wanted: Sequence[str]) -> int:
    import base64

    said = {base64.b64decode(body) for body in sinks.functions_said}
    return sum(text.encode() in said for text in wanted)


def _is_line(line: str) -> bool:
    try:
        return line.isprintable() and isinstance(json.loads(line), dict)
    except ValueError:
        return False


def _write(setting: Setting, sinks: "Sinks", leaks: dict[str, list[str]]) -> None:
    for sink, text in sinks.texts().items():
        (setting.folder / f"{sink}.jsonl").write_text(text, encoding="utf-8", errors="backslashreplace")
    (setting.folder / "leaks.json").write_text(json.dumps(leaks, indent=1) + "\n")


EXPERIMENTS = (
    Experiment(
        row=23,
        name="secrets",
        question="Does any secret of a caller, a provider or FISO's own reach a log, a record or an answer?",
        run=run,
    ),
)
