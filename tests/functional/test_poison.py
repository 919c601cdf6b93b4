"""Thirty poisoned or degenerate logs: after each retraining the champion is whole, and no worse than before."""

import math
import random
from collections.abc import Callable, Sequence
from copy import deepcopy
from datetime import timedelta
from functools import cache
from typing import Any, TypeAlias

import numpy as np
import pytest

from fiso.domain.endpoint import Provider
from fiso.domain.model import RunEnd
from fiso.domain.record import InvocationRecord
from fiso.domain.request import TenantId
from fiso.learning import dataset, evaluate, export
from fiso.prediction import features, manifest
from fiso.services.maintenance.retrain import Retrainer
from fiso.testing.memory import InMemoryModelStore
from tests.builders import changed
from tests.functional.test_retrain import AFTER, a_log, a_retrainer
from tests.models import trusted

Log: TypeAlias = Sequence[InvocationRecord]
Poison: TypeAlias = Callable[[Log, random.Random], Log]
LATER = AFTER + timedelta(minutes=30)
WORSE = 1.02
"""The geometric error may vary by 2 % with the luck of the rows."""


def each(**change: Callable[[InvocationRecord, random.Random], Any] | Any) -> Poison:
    def poison(log: Log, rng: random.Random) -> Log:
        return [
            changed(
                record, **{name: value(record, rng) if callable(value) else value for name, value in change.items()}
            )
            for record in log
        ]

    return poison


def feature(name: str, value: Callable[[InvocationRecord, random.Random], float]) -> Poison:
    return each(features=lambda record, rng: {**record.decision.features, name: value(record, rng)})


def shuffled(log: Log, rng: random.Random) -> Log:
    latencies = [record.result.execution_time_ms for record in log]
    rng.shuffle(latencies)
    return [changed(record, execution_time_ms=ms) for record, ms in zip(log, latencies, strict=True)]


def copied(days: int) -> Poison:
    """The day before again, under other ids."""
    return lambda log, rng: [
        changed(record, invocation_id=f"{rng.getrandbits(128):032x}", timestamp=record.timestamp - timedelta(days=day))
        for day in range(1, days + 1)
        for record in log
    ]


def of(provider: Provider) -> Poison:
    return lambda log, rng: [record for record in log if record.result.cloud_provider is provider]


def flood(latency: float, *, reported: bool) -> Poison:
    def poison(log: Log, rng: random.Random) -> Log:
        return [
            changed(
                record,
                invocation_id=f"{rng.getrandbits(128):032x}",
                tenant=TenantId("flood"),
                lease_id="lease" if reported else None,
                execution_time_ms=latency * rng.lognormvariate(0, 0.1),
            )
            for record in log
            for _ in range(4)
        ]

    return poison


def moved(by: Callable[[random.Random], timedelta]) -> Poison:
    return each(timestamp=lambda record, rng: record.timestamp + by(rng))


def latency_of(record: InvocationRecord) -> float:
    return float(record.result.execution_time_ms or 1.0)


POISONS: dict[str, Poison] = {
    "NaN latencies": each(execution_time_ms=math.nan),
    "infinite latencies": each(execution_time_ms=math.inf),
    "negative latencies": each(execution_time_ms=lambda r, rng: -latency_of(r)),
    "latencies of 0": each(execution_time_ms=0.0),
    "latencies of a year": each(execution_time_ms=3e10),
    "latencies in seconds": each(execution_time_ms=lambda r, rng: latency_of(r) / 1000),
    "latencies by chance": each(execution_time_ms=lambda r, rng: 10 ** rng.uniform(0, 5)),
    "one latency": each(execution_time_ms=100.0),
    "shuffled labels": shuffled,
    "labels upside down": each(execution_time_ms=lambda r, rng: 1e4 / latency_of(r)),
    "NaN in a feature": feature("request_size_bytes", lambda r, rng: math.nan),
    "infinite feature": feature("in_flight", lambda r, rng: math.inf),
    "negative sizes": feature("request_size_bytes", lambda r, rng: -1.0),
    "huge sizes": feature("request_size_bytes", lambda r, rng: 1e18),
    "no such hour": feature("hour_of_day", lambda r, rng: 99.0),
    "no such weekday": feature("day_of_week", lambda r, rng: 0.0),
    "unknown clouds": feature("cloud_provider_encoded", lambda r, rng: rng.choice([7.0, -1.0])),
    "providers exchanged": feature(
        "cloud_provider_encoded", lambda r, rng: 2.0 - r.decision.features["cloud_provider_encoded"]
    ),
    "no features": each(features={}),
    "the answer among the features": feature("historical_avg_latency", lambda r, rng: latency_of(r)),
    "noise among the features": feature("idle_seconds", lambda r, rng: rng.random() * 1e5),
    "negative costs": each(cost_usd=-1.0),
    "all failed": each(error_occurred=True),
    "one provider": of(Provider.AZURE),
    "one tenant's flood, reported": flood(5_000.0, reported=True),
    "one tenant's reports of nothing": flood(0.01, reported=True),
    "a clock a day ahead": moved(lambda rng: timedelta(days=1)),
    "a clock that jumps": moved(lambda rng: timedelta(seconds=rng.uniform(-86_400, 86_400))),
    "duplicated days": copied(3),
    "a year ago": moved(lambda rng: timedelta(days=-365)),
}


@cache
def a_champion() -> InMemoryModelStore:
    retrainer = a_retrainer(*a_log(400))
    assert retrainer.retrain(now=AFTER, trigger="command").promoted
    assert isinstance(retrainer.models, InMemoryModelStore)
    return retrainer.models


@cache
def unseen() -> dataset.DataSet:
    return dataset.build(a_log(500, first=50_000))


def error_of(retrainer: Retrainer) -> float:
    """Of whatever serves, on rows of the world as it is."""
    pointer = retrainer.models.champion()
    assert pointer is not None
    model = manifest.read(pointer, retrainer.models.artifact(pointer), trusted())
    said = [output.latency_ms for output in model.predict_all(export.serving_rows(unseen()).tolist())]
    found = evaluate.latency_error(np.array(said), unseen().latency_ms)
    assert found is not None
    return found


@pytest.mark.parametrize("poison", POISONS.values(), ids=list(POISONS))
def test_no_poison_makes_a_worse_champion(poison: Poison) -> None:
    """Two hundred poisoned rows after the champion's, then sixty true ones: by those a challenger is judged."""
    models = deepcopy(a_champion())
    bad = poison(a_log(200, first=601), random.Random(1))
    good = a_log(60, first=2_000, start=AFTER - timedelta(seconds=1_000))
    retrainer = a_retrainer(*a_log(400), *bad, *good, models=models)
    before = error_of(retrainer)
    run = retrainer.retrain(now=LATER, trigger="command")
    assert run.end in (RunEnd.PROMOTED, RunEnd.REFUSED), run.reason
    assert error_of(retrainer) <= WORSE * before, run.reason
    assert list(retrainer.runs.latest(1)) == [run]


def test_there_are_thirty() -> None:
    assert len(POISONS) == 30
    assert len(features.NAMES) == 11
