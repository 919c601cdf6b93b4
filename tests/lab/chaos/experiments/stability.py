"""Row 12: PostgreSQL is stopped, frozen, frozen in part and full, while requests go on."""

import math
import time
from collections.abc import Sequence
from typing import Any

from tests.lab.chaos.experiment import Experiment, Setting
from tests.lab.chaos.figures import Figure, Op, count_of_none, quantile

RATE, QUICK_RATE = 50.0, 100.0
PHASE_S, QUICK_PHASE_S = 60.0, 2.5
DEADLINE_S, QUICK_DEADLINE_S = 6.0, 1.0
KEEPER_S, QUICK_KEEPER_S = 20.0, 1.0
"""The deployed keeper tries every 5 s for 35 s of each minute: no pause is longer than 25 s."""
COLD_S = 2.0
ADDED_MS, FRESH_S, LONGEST_USE_S = 5.0, 60.0, 8.0


def run(setting: Setting) -> Sequence[Figure]:
    """One server, one stream of requests, one outage after the other."""
    from tests.lab.chaos import database, outage
    from tests.lab.chaos.folder_bucket import FolderBucket

    bucket = FolderBucket(folder=setting.folder / "bucket")
    history = setting.folder / "requests.jsonl"
    rate = QUICK_RATE if setting.is_quick else RATE
    with database.running() as server:
        keeper = outage.prepared(
            server,
            bucket,
            every_s=QUICK_KEEPER_S if setting.is_quick else KEEPER_S,
            deadline_s=QUICK_DEADLINE_S if setting.is_quick else DEADLINE_S,
        )
        with outage.requests(bucket.folder, rate, history), outage.kept(keeper):
            seen = outage.phases(server, keeper, QUICK_PHASE_S if setting.is_quick else PHASE_S, setting.say)
            _until_fresh(keeper, setting)
    requests, end = outage.read(history)
    return (
        *_of_requests(requests, seen),
        count_of_none("requests in a process with a database driver", int(end["has_driver"]), 1, "processes"),
        _at_most("a change is in force after recovery, longest", outage.fresh_after_s(requests, seen), FRESH_S),
        _at_most("a keeper's round, longest", [seconds for seconds, _ in keeper.rounds], LONGEST_USE_S),
        Figure(
            name="rounds of the keeper that failed with a reason",
            value=sum(problem is not None for _, problem in keeper.rounds),
            op=Op.AT_LEAST,
            target=1,
            unit="rounds",
            n=len(keeper.rounds),
        ),
    )


def _until_fresh(keeper: Any, setting: Setting) -> None:
    """The last change needs its time, too: a keeper's round and the router's own refresh."""
    setting.say("waiting for the last change")
    time.sleep(keeper.every_s + 6.0)


def _of_requests(requests: list[dict[str, Any]], seen: Sequence[Any]) -> Sequence[Figure]:
    from tests.lab.chaos.denying import DENIED
    from tests.lab.chaos.outage import WELL

    well = _own_ms(requests, [phase for phase in seen if phase.name == WELL])
    away = _own_ms(requests, [phase for phase in seen if phase.name != WELL])
    added = quantile(away, 0.99) - quantile(well, 0.99) if away and well else math.inf
    denied = sum(request["provider"] == DENIED for request in requests)
    return (
        count_of_none("failed requests", sum(r["status"] != 200 for r in requests), len(requests), "requests"),
        Figure(name="added to p99", value=round(added, 3), op=Op.AT_MOST, target=ADDED_MS, unit="ms", n=len(away)),
        count_of_none("requests to what the policy denies", denied, len(requests), "requests"),
    )


def _own_ms(requests: list[dict[str, Any]], phases: Sequence[Any]) -> list[float]:
    return [
        request["own_ms"]
        for request in requests
        if any(phase.begins_at <= request["at"] < phase.ends_at for phase in phases)
    ]


def _at_most(name: str, values_s: Sequence[float], most_s: float) -> Figure:
    return Figure(
        name=name,
        value=round(max(values_s, default=math.inf), 2),
        op=Op.AT_MOST,
        target=most_s,
        unit="s",
        n=len(values_s),
    )


def run_hanging(setting: Setting) -> Sequence[Figure]:
    """Catalog, states and models all hang, for a warm environment and for cold ones."""
    from tests.lab.chaos import hanging_stores
    from tests.lab.chaos.denying import DENIED

    setting.say("every store hangs, a warm environment")
    warm = hanging_stores.warm(setting, setting.sized(5_000, 1_000))
    setting.say("every store but the copy hangs, cold environments")
    cold = hanging_stores.cold(setting.sized(20, 3))
    waits = [reply.own_ms for reply in warm.hanging]
    added = quantile(waits, 0.99) - quantile([reply.own_ms for reply in warm.well], 0.99)
    every = [*warm.well, *warm.hanging, *cold]
    failed = sum(reply.status != 200 for reply in every)
    denied = sum(reply.headers.get("x-fiso-provider") == DENIED for reply in every)
    return (
        count_of_none("failed requests", failed, len(every), "requests"),
        Figure(name="added to p99", value=round(added, 3), op=Op.AT_MOST, target=ADDED_MS, unit="ms", n=len(waits)),
        _at_most("a cold environment's first answer, on the copy", [r.own_ms / 1000 for r in cold], COLD_S),
        count_of_none("requests to what the policy denies", denied, len(every), "requests"),
    )


EXPERIMENTS: tuple[Experiment, ...] = (
    Experiment(
        row=12,
        name="postgres",
        question="Does a request notice that PostgreSQL is stopped, frozen or full?",
        run=run,
    ),
    Experiment(
        row=12,
        name="hanging-stores",
        question="What do requests pay while S3 and DynamoDB hang?",
        run=run_hanging,
    ),
)
