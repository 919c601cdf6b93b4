"""A training as files: what goes into a training platform's container, and what comes out of it.

In: `rows.npy`, one table of float64, and `training.json`, which says what its columns are, their digest
and how to train.
Out: the unsigned model as the registry has it. The same input makes the same bytes wherever it is run; nothing in it is
code, so neither side has to trust the other with more than numbers.
"""

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from pathlib import Path

import numpy as np

from fiso.codecs.run import RUNS
from fiso.codecs.typed import Malformed
from fiso.domain.errors import ModelRefused
from fiso.domain.model import ModelPointer
from fiso.domain.signed import SignedText
from fiso.learning import evaluate, training
from fiso.learning.dataset import DataSet
from fiso.learning.train import Family
from fiso.learning.training import TrainingSettings
from fiso.ports import ModelFiles
from fiso.prediction import artifact, manifest
from fiso.prediction.artifact import LATENCY

FORMAT = 1
ROWS, SETTINGS = "rows.npy", "training.json"
MODEL, CARD, MANIFEST, METRICS = "model.joblib", "model_card.json", "manifest.json", "metrics.json"
RESULTS = (MODEL, CARD, MANIFEST, METRICS)
LARGEST_MODEL = 16 * 1024 * 1024
COLUMNS = ("at", "latency_ms", "cost_usd", "success", "served_latency_ms", "tenant", "reported")


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What is to be trained, beside the rows. `version_prefix`, `trained_at` and `parent` are the model's."""

    format: int = FORMAT
    sha256: str
    rows: int
    feature_names: tuple[str, ...]
    is_synthetic: bool
    families: tuple[str, ...]
    version_prefix: str
    trained_at: datetime | None = None
    parent: str | None = None
    with_quantiles: bool = True


def packed(rows: DataSet, settings: TrainingSettings) -> Mapping[str, bytes]:
    """The input's files, by name."""
    table = np.column_stack([*(getattr(rows, name) for name in COLUMNS), rows.features]).astype("<f8")
    buffer = io.BytesIO()
    np.save(buffer, table, allow_pickle=False)
    content = buffer.getvalue()
    order = Order(
        sha256=sha256(content).hexdigest(),
        rows=len(rows),
        feature_names=rows.feature_names,
        is_synthetic=rows.is_synthetic,
        families=tuple(family.value for family in settings.families),
        version_prefix=settings.version_prefix,
        trained_at=settings.trained_at,
        parent=settings.parent,
        with_quantiles=settings.with_quantiles,
    )
    text = json.dumps(RUNS.to_document(order), sort_keys=True, separators=(",", ":"))
    return {ROWS: content, SETTINGS: text.encode()}


def run(folder: Path, overrides: Mapping[str, str]) -> Mapping[str, bytes]:
    """Train what is in a folder; the result's files, by name. `overrides` are a platform's hyperparameters, strings:
    `families` and `with_quantiles`. `ModelRefused` in one line for what is damaged, unknown or cannot be learned."""
    order, rows = _read(folder)
    settings = TrainingSettings(
        families=_families(overrides.get("families", ",".join(order.families))),
        version_prefix=order.version_prefix,
        trained_at=order.trained_at,
        parent=order.parent,
        with_quantiles=_flag(overrides.get("with_quantiles", str(order.with_quantiles))),
    )
    if unknown := sorted(set(overrides) - {"families", "with_quantiles"}):
        raise ModelRefused(f"unknown hyperparameters: {', '.join(unknown)}")
    done = training.train(rows, settings)
    stated = done.files.pointer.manifest
    if stated is None:
        raise ModelRefused("the model has no manifest")
    held_out = done.halves.held_out
    error = evaluate.latency_error(done.trained.fit_of(LATENCY).predict(held_out.features), held_out.latency_ms)
    metrics = {"latency_error": error, "rows": len(rows), "artifact_bytes": len(done.files.artifact)}
    return {
        MODEL: done.files.artifact,
        CARD: (json.dumps(done.files.card, sort_keys=True, indent=2) + "\n").encode(),
        MANIFEST: stated.text.encode(),
        METRICS: json.dumps(metrics, sort_keys=True).encode(),
    }


