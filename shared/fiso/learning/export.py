"""Export: from estimators to the portable artifact and its card, checked against them before anything is written."""

import io
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from hashlib import sha256

import joblib
import numpy as np
import sklearn
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingRegressor, RandomForestRegressor

from fiso.codecs import signature
from fiso.codecs.record import instant
from fiso.domain.errors import ModelRefused
from fiso.domain.model import ModelPointer
from fiso.learning import evaluate
from fiso.learning.dataset import DataSet, Floats, Halves
from fiso.learning.linear import LinearEstimator
from fiso.learning.train import Estimator, Family, Fit, Line, Trained
from fiso.ports import ModelFiles, Signer
from fiso.prediction import artifact, manifest
from fiso.prediction.ensemble import LEAF
from fiso.prediction.features import NAMES
from fiso.prediction.manifest import Manifest

PARITY = 1e-9
"""How far the exported model may lie from its estimator, relative to the larger of the value and the mean value."""
PARITY_ROWS = 2_000
LEARNED_ALL = "all rows, after a verdict on the held-out ones, which the metrics are of"


@dataclass(frozen=True, slots=True, kw_only=True)
class Nodes:
    """One estimator tree as parallel arrays, node 0 being the root; `features` is LEAF where a node is one."""

    features: NDArray[np.int64]
    thresholds: Floats
    values: Floats
    left: NDArray[np.int64]
    right: NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where a model comes from, for its card and its manifest. `trained_at` None: from a seed, at no particular time.
    `parent` is the version that it was made to replace, `window` from when to when its rows are."""

    version_prefix: str
    trained_at: datetime | None
    note: str = ""
    parent: str | None = None
    window: tuple[datetime, datetime] | None = None
    rows_sha256: str | None = None


def package(trained: Trained, halves: Halves, origin: Origin, *, judged: Trained | None = None) -> ModelFiles:
    """The files of a trained model, not signed yet. `ModelRefused` when they would not say what the estimators say.

    `judged` is the model whose errors on the held-out rows are told, where the one that is to serve has seen them.
    """
    parts = [_part(fit) for fit in trained.fits]
    version = f"{origin.version_prefix}-{_digest_of(parts)[:8]}"
    data = _dump(trained, parts, version)
    digest = sha256(data).hexdigest()
    model = artifact.read(data, sha256=digest)
    # Checked on what will be served, read back from its bytes: a mistake in the export must not reach a signature.
    parity = check(model, trained, halves.held_out)
    pointer = ModelPointer(
        version=version,
        sha256=digest,
        trained_at=origin.trained_at or datetime.fromisoformat("1970-01-01T00:00:00Z"),
        rows=len(halves.train),
        is_synthetic=trained.is_synthetic,
    )
    pointer = replace(
        pointer, manifest=manifest.written(_manifest(pointer, model, judged or trained, halves.held_out, origin))
    )
    card = _card(judged or trained, halves, origin) | {
        "learned_from": "rows before the held-out ones" if judged is None else LEARNED_ALL,
        "version": version,
        "sha256": digest,
        "artifact_bytes": len(data),
        "parity_error": parity,
    }
    return ModelFiles(pointer=pointer, artifact=data, card=card)


def _manifest(
    pointer: ModelPointer, model: artifact.Model, trained: Trained, held_out: DataSet, origin: Origin
) -> Manifest:
    predicted = {fit.target: fit.predict(held_out.features) for fit in trained.fits}
    report = evaluate.by_target(predicted, held_out)
    rows: list[list[float]] = serving_rows(held_out.part(0, manifest.GOLDEN_ROWS)).tolist()
    return Manifest(
        version=pointer.version,
        sha256=pointer.sha256,
        created_at=pointer.trained_at,
        rows=pointer.rows,
        is_synthetic=pointer.is_synthetic,
        feature_names=model.feature_names,
        metrics={
            f"{target}.mean_absolute": float(f"{groups['all'].mean_absolute:.6g}")
            for target, groups in report.items()
            if "all" in groups and np.isfinite(groups["all"].mean_absolute)
        },
        golden=manifest.golden_of(model, rows),
        parent=origin.parent,
        rows_since=origin.window[0] if origin.window else None,
        rows_until=origin.window[1] if origin.window else None,
        rows_sha256=origin.rows_sha256,
    )


def check(model: artifact.Model, trained: Trained, data: DataSet, *, most: int = PARITY_ROWS) -> float:
    """The largest relative difference between the model as it will serve and its estimators."""
    rows = data.part(0, most)
    if not len(rows):
        raise ModelRefused("there are no held-out rows to check the exported model on")
    outputs = [model.predict(row) for row in serving_rows(rows).tolist()]
    largest = 0.0
    for fit in trained.fits:
        said = np.array([_value(output, fit.target) for output in outputs])
        wanted = fit.predict(rows.features)
        if fit.target == artifact.SUCCESS:
            wanted = np.clip(wanted, 0.0, 1.0)
        scale = np.maximum(np.abs(wanted), np.mean(np.abs(wanted)))
        largest = max(largest, float(np.max(np.abs(said - wanted) / scale, initial=0.0)))
    if not largest <= PARITY:
        raise ModelRefused(f"the exported model differs from its estimators by {largest:.1e}, more than {PARITY:.0e}")
    return largest


def serving_rows(data: DataSet) -> Floats:
    """The features in the order of `NAMES`; those that the data set has not are 0 and are not looked at."""
    rows = np.zeros((len(data), len(NAMES)))
    rows[:, [NAMES.index(name) for name in data.feature_names]] = data.features
    return rows


def _dump(trained: Trained, parts: Sequence[Mapping[str, object]], version: str) -> bytes:
    content = {
        "format": _format_of(trained),
        "version": version,
        "is_synthetic": trained.is_synthetic,
        "inputs": "float32" if trained.family is Family.FOREST else "float64",
        "feature_names": list(trained.feature_names),
        "targets": list(parts),
    }
    if trained.quantiles:
        content["quantiles"] = [{"share": share, **_trees(each, "exp", Line())} for share, each in trained.quantiles]
    buffer = io.BytesIO()
    joblib.dump(content, buffer)
    return buffer.getvalue()


def _format_of(trained: Trained) -> str:
    return artifact.LINEAR_FORMAT if trained.family is Family.LINEAR else artifact.FORMAT


def _part(fit: Fit) -> dict[str, object]:
    if isinstance(fit.estimator, LinearEstimator):
        weights = np.asarray(fit.estimator.weights * fit.line.slope, dtype="<f8")
        return {
            "name": fit.target,
            "link": fit.link,
            "base": fit.line.offset + fit.line.slope * fit.estimator.base,
            "terms": [list(term) for term in fit.estimator.terms],
            "weights": ("d", weights.tobytes()),
        }
    return {"name": fit.target, **_trees(fit.estimator, fit.link, fit.line)}


def _trees(
    estimator: HistGradientBoostingRegressor | RandomForestRegressor, link: str, line: Line
) -> dict[str, object]:
    features: list[int] = []
    numbers: list[float] = []
    for nodes in _trees_of(estimator):
        scaled = replace(nodes, values=nodes.values * line.slope)
        _append_preorder(scaled, features, numbers)
    return {
        "link": link,
        "base": line.offset + line.slope * _base_of(estimator),
        "features": ("b", np.array(features, dtype=np.int8).tobytes()),
        "numbers": ("d", np.array(numbers, dtype="<f8").tobytes()),
    }


def _append_preorder(nodes: Nodes, features: list[int], numbers: list[float]) -> None:
    waiting = [0]
    while waiting:
        node = waiting.pop()
        feature = int(nodes.features[node])
        features.append(feature)
        if feature == LEAF:
            numbers.append(float(nodes.values[node]))
            continue
        numbers.append(float(nodes.thresholds[node]))
        waiting.extend((int(nodes.right[node]), int(nodes.left[node])))


def _base_of(estimator: HistGradientBoostingRegressor | RandomForestRegressor) -> float:
    if isinstance(estimator, HistGradientBoostingRegressor):
        return float(np.ravel(estimator._baseline_prediction)[0])  # noqa: SLF001 - public nowhere
    return 0.0


def _trees_of(estimator: HistGradientBoostingRegressor | RandomForestRegressor) -> list[Nodes]:
    """The estimator's trees, leaves scaled so that they add up. Boosting keeps its trees in private attributes."""
    if isinstance(estimator, HistGradientBoostingRegressor):
        predictors = estimator._predictors  # noqa: SLF001 - public nowhere
        return [_boosting_nodes(predictor.nodes) for (predictor,) in predictors]
    return [_forest_nodes(tree.tree_, len(estimator.estimators_)) for tree in estimator.estimators_]


