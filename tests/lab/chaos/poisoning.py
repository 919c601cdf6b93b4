"""Poisonings: bad rows that a retrainer is given, and whether it promotes a model that is worse on good ones."""

import gzip
import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial

import numpy as np

from fiso.learning import dataset, evaluate, export
from fiso.prediction.artifact import Model
from tests.lab.chaos import training_rows
from tests.lab.chaos.retrainings import Workshop
from tests.lab.chaos.training_rows import Damage

FIRST = 1_000_000
POISONED, GOOD = 200, 60
WORSE = 1.02
"""The geometric error may vary by 2 % with the luck of the rows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Poison:
    """One kind of bad rows: how they come into the archive."""

    name: str
    give: Callable[[Workshop, datetime], None]


def tried(shop: Workshop, poison: Poison, now: datetime) -> dict[str, object]:
    """Give the rows, retrain, and compare the champions before and after on rows that neither has seen."""
    before = shop.champion()
    poison.give(shop, now + timedelta(seconds=2))
    later = now + timedelta(seconds=POISONED + GOOD + 10)
    shop.retrain(later)
    after, run = shop.champion(), shop.last_run()
    errors = [None if champion.model is None else _error(champion.model, later) for champion in (before, after)]
    is_worse = errors[0] is not None and (errors[1] is None or errors[1] > WORSE * errors[0])
    return {
        "what": f"poison: {poison.name}",
        "is_broken": not after.is_whole,
        "is_worse": is_worse,
        "is_recorded": run is not None and run.started_at > now,
        "reason": run and run.reason,
        "errors": errors,
    }


def _error(model: Model, start: datetime) -> float | None:
    rows = dataset.build(training_rows.calls(500, first=2 * FIRST, start=start))
    said = [output.latency_ms for output in model.predict_all(export.serving_rows(rows).tolist())]
    return evaluate.latency_error(np.array(said), rows.latency_ms)


def _rows(shop: Workshop, start: datetime, *, damage: Damage) -> None:
    """Bad rows first, a few good ones after them: the good ones are what a challenger is judged by."""
    bad = training_rows.calls(POISONED, first=FIRST, start=start)
    shop.archive(training_rows.damaged(bad, damage, seed=1), "poison")
    good_from = start + timedelta(seconds=POISONED)
    shop.archive(training_rows.calls(GOOD, first=FIRST + POISONED, start=good_from), "good")


def _nothing(shop: Workshop, start: datetime) -> None:
    """No rows at all."""


def _garbage(shop: Workshop, start: datetime) -> None:
    """Objects in the archive that are no records: no gzip, cut short, other JSON, bytes."""
    rng = random.Random(1)  # nosec B311 - draws of an experiment, no secrets
    bodies = {
        "no-gzip": b"not packed",
        "cut-short": gzip.compress(b'{"invocation_id": "1"}\n' * 50)[:-12],
        "other-json": gzip.compress(b"[1, 2]\nnull\n{}\n{'a': NaN}\n" * 10),
        "bytes": rng.randbytes(4096),
        "empty": b"",
    }
    for name, body in bodies.items():
        key = f"archive/date={start.date().isoformat()}/{name}.jsonl.gz"
        shop.bucket.put_object(Bucket="b", Key=key, Body=body, ContentType="application/gzip")
    shop.archive(training_rows.calls(POISONED, first=FIRST, start=start), "good")


KINDS = (
    Poison(name="nothing", give=_nothing),
    Poison(name="no numbers", give=partial(_rows, damage=training_rows.without_numbers)),
    Poison(name="latencies by chance", give=partial(_rows, damage=training_rows.shuffled)),
    Poison(name="objects that are no records", give=_garbage),
)
