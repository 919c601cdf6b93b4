"""Row 16: retrainers killed at random moments, and two at once; what the pointer names afterwards."""

import json
import random
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from tests.lab.chaos.experiment import Experiment, Setting
from tests.lab.chaos.figures import Figure, Op, count_of_none, share_reached

if TYPE_CHECKING:
    from tests.lab.chaos.retrainings import Workshop

KILLS, QUICK_KILLS = 100, 15
PAIRS, QUICK_PAIRS = 10, 2
ROWS_BEFORE, ROWS_EACH = 400, 120
DRIFT = 1.1
"""By how much calls become slower each time, so that a challenger has something to be better at."""


def run(setting: Setting) -> Sequence[Figure]:
    """Kills first, then pairs, each over a bucket of its own."""
    from tests.lab.chaos import retrainings

    retrainings.preload()
    with (setting.folder / "retrainings.jsonl").open("w", encoding="utf-8") as history:
        kills = _written(history, _kills(setting))
        pairs = _written(history, _pairs(setting))
    killed = [trial for trial in kills if trial["was_running"]]
    every = [*kills, *pairs]
    return (
        count_of_none("pointers to what is not whole", _count(every, "is_broken"), len(every), "retrainings"),
        Figure(
            name="retrainings that were running when killed",
            value=len(killed),
            op=Op.AT_LEAST,
            target=len(kills) // 2,
            unit="kills",
            n=len(kills),
        ),
        Figure(
            name="retrainings after a kill that promoted",
            value=_count(kills, "promoted"),
            op=Op.AT_LEAST,
            target=1,
            unit="kills",
            n=len(kills),
        ),
        share_reached("the next retraining after a kill ends well", _count(kills, "recovered"), len(kills), 1.0),
        count_of_none("promotions lost between two at once", _count(pairs, "is_lost"), len(pairs), "pairs"),
    )


def _kills(setting: Setting) -> Iterator[dict[str, object]]:
    """Each time new rows, a retraining that is killed, and one that is not."""
    from tests.lab.chaos import retrainings

    rng, shop, now = random.Random(setting.seed), _workshop(setting, "kills"), datetime.now(UTC)  # nosec B311 - draws of an experiment, no secrets
    shop.retrain(now)  # the first one also waits for what all of them are forked from
    now = _more_rows(shop, 0, now)
    usual_s = shop.retrain(now)
    for number in range(setting.sized(KILLS, QUICK_KILLS)):
        setting.say(f"kill {number + 1}: a usual retraining takes {usual_s:.2f} s")
        now = _more_rows(shop, number + 1, now)
        before = shop.champion().pointer
        after_s = retrainings.kill_point(rng, usual_s)
        was_running = shop.retrain_and_kill(now, after_s)
        found = shop.champion()
        shop.retrain(now + timedelta(seconds=1))
        healed = shop.champion()
        run = shop.last_run()
        yield {
            "what": "kill",
            "after_s": after_s,
            "was_running": was_running,
            "is_broken": not found.is_whole or (before is not None and found.pointer is None),
            "recovered": healed.is_whole and run is not None,
            "problem": found.problem,
            "champion": found.pointer and found.pointer.version,
            "promoted": run is not None and run.promoted,
        }


def _pairs(setting: Setting) -> Iterator[dict[str, object]]:
    """Two retrainers start at once over the same rows."""
    shop, now = _workshop(setting, "pairs"), datetime.now(UTC)
    for number in range(setting.sized(PAIRS, QUICK_PAIRS)):
        setting.say(f"pair {number + 1}")
        now = _more_rows(shop, number + 1, now)
        both = [shop.start(now), shop.start(now + timedelta(seconds=1))]
        for process in both:
            process.join()
        found = shop.champion()
        promoted = [run.challenger_version for run in shop.last_runs(len(both)) if run.promoted]
        is_lost = not set(promoted) <= found.versions
        yield {
            "what": "pair",
            "is_broken": not found.is_whole,
            "is_lost": is_lost,
            "problem": found.problem,
            "promoted": promoted,
        }


def _workshop(setting: Setting, name: str) -> "Workshop":
    from tests.lab.chaos import training_rows
    from tests.lab.chaos.retrainings import Workshop

    shop = Workshop(folder=setting.folder / name)
    start = datetime.now(UTC) - timedelta(hours=6)
    shop.archive(training_rows.calls(ROWS_BEFORE, first=0, start=start), "before")
    return shop


def _more_rows(shop: "Workshop", number: int, now: datetime) -> datetime:
    """Rows newer than every champion so far; the time at which they are all there."""
    from tests.lab.chaos import training_rows

    first = ROWS_BEFORE + number * ROWS_EACH
    calls = training_rows.calls(ROWS_EACH, first=first, start=now + timedelta(seconds=2), slower=DRIFT**number)
    shop.archive(calls, f"more-{number}")
    return now + timedelta(seconds=ROWS_EACH + 3)


def _written(history: object, trials: Iterator[dict[str, object]]) -> list[dict[str, object]]:
    kept = []
    for trial in trials:
        history.write(json.dumps(trial) + "\n")  # type: ignore[attr-defined]
        kept.append(trial)
    return kept


def _count(trials: Sequence[dict[str, object]], name: str) -> int:
    return sum(bool(trial[name]) for trial in trials)


EXPERIMENTS: tuple[Experiment, ...] = (
    Experiment(
        row=16,
        name="retraining",
        question="Does a retrainer that is killed or doubled ever leave a bad champion?",
        run=run,
    ),
)
