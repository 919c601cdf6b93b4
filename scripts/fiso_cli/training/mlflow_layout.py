"""A model as MLflow keeps one: a run of a file store with parameters, metrics and tags, and the model beside them as a
`python_function` with signature and lineage. Written without MLflow; what its own code reads of it is tested with it.

The model's code goes along, so that it predicts where FISO is not installed. Layout: mlflow.org/docs/latest/model
("MLmodel file", "Model Signature") and mlflow's own `store/tracking/file_store.py`.
"""

import json
import re
import shutil
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from hashlib import sha256
from math import isfinite
from modulefinder import ModuleFinder
from pathlib import Path
from typing import Any

import yaml

import fiso
from fiso.ports import ModelFiles
from fiso.prediction.artifact import COST, LATENCY, SUCCESS

EXPERIMENT = "fiso"
EXPERIMENT_ID = str(int(sha256(EXPERIMENT.encode()).hexdigest()[:15], 16))
CODE = ("fiso", "fiso_client")
ACTIVE, FINISHED, LOCAL_SOURCE = "active", 3, 4
"""MLflow's numbers (`RunStatus`, `SourceType`)."""
LOADER = '''"""Reads an exported FISO model for MLflow: `mlflow.pyfunc.load_model`."""

import json
from pathlib import Path

from fiso.prediction import artifact
from fiso.prediction.features import NAMES


class _Model:
    def __init__(self, model):
        self._model = model

    def predict(self, model_input, params=None):
        """Milliseconds, US dollars and probability per row; dollars are NaN of a model trained without costs."""
        import pandas

        rows = [
            [float(row.get(name, 0.0)) for name in NAMES]
            for row in pandas.DataFrame(model_input).to_dict(orient="records")
        ]
        said = self._model.predict_all(rows) if rows else []
        return pandas.DataFrame(
            [
                {
                    artifact.LATENCY: each.latency_ms,
                    artifact.COST: float("nan") if each.cost_usd is None else each.cost_usd,
                    artifact.SUCCESS: each.success_probability,
                }
                for each in said
            ],
            columns=list(artifact.TARGETS),
        )


def _load_pyfunc(path):
    folder = Path(path)
    stated = json.loads((folder / "pointer.json").read_text(encoding="utf-8"))
    return _Model(artifact.read((folder / "model.joblib").read_bytes(), sha256=stated["sha256"]))
'''


def run_id(version: str) -> str:
    """The same version is the same run, however often it is exported."""
    return sha256(version.encode()).hexdigest()[:32]


def write(files: ModelFiles, store: Path, *, state: str) -> Path:
    """The version as a run in the file store, in the place of an earlier export of it; the model's folder.

    Raises `OSError`, and `ValueError` for a card that names no features.
    """
    experiment = store.resolve() / EXPERIMENT_ID
    run = run_id(files.pointer.version)
    # Made in MLflow's own folder of deleted ones: any other name in the store makes it fail over the whole store.
    made, final = store.resolve() / ".trash" / run, experiment / run
    shutil.rmtree(made, ignore_errors=True)
    try:
        _write_run(files, made, final, state)
        experiment.mkdir(parents=True, exist_ok=True)
        _yaml(experiment / "meta.yaml", _experiment_meta(experiment))
        shutil.rmtree(final, ignore_errors=True)
        made.rename(final)  # whole or not there: a reader of the store sees no half run
    finally:
        shutil.rmtree(made, ignore_errors=True)
    return final / "artifacts" / "model"


def _write_run(files: ModelFiles, made: Path, final: Path, state: str) -> None:
    run = final.name
    _model(files, made / "artifacts" / "model", run)
    began = int(files.pointer.trained_at.timestamp() * 1000)
    for kind, values in (("params", _params(files.card)), ("tags", _tags(files, state))):
        _texts(made / kind, values)
    _texts(made / "metrics", {name: f"{began} {value!r} 0\n" for name, value in _metrics(files.card).items()})
    _yaml(made / "meta.yaml", _run_meta(files.pointer.version, run, final, began))


def _model(files: ModelFiles, folder: Path, run: str) -> None:
    data = folder / "data"
    data.mkdir(parents=True)
    pointer = files.pointer
    signed = pointer.manifest
    stated = {"version": pointer.version, "sha256": pointer.sha256}
    if signed is not None:
        stated |= {"key_id": signed.key_id or "", "signature": signed.signature or "", "manifest": signed.text}
    (data / "model.joblib").write_bytes(files.artifact)
    (data / "model_card.json").write_text(json.dumps(files.card, indent=2) + "\n", encoding="utf-8")
    (data / "pointer.json").write_text(json.dumps(stated, indent=2) + "\n", encoding="utf-8")
    (folder / "requirements.txt").write_text("pandas\n", encoding="utf-8")
    _code(folder / "code")
    _yaml(folder / "MLmodel", _mlmodel(files, run))