def opened(results: Mapping[str, bytes], order: Order) -> ModelFiles:
    """The model that came back, held against what was asked for: manifest, digest, schema, golden rows, lineage.
    `ModelRefused` in one line. Nothing is signed yet: whoever may promote does that after looking again."""
    missing = [name for name in (MODEL, CARD, MANIFEST) if name not in results]
    if missing:
        raise ModelRefused(f"the job's output lacks {', '.join(missing)}")
    data = results[MODEL]
    if len(data) > LARGEST_MODEL:
        raise ModelRefused(f"the model has {len(data):,} bytes, more than {LARGEST_MODEL:,}")
    stated = manifest.unsigned(SignedText(text=_text(results, MANIFEST)))
    digest = sha256(data).hexdigest()
    if digest != stated.sha256:
        raise ModelRefused("the model is not the one that its manifest names")
    wanted = (order.parent, order.is_synthetic, order.feature_names)
    if (stated.parent, stated.is_synthetic, stated.feature_names) != wanted or not stated.version.startswith(
        f"{order.version_prefix}-"
    ):
        raise ModelRefused(f"model {stated.version} is not of the training that was asked for ({order.version_prefix})")
    if not stated.golden:
        raise ModelRefused(f"model {stated.version} came without golden rows")
    manifest.check_golden(artifact.read(data, sha256=digest), stated)
    pointer = ModelPointer(
        version=stated.version,
        sha256=digest,
        trained_at=stated.created_at,
        rows=stated.rows,
        is_synthetic=stated.is_synthetic,
        manifest=SignedText(text=_text(results, MANIFEST)),
    )
    try:
        card = json.loads(_text(results, CARD))
    except ValueError as error:
        raise ModelRefused("the model's card is no JSON") from error
    if not isinstance(card, dict):
        raise ModelRefused("the model's card is no JSON object")
    return ModelFiles(pointer=pointer, artifact=data, card=card)


def order_in(content: bytes) -> Order:
    """The order in a `training.json`."""
    try:
        order = RUNS.from_document(Order, json.loads(content))
    except (ValueError, Malformed) as error:
        raise ModelRefused(f"{SETTINGS} does not parse: {error}") from error
    if order.format != FORMAT:
        raise ModelRefused(
            f"{SETTINGS} has format {order.format}, this code reads {FORMAT}: use the image of its release"
        )
    return order


def _read(folder: Path) -> tuple[Order, DataSet]:
    try:
        order, content = order_in((folder / SETTINGS).read_bytes()), (folder / ROWS).read_bytes()
    except OSError as error:
        raise ModelRefused(f"no training input in {folder}: {error.strerror}") from error
    if sha256(content).hexdigest() != order.sha256:
        raise ModelRefused(f"{ROWS} is not what {SETTINGS} names: cut short, or of another job")
    table = np.load(io.BytesIO(content), allow_pickle=False)
    if table.shape != (order.rows, len(COLUMNS) + len(order.feature_names)) or table.dtype != np.dtype("<f8"):
        raise ModelRefused(f"{ROWS} has another shape than {SETTINGS} says")
    columns = {name: table[:, at].copy() for at, name in enumerate(COLUMNS)}
    return order, DataSet(
        feature_names=order.feature_names,
        features=table[:, len(COLUMNS) :].copy(),
        served_by=("",) * order.rows,
        is_synthetic=order.is_synthetic,
        **columns,
    )


def _families(text: str) -> tuple[Family, ...]:
    try:
        return tuple(Family(name.strip()) for name in _plain(text).split(","))
    except ValueError as error:
        raise ModelRefused(f"families must be of {', '.join(Family)}, not {text!r:.80}") from error


def _flag(text: str) -> bool:
    word = _plain(text).lower()
    if word not in {"true", "false"}:
        raise ModelRefused(f"with_quantiles must be true or false, not {text!r:.80}")
    return word == "true"


def _plain(text: str) -> str:
    """Without the quotes that SageMaker's SDK puts around what it encodes as JSON, once or twice."""
    return text.strip().strip('"\\').strip()


def _text(results: Mapping[str, bytes], name: str) -> str:
    try:
        return results[name].decode()
    except UnicodeDecodeError as error:
        raise ModelRefused(f"{name} is no text") from error
