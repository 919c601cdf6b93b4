"""Row 10: idempotency keys with concurrent callers, other payloads, a stopped, a killed store, killed orchestrators."""

import json
import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from tests.lab.chaos.experiment import Experiment, Setting
from tests.lab.chaos.figures import Figure, count_of_none, share_reached

if TYPE_CHECKING:
    from tests.lab.chaos.emulator import EmulatorProcess
    from tests.lab.chaos.keyed.function import CountingFunction, Executions
    from tests.lab.chaos.keyed.judging import Answered, Judgement
    from tests.lab.chaos.keyed.world import Place

RUN_S = 0.02
"""How long the function takes."""


def run(setting: Setting) -> Sequence[Figure]:
    """All phases against one store and one function; what was answered and what ran lie in the folder."""
    from tests.lab.chaos import emulator
    from tests.lab.chaos.keyed import function, world

    with world.silence(), emulator.running(setting.folder / "emulator") as store, function.serving(RUN_S) as served:
        world.create_store(store.url)
        return _phases(setting, store, served, world.Place(store_url=store.url, function_url=served.url))


def _phases(setting: Setting, store: "EmulatorProcess", served: "CountingFunction", place: "Place") -> Sequence[Figure]:
    from tests.lab.chaos.keyed import judging, phases

    with phases.Callers(place) as callers:
        bursts = phases.bursts(callers, setting.sized(1_000, 100), setting.say)
        count = setting.sized(400, 40)
        setting.say(f"{count} orchestrators are killed")
        moments = random.Random(setting.seed)  # nosec B311: repeatable moments, nothing secret
        crashes, killed = phases.crashes(place, callers, count, moments)
        setting.say(f"{len(killed)} of {count} died before they answered; now the store stops")
        caught, refused = phases.stopped_store(callers, store, served, setting.sized(20, 2))
        ran_while_stopped = served.executions()
        setting.say("waiting until every claim without an answer is dead")
        time.sleep(phases.DEAD_AFTER_S)
        crashes += phases.asked_for_dead(callers, killed)
        late, fresh = phases.asked_after_the_stop(callers, caught, refused)
        setting.say("the store is killed")
        keyed, unkeyed = phases.killed_store(callers, store)
    ran = served.executions()
    histories = {
        "bursts": bursts,
        "crashes": crashes,
        "caught": caught,
        "late": late + judging.kept_firsts(caught, late),
        "refused": refused,
        "fresh": fresh,
        "killed": keyed,
    }
    _write(setting, histories | {"unkeyed": unkeyed}, ran)
    dead = [sent.key or "" for sent in killed]
    judgements = [judging.judged(history, ran, dead_runs=dead) for history in histories.values()]
    started = {answer.sent.key for answer in caught}
    fresh_keys = [answer.sent.key or "" for answer in refused if answer.sent.key not in started]
    run_anyway = [key for key in fresh_keys if key in ran_while_stopped]
    run_anyway += [answer.sent.key or "" for answer in keyed if answer.sent.key in ran]
    return _figures(
        judgements,
        executions=sum(len(payloads) for key, payloads in ran.items() if key),
        refused=(len(run_anyway), len(fresh_keys) + len(keyed)),
        unkeyed=(sum(answer.status == 200 for answer in unkeyed), len(unkeyed)),
    )


def _figures(
    judgements: "Sequence[Judgement]", *, executions: int, refused: tuple[int, int], unkeyed: tuple[int, int]
) -> Sequence[Figure]:
    """`executions` with a key; `refused`: how many ran though the store was away, of how many; `unkeyed`: answered, of
    how many."""
    doubles = {key for judgement in judgements for key in judgement.doubles}
    answers = sum(judgement.answers for judgement in judgements)
    wrong = sum(len(judgement.wrong) for judgement in judgements)
    return (
        count_of_none("keys that ran more often than they may", len(doubles), executions, "keys"),
        share_reached("answers with the right status and the same bytes", answers - wrong, answers, 1.0),
        count_of_none("keyed requests that ran while the store was away", *refused, "requests"),
        share_reached("requests without a key answered while the store was dead", *unkeyed, 1.0),
    )


def _write(setting: Setting, histories: "Mapping[str, Sequence[Answered]]", ran: "Executions") -> None:
    with (setting.folder / "answers.jsonl").open("w", encoding="utf-8") as lines:
        for phase, history in histories.items():
            for answer in history:
                row = {"phase": phase, **asdict(answer), "allowed": sorted(answer.allowed)}
                lines.write(json.dumps(row) + "\n")
    with (setting.folder / "executions.jsonl").open("w", encoding="utf-8") as lines:
        for key, payloads in ran.items():
            lines.write(json.dumps({"key": key, "payloads": [payload.decode() for payload in payloads]}) + "\n")


EXPERIMENTS: tuple[Experiment, ...] = (
    Experiment(
        row=10,
        name="idempotency",
        question="Does a keyed request run once and answer the same, when others come beside it and anything dies?",
        run=run,
    ),
)
