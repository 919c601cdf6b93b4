"""`fiso model export --format mlflow`, read by MLflow's own code where an interpreter has it: this one, or the one that
FISO_MLFLOW_PYTHON names (`pip install mlflow-skinny pandas` in an empty environment, without FISO)."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner, Result

from fiso.domain.model import ModelPointer
from fiso.ports import ModelFiles
from fiso.prediction import artifact
from fiso.prediction.features import NAMES
from fiso_cli.main import app
from fiso_cli.training import mlflow_layout
from tests.builders import NOW

MLFLOW = os.environ.get("FISO_MLFLOW_PYTHON", sys.executable)
READ = """
import json, sys
import mlflow, pandas
from mlflow.tracking import MlflowClient
store, rows = sys.argv[1], json.loads(sys.argv[2])
client = MlflowClient(tracking_uri=store)
experiment = client.get_experiment_by_name("fiso")
runs = client.search_runs([experiment.experiment_id])
run = client.get_run(sys.argv[3])
mlflow.set_tracking_uri(store)
folder = run.info.artifact_uri + "/model"
model = mlflow.pyfunc.load_model(folder)
frame = pandas.DataFrame(rows)
said = model.predict(frame)
try:
    model.predict(frame.drop(columns=["hour_of_day"]))
    refused = False
except mlflow.exceptions.MlflowException:
    refused = True
info = mlflow.models.get_model_info(folder.removeprefix("file://"))
print(json.dumps({
    "runs": len(runs), "name": run.info.run_name, "status": run.info.status, "metrics": run.data.metrics,
    "params": run.data.params, "tags": run.data.tags, "said": said.to_dict(orient="list"), "refused": refused,
    "inputs": info.signature.inputs.input_names(), "outputs": info.signature.outputs.input_names(),
    "metadata": info.metadata, "fiso_from": sys.modules["fiso.prediction.artifact"].__file__,
}))
"""


def export(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["model", "export", *map(str, arguments)])


def _packaged() -> ModelFiles:
    from fiso_cli.training.registry import _packaged

    return _packaged()[0]


def test_mlflow_itself_reads_model_signature_metrics_and_lineage(tmp_path: Path) -> None:
    has = subprocess.run([MLFLOW, "-c", "import mlflow, pandas"], capture_output=True, check=False)
    if has.returncode:
        pytest.skip("no mlflow here: FISO_MLFLOW_PYTHON names an interpreter that has it")
    files = _packaged()
    card = {**files.card, "parent": "older-1", "window": ["2026-11-01T00:00:00Z", "2026-12-01T00:00:00Z"]}
    for version in ("older-1", files.pointer.version):
        pointer = replace(files.pointer, version=version, trained_at=NOW)
        mlflow_layout.write(replace(files, pointer=pointer, card=card), tmp_path / "store", state="champion")
    names = [str(name) for name in files.card["features"]]  # type: ignore[attr-defined]
    rows = [{name: float(at + place) for at, name in enumerate(names)} for place in range(5)]
    done = subprocess.run(
        [
            MLFLOW,
            "-c",
            READ,
            (tmp_path / "store").as_uri(),
            json.dumps(rows),
            mlflow_layout.run_id(files.pointer.version),
        ],
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), "MLFLOW_ALLOW_FILE_STORE": "true"},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    read = json.loads(done.stdout.splitlines()[-1])
    model = artifact.read(files.artifact, sha256=files.pointer.sha256)
    wanted = [model.predict([row.get(name, 0.0) for name in NAMES]) for row in rows]
    assert read["said"][artifact.LATENCY] == pytest.approx([each.latency_ms for each in wanted], rel=1e-12)
    assert read["said"][artifact.SUCCESS] == pytest.approx([each.success_probability for each in wanted], rel=1e-12)
    assert (read["inputs"], read["outputs"]) == (names, list(artifact.TARGETS))
    assert read["refused"], "the signature must be enforced"
    errors = files.card["metrics_on_held_out_rows"]["execution_time_ms"]["all"]  # type: ignore[index]
    assert read["metrics"]["execution_time_ms.all.r2"] == errors["r2"]
    assert (read["runs"], read["name"], read["status"]) == (2, files.pointer.version, "FINISHED")
    assert read["params"]["family"] == files.card["family"]
    assert read["tags"]["fiso.parent"] == read["metadata"]["parent"] == "older-1"
    assert read["tags"]["mlflow.parentRunId"] == mlflow_layout.run_id("older-1")
    assert Path(read["fiso_from"]).is_relative_to(tmp_path), "the model's own code must serve, not an installed one"


def test_exported_again_is_the_same_files(tmp_path: Path) -> None:
    def written() -> dict[str, bytes]:
        assert export("packaged", "--out", tmp_path).exit_code == 0
        return {str(path.relative_to(tmp_path)): path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}

    first = written()
    assert written() == first
    (found,) = tmp_path.rglob("MLmodel")
    document = yaml.safe_load(found.read_text())
    assert document["metadata"]["sha256"] == _packaged().pointer.sha256
    assert not any("/services/" in name or "/adapters/" in name for name in first), "only what predicts goes along"


@pytest.mark.parametrize(
    "card",
    [
        {},
        {"features": []},
        {"features": "hour_of_day"},
    ],
)
def test_a_card_without_features_leaves_what_was_exported_before(tmp_path: Path, card: dict[str, object]) -> None:
    pointer = ModelPointer(
        version="a-1", sha256="0" * 64, trained_at=NOW - timedelta(days=1), rows=1, is_synthetic=True
    )
    mlflow_layout.write(replace(_packaged(), pointer=pointer), tmp_path, state="candidate")
    before = sorted(tmp_path.rglob("MLmodel"))
    with pytest.raises(ValueError, match="names no features"):
        mlflow_layout.write(ModelFiles(pointer=pointer, artifact=b"x", card=card), tmp_path, state="candidate")
    assert sorted(tmp_path.rglob("MLmodel")) == before


@pytest.mark.parametrize("hostile", ["../../outside", "a/b", "ü" * 10])
def test_names_of_a_card_do_not_leave_the_run(tmp_path: Path, hostile: str) -> None:
    files = _packaged()
    metrics = {hostile: {hostile: {hostile: 1.0, "nan": float("nan"), "text": "x"}}}
    store = tmp_path / "store"
    mlflow_layout.write(
        replace(files, card={**files.card, "metrics_on_held_out_rows": metrics, "parameters": {hostile: hostile}}),
        store,
        state="candidate",
    )
    assert list(tmp_path.iterdir()) == [store]
    run = next(store.rglob("metrics"))
    assert all(path.parent == run for path in run.iterdir())
    assert len(list(run.iterdir())) == 3


def test_bad_words_are_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    for arguments, code in (
        (["packaged", "--format", "onnx", "--out", tmp_path / "x"], 2),
        (["packaged", "--out", tmp_path / "file"], 1),
    ):
        result = export(*arguments)
        assert (result.exit_code, result.stderr.count("\n")) == (code, 1), result.output
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file"]
