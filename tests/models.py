"""Small models for tests: artifacts written by hand, and one trained on a few generated rows."""

import io
from array import array
from collections.abc import Mapping
from functools import cache
from hashlib import sha256

import joblib

from fiso.learning import dataset, synthetic
from fiso.learning.export import Origin, package
from fiso.learning.train import Family, Trained, train
from fiso.ports import ModelFiles
from fiso.prediction import artifact
from fiso.prediction.artifact import Model
from fiso.prediction.ensemble import LEAF


def a_target(
    name: str, *trees: list[tuple[int, float]], link: str = "identity", base: float = 0.0
) -> dict[str, object]:
    """One target's part of an artifact, from trees as (feature, number) in preorder."""
    nodes = [node for tree in trees for node in tree]
    return {
        "name": name,
        "link": link,
        "base": base,
        "features": ("b", array("b", [feature for feature, _ in nodes]).tobytes()),
        "numbers": ("d", array("d", [number for _, number in nodes]).tobytes()),
    }


def an_artifact(**changes: object) -> dict[str, object]:
    """100 ms up to 1,000 bytes of request and 300 ms above, 0.02 USD, 99 % success."""
    content: dict[str, object] = {
        "format": artifact.FORMAT,
        "version": "by-hand",
        "is_synthetic": False,
        "inputs": "float64",
        "feature_names": ["request_size_bytes"],
        "targets": [
            a_target(artifact.LATENCY, [(0, 1000.0), (LEAF, 100.0), (LEAF, 300.0)]),
            a_target(artifact.COST, [(LEAF, 0.02)]),
            a_target(artifact.SUCCESS, [(LEAF, 0.99)]),
        ],
    }
    return content | changes


def dumped(content: object) -> bytes:
    buffer = io.BytesIO()
    joblib.dump(content, buffer)
    return buffer.getvalue()


def opened(content: Mapping[str, object]) -> Model:
    data = dumped(content)
    return artifact.read(data, sha256=sha256(data).hexdigest())


@cache
def generated_halves(rows: int = 600) -> dataset.Halves:
    return dataset.split(synthetic.generate(rows))


@cache
def trained(family: Family = Family.BOOSTING) -> Trained:
    return train(generated_halves().train, family=family)


def packaged(family: Family = Family.BOOSTING) -> ModelFiles:
    return package(trained(family), generated_halves(), Origin(version_prefix="synthetic-42", trained_at=None))
