"""The naive rival: the brief's own design, built to be measured against. Nothing of FISO uses it.

One `RandomForestRegressor(100)` per target on the brief's generated set, saved and loaded with joblib, asked for every
request, behind Flask, with AWS clients made at start. All providers go to a target's model in one call, which is kinder
than one call each. `build` trains once into a folder;
`load` is what its cold start does; `create_app` serves it. As a module (`python -m tests.lab.bench.naive FOLDER`) it is
one cold start: it imports, loads, answers one request and exits.
"""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

TARGETS = ("execution_time_ms", "cost_usd", "success_probability")
PROVIDERS = ("aws", "azure", "gcp")
CLIENTS = ("dynamodb", "lambda", "s3")
WEIGHTS = {"latency": 0.4, "cost": 0.3, "reliability": 0.2, "region_affinity": 0.1}
PREFERENCES = {
    "us-east-1": {"aws": 1.0, "azure": 0.8, "gcp": 0.7},
    "us-west-2": {"gcp": 1.0, "aws": 0.9, "azure": 0.7},
    "eu-west-1": {"azure": 1.0, "aws": 0.8, "gcp": 0.8},
}
TREES = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Rival:
    """The three loaded forests."""

    models: Mapping[str, Any]

    def decide(self, candidates: Mapping[str, Sequence[float]], user_region: str = "us-east-1") -> str:
        """The best of the candidates (`aws`, or `aws/2` for a second one of a provider), by the brief's formula."""
        rows = [list(row) for row in candidates.values()]
        latency, cost, success = (self.models[target].predict(rows).tolist() for target in TARGETS)
        scores = {
            name: _score(name, latency[row], cost[row], success[row], user_region)
            for row, name in enumerate(candidates)
        }
        return max(scores, key=lambda name: scores[name])


def _score(candidate: str, latency: float, cost: float, reliability: float, user_region: str) -> float:
    affinity = PREFERENCES.get(user_region, {}).get(candidate.partition("/")[0], 0.5)
    return (
        WEIGHTS["latency"] * (1 / (latency / 100))
        + WEIGHTS["cost"] * (1 / (cost * 1000))
        + WEIGHTS["reliability"] * reliability
        + WEIGHTS["region_affinity"] * affinity
    )


def build(folder: Path) -> Path:
    """Train into the folder unless that was done; about 20 seconds and 270 MB. Returns the folder."""
    import joblib
    import numpy as np
    from sklearn.ensemble import RandomForestRegressor

    if all(model_path(folder, target).exists() for target in TARGETS):
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    draw = np.random.RandomState(42)
    columns = _draw_features(draw, 10_000)
    history, load, size = columns[6], columns[7], columns[2]
    latency = history * (1 + load) + size * 0.01 + draw.normal(0, 20, 10_000)
    cost = latency * 0.0001 + draw.normal(0, 0.001, 10_000)
    truth = {TARGETS[0]: latency, TARGETS[1]: cost, TARGETS[2]: np.clip(1 - load * 0.1, 0.8, 1.0)}
    for target, values in truth.items():
        model = RandomForestRegressor(n_estimators=TREES, random_state=42)
        model.fit(np.column_stack(columns), values)
        unfinished = model_path(folder, target).with_suffix(".part")
        joblib.dump(model, unfinished)
        unfinished.replace(model_path(folder, target))
    return folder


def load(folder: Path) -> Rival:
    """Load what `build` made."""
    import joblib

    return Rival(models={target: joblib.load(model_path(folder, target)) for target in TARGETS})


def model_path(folder: Path, target: str) -> Path:
    """Where a target's model is."""
    return folder / f"{target}.pkl"


def size_mb(folder: Path) -> float:
    """All three files, in MB."""
    return sum(model_path(folder, target).stat().st_size for target in TARGETS) / 1e6


def create_app(folder: Path) -> Any:
    """The Flask app: `POST /route` with the request's context as JSON answers the chosen provider."""
    import boto3
    from flask import Flask, jsonify, request

    clients = {name: boto3.client(name, region_name="us-east-1") for name in CLIENTS}
    rival = load(folder)
    app = Flask("naive")
    app.extensions["aws"] = clients

    def route() -> Any:
        context = request.get_json()
        chosen = rival.decide(candidates_of(context), context.get("user_region", "us-east-1"))
        return jsonify({"provider": chosen, "timestamp": datetime.now(UTC).isoformat()})

    app.add_url_rule("/route", view_func=route, methods=["POST"])
    return app


def candidates_of(context: Mapping[str, Any]) -> dict[str, list[float]]:
    """One row per provider for a request's context, or `copies` of each."""
    now = datetime.now(UTC)
    copies = range(int(context.get("copies", 1)))
    return {
        f"{provider}/{copy}": [
            float(code),
            float(context.get("function_type", 0)),
            float(context.get("size", 1000)),
            float(now.weekday()),
            float(now.hour),
            float(copy),
            float(context.get("history", 200)),
            float(context.get("load", 0.5)),
        ]
        for code, provider in enumerate(PROVIDERS)
        for copy in copies
    }


def _draw_features(draw: Any, rows: int) -> list[Any]:
    return [
        draw.randint(0, 3, rows),
        draw.randint(0, 5, rows),
        draw.exponential(1000, rows),
        draw.randint(0, 7, rows),
        draw.randint(0, 24, rows),
        draw.randint(0, 10, rows),
        draw.normal(200, 50, rows),
        draw.uniform(0.1, 1.0, rows),
    ]


def main(folder: str) -> None:
    """One cold start and its first answer, on standard output."""
    answer = create_app(Path(folder)).test_client().post("/route", json={"size": 1000})
    sys.stdout.write(answer.get_data(as_text=True))


if __name__ == "__main__":
    main(sys.argv[1])
