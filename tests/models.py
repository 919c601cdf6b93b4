"""Small models for tests: artifacts written by hand, and one trained on a few generated rows."""

import io
from array import array
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from hashlib import sha256
from typing import Any

import joblib

from fiso.adapters.http.signers import OpenKeySigner
from fiso.codecs.signature import PublicKeys
from fiso.domain.model import ModelPointer
from fiso.learning import dataset, synthetic
from fiso.learning.export import Origin, package, signed
from fiso.learning.train import Family, Trained, train
from fiso.ports import ModelFiles
from fiso.prediction import artifact, manifest
from fiso.prediction.artifact import Model
from fiso.prediction.ensemble import LEAF
from fiso.prediction.manifest import Manifest
from fiso_cli.training import keys
from functions.orchestrator.wiring import Ports
from tests.builders import NOW


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


@cache
def a_signer() -> OpenKeySigner:
    return keys.new()


def trusted(signer: OpenKeySigner | None = None) -> PublicKeys:
    """The keys of whoever trusts this signer, or this session's usual one."""
    public = (signer or a_signer()).public
    return {public.id: public}


def packaged(family: Family = Family.BOOSTING) -> ModelFiles:
    """A trained model, signed."""
    origin = Origin(version_prefix="synthetic-42", trained_at=None)
    return signed(package(trained(family), generated_halves(), origin), a_signer())


def files_of(content: object, version: str = "by-hand", **changes: Any) -> ModelFiles:
    """A model written by hand, with a manifest that fits it, signed."""
    data = dumped(content)
    digest = sha256(data).hexdigest()
    pointer = ModelPointer(version=version, sha256=digest, trained_at=NOW, rows=1, is_synthetic=False)
    fields: dict[str, Any] = {
        "version": version,
        "sha256": digest,
        "created_at": NOW,
        "rows": 1,
        "is_synthetic": False,
        "feature_names": ("request_size_bytes",),
        "metrics": {},
        "golden": (),
    }
    stated = manifest.written(Manifest(**(fields | changes)))
    return signed(ModelFiles(pointer=replace(pointer, manifest=stated), artifact=data, card={}), a_signer())


def promoted(
    number: int, *, stage: str = "local", version: str = "", signer: OpenKeySigner | None = None, **changes: Any
) -> ModelFiles:
    """A model as a stage's retrainer publishes it. The larger the number, the slower it says that all is."""
    name = version or f"m-{number}"
    targets = [
        a_target(artifact.LATENCY, [(LEAF, 100.0 * number)]),
        a_target(artifact.COST, [(LEAF, 0.02)]),
        a_target(artifact.SUCCESS, [(LEAF, 0.99)]),
    ]
    files = files_of(an_artifact(version=name, targets=targets), version=name, stage=stage, number=number, **changes)
    return signed(files, signer or a_signer())


def trusting(ports: Ports) -> Ports:
    """A rig's ports where the signer's keys are trusted, for the packaged and the published model."""
    return replace(ports, stage_keys=trusted(), packaged_keys=trusted())