def _boosting_nodes(nodes: NDArray[np.void]) -> Nodes:
    return Nodes(
        features=np.where(nodes["is_leaf"] == 1, LEAF, nodes["feature_idx"]),
        thresholds=nodes["num_threshold"],
        values=nodes["value"],
        left=nodes["left"].astype(np.int64),
        right=nodes["right"].astype(np.int64),
    )


def _forest_nodes(tree: "sklearn.tree._tree.Tree", trees: int) -> Nodes:
    return Nodes(
        features=np.where(tree.children_left < 0, LEAF, tree.feature),
        thresholds=tree.threshold,
        values=tree.value[:, 0, 0] / trees,
        left=tree.children_left,
        right=tree.children_right,
    )


def _value(output: artifact.ModelOutput, target: str) -> float:
    values = {artifact.LATENCY: output.latency_ms, artifact.COST: output.cost_usd}
    value = values.get(target, output.success_probability)
    return float("nan") if value is None else value


def _digest_of(parts: Sequence[Mapping[str, object]]) -> str:
    """Of the trees alone, since the file holds the version."""
    return sha256(repr([sorted(part.items()) for part in parts]).encode()).hexdigest()


def _card(trained: Trained, halves: Halves, origin: Origin) -> dict[str, object]:
    predicted = {fit.target: fit.predict(halves.held_out.features) for fit in trained.fits}
    report = evaluate.by_target(predicted, halves.held_out)
    metrics = {target: {group: asdict(found) for group, found in groups.items()} for target, groups in report.items()}
    return {
        "format": _format_of(trained),
        "family": trained.family.value,
        "parameters": _parameters(trained.fits[0].estimator),
        "is_synthetic": trained.is_synthetic,
        "note": origin.note,
        "trained_at": None if origin.trained_at is None else instant(origin.trained_at),
        "parent": origin.parent,
        "window": None if origin.window is None else [instant(moment) for moment in origin.window],
        "rows_sha256": origin.rows_sha256,
        "rows": {"trained_on": len(halves.train), "held_out": len(halves.held_out), "skipped": halves.train.skipped},
        "features": list(trained.feature_names),
        "targets": {fit.target: {"link": fit.link} for fit in trained.fits},
        "metrics_on_held_out_rows": metrics,
        "libraries": {
            "python": platform.python_version(),
            "numpy": np.__version__,
            "scikit-learn": sklearn.__version__,
            "joblib": joblib.__version__,
        },
    }


def _parameters(estimator: Estimator) -> dict[str, object]:
    chosen = ("max_iter", "n_estimators", "max_leaf_nodes", "min_samples_leaf", "learning_rate", "early_stopping")
    return {name: value for name, value in estimator.get_params().items() if name in chosen or name == "random_state"}


def promoted(files: ModelFiles, *, stage: str, number: int, stands_in: str | None) -> ModelFiles:
    """The files as the promotion of a number on a stage, to be signed."""
    stated = files.pointer.manifest
    if stated is None:
        raise ModelRefused(f"model {files.pointer.version} has no manifest to promote")
    numbered = manifest.restated(stated, stage=stage, number=number, stands_in=stands_in)
    return replace(files, pointer=replace(files.pointer, manifest=numbered))


def signed(files: ModelFiles, signer: Signer) -> ModelFiles:
    """The files with a signature. Raises what the signer raises, and `ModelRefused` for files without a manifest."""
    stated = files.pointer.manifest
    if stated is None:
        raise ModelRefused(f"model {files.pointer.version} has no manifest to sign")
    sealed = signature.signed(stated.text, signer.sign)
    return replace(files, pointer=replace(files.pointer, manifest=sealed))