def _code(folder: Path) -> None:
    """The loader and those modules of FISO that it reaches; they need the standard library only."""
    folder.mkdir()
    loader = folder / "fiso_loader.py"
    loader.write_text(LOADER, encoding="utf-8")
    root = Path(next(iter(fiso.__path__))).parent
    finder = ModuleFinder(path=[str(root)])
    finder.run_script(str(loader))
    for name in finder.modules:
        if name.split(".")[0] in CODE:
            place = root.joinpath(*name.split("."))
            source = place / "__init__.py" if place.is_dir() else place.with_suffix(".py")
            target = folder / source.relative_to(root)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)


def _mlmodel(files: ModelFiles, run: str) -> dict[str, object]:
    card, pointer = files.card, files.pointer
    names = card.get("features")
    if not isinstance(names, list) or not names:
        raise ValueError(f"the card of {pointer.version} names no features")
    libraries = card.get("libraries")
    python = libraries.get("python") if isinstance(libraries, Mapping) else None
    flavour = {
        "code": "code",
        "data": "data",
        "env": {"virtualenv": "requirements.txt"},
        "loader_module": "fiso_loader",
    }
    return {
        "artifact_path": "model",
        "flavors": {"python_function": flavour | ({"python_version": python} if python else {})},
        "metadata": {
            "fiso_version": pointer.version,
            "sha256": pointer.sha256,
            **{name: card.get(name) for name in ("family", "parent", "window", "rows_sha256", "is_synthetic", "note")},
        },
        "model_size_bytes": len(files.artifact),
        "model_uuid": run,
        "run_id": run,
        "signature": {
            "inputs": json.dumps([_column(str(name)) for name in names]),
            "outputs": json.dumps([_column(name) for name in (LATENCY, COST, SUCCESS)]),
            "params": None,
        },
        "utc_time_created": f"{pointer.trained_at.astimezone(UTC):%Y-%m-%d %H:%M:%S.%f}",
    }


def _column(name: str) -> dict[str, object]:
    return {"type": "double", "name": name, "required": True}


def _params(card: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    yield "family", str(card.get("family"))
    for group in ("parameters", "rows", "libraries"):
        found = card.get(group)
        for name, value in found.items() if isinstance(found, Mapping) else ():
            yield f"{group}.{name}", str(value)


def _metrics(card: Mapping[str, Any]) -> dict[str, float]:
    found = {
        f"{target}.{group}.{name}": float(value)
        for target, groups in (card.get("metrics_on_held_out_rows") or {}).items()
        for group, errors in groups.items()
        for name, value in errors.items()
        if isinstance(value, int | float) and isfinite(value)
    }
    for name in ("parity_error", "artifact_bytes"):
        if isinstance(card.get(name), int | float):
            found[name] = float(card[name])
    return found


def _tags(files: ModelFiles, state: str) -> Iterator[tuple[str, str]]:
    card, pointer = files.card, files.pointer
    yield "mlflow.runName", pointer.version
    yield "mlflow.source.name", "fiso"
    yield "mlflow.source.type", "LOCAL"
    yield "mlflow.note.content", str(card.get("note") or f"{card.get('family')}, {pointer.rows} rows")
    yield "fiso.state", state
    yield "fiso.sha256", pointer.sha256
    window = card.get("window")
    for name, value in (
        ("parent", card.get("parent")),
        ("window", " to ".join(map(str, window)) if isinstance(window, list) else None),
        ("rows_sha256", card.get("rows_sha256")),
        ("signed_by", pointer.manifest.key_id if pointer.manifest is not None else None),
    ):
        if value:
            yield f"fiso.{name}", str(value)
    if card.get("parent"):
        yield "mlflow.parentRunId", run_id(str(card["parent"]))


def _run_meta(version: str, run: str, folder: Path, began: int) -> dict[str, object]:
    return {
        "artifact_uri": (folder / "artifacts").as_uri(),
        "end_time": began,
        "entry_point_name": "",
        "experiment_id": EXPERIMENT_ID,
        "lifecycle_stage": ACTIVE,
        "run_id": run,
        "run_name": version,
        "run_uuid": run,
        "source_name": "",
        "source_type": LOCAL_SOURCE,
        "source_version": "",
        "start_time": began,
        "status": FINISHED,
        "tags": [],
        "user_id": "fiso",
    }


def _experiment_meta(folder: Path) -> dict[str, object]:
    made = int(datetime(2026, 1, 1, tzinfo=UTC).timestamp() * 1000)
    return {
        "artifact_location": folder.as_uri(),
        "creation_time": made,
        "experiment_id": EXPERIMENT_ID,
        "last_update_time": made,
        "lifecycle_stage": ACTIVE,
        "name": EXPERIMENT,
    }


def _texts(folder: Path, values: Mapping[str, str] | Iterator[tuple[str, str]]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, value in dict(values).items():
        # MLflow's own names: letters, digits, dashes, dots, blanks. A function's name may hold more.
        (folder / re.sub(r"[^A-Za-z0-9_. -]", "_", name)).write_text(value, encoding="utf-8")


def _yaml(path: Path, document: Mapping[str, object]) -> None:
    path.write_text(yaml.safe_dump(dict(document), sort_keys=True), encoding="utf-8")
