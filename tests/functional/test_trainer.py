"""The trainer under each platform's contract, in an environment that holds nothing else: the same bytes everywhere."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from fiso.domain.errors import ModelRefused
from fiso.learning import job, synthetic
from fiso.learning.training import TrainingSettings, train
from tests.builders import NOW

ROOT = Path(__file__).parents[2]
SETTINGS = TrainingSettings(version_prefix="20261130T000000Z", trained_at=NOW, parent="m1", with_quantiles=False)
ROWS = synthetic.generate(400)


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """How a container ended."""

    code: int
    said: str
    results: Mapping[str, bytes]


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the image's file copies, and nothing else."""
    folder = tmp_path_factory.mktemp("image")
    for line in (ROOT / "deploy/training.Dockerfile").read_text().splitlines():
        if line.startswith("COPY ") and "/app/" in line:
            _, source, target = line.split()
            shutil.copytree(ROOT / source, folder / target.removeprefix("/app/"))
    return folder


def run(image: Path, arguments: list[str], environ: Mapping[str, str], model: Path) -> Run:
    done = subprocess.run(
        [sys.executable, "-m", "functions.trainer", *arguments],
        cwd=image,
        env={"PYTHONPATH": str(image), **environ},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    results = {path.name: path.read_bytes() for path in model.glob("*")} if model.exists() else {}
    return Run(code=done.returncode, said=done.stdout + done.stderr, results=results)


def put(folder: Path, files: Mapping[str, bytes]) -> Path:
    folder.mkdir(parents=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder


def on_sagemaker(image: Path, root: Path, files: Mapping[str, bytes], wishes: Mapping[str, str]) -> Run:
    put(root / "input/data/training", files)
    put(root / "input/config", {"hyperparameters.json": json.dumps({**wishes, "sagemaker_region": "x"}).encode()})
    return run(image, ["train"], {"FISO_OPT_ML": str(root), "TRAINING_JOB_NAME": "job"}, root / "model")


def on_azureml(image: Path, root: Path, files: Mapping[str, bytes], wishes: Mapping[str, str]) -> Run:
    data, model = put(root / "in", files), root / "out"
    options = [word for name, value in wishes.items() for word in (f"--{name.replace('_', '-')}", value)]
    arguments = ["azureml", "--training-data", str(data), "--model-output", str(model), *options]
    return run(image, arguments, {"AZUREML_RUN_ID": "job"}, model)


def on_vertex(image: Path, root: Path, files: Mapping[str, bytes], wishes: Mapping[str, str]) -> Run:
    put(root / "bucket/in", files)
    options = [word for name, value in wishes.items() for word in (f"--{name.replace('_', '-')}", value)]
    environ = {
        "FISO_GCS": str(root),
        "AIP_TRAINING_DATA_URI": "gs://bucket/in",
        "AIP_MODEL_DIR": "gs://bucket/out/model/",
    }
    return run(image, ["vertex", *options], environ, root / "bucket/out/model")


PLATFORMS = {"sagemaker": on_sagemaker, "azureml": on_azureml, "vertex": on_vertex}


def test_the_same_rows_are_the_same_bytes_under_each_contract_and_here(image: Path, tmp_path: Path) -> None:
    files = job.packed(ROWS, SETTINGS)
    assert files == job.packed(ROWS, SETTINGS)
    here = train(ROWS, SETTINGS).files
    for name, start in PLATFORMS.items():
        done = start(image, tmp_path / name, files, {"families": '"hist_gradient_boosting"', "with_quantiles": "False"})
        assert (done.code, "latency_error=" in done.said) == (0, True), done.said
        assert done.results[job.MODEL] == here.artifact
        assert set(done.results) == set(job.RESULTS)
        opened = job.opened(done.results, job.order_in(files[job.SETTINGS]))
        assert opened.pointer == here.pointer


@pytest.mark.parametrize("platform", PLATFORMS)
def test_a_failure_is_told_where_the_platform_looks(platform: str, image: Path, tmp_path: Path) -> None:
    files = dict(job.packed(ROWS.part(0, 30), SETTINGS))
    done = PLATFORMS[platform](image, tmp_path / "job", files, {})
    assert (done.code, done.results) == (1, {})
    assert "fiso trainer: too few answered rows" in done.said
    if platform == "sagemaker":
        assert (tmp_path / "job/output/failure").read_text().startswith("too few answered rows")


BAD: Mapping[str, Callable[[dict[str, bytes]], dict[str, bytes]]] = {
    "cut short": lambda files: {**files, job.ROWS: files[job.ROWS][:-8]},
    "no rows": lambda files: {job.SETTINGS: files[job.SETTINGS]},
    "no settings": lambda files: {job.ROWS: files[job.ROWS]},
    "settings of later code": lambda files: {
        **files,
        job.SETTINGS: files[job.SETTINGS].replace(b'"format":1', b'"format":2'),
    },
    "settings that are none": lambda files: {**files, job.SETTINGS: b"[1"},
}


@pytest.mark.parametrize("name", BAD)
def test_damaged_input_is_refused_in_one_line(name: str, tmp_path: Path) -> None:
    folder = put(tmp_path / "in", BAD[name](dict(job.packed(ROWS.part(0, 30), SETTINGS))))
    with pytest.raises(ModelRefused) as refused:
        job.run(folder, {})
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("wishes", "said"),
    [
        ({"families": "xgboost"}, "families must be of"),
        ({"with_quantiles": "1"}, "with_quantiles must be true or false"),
        ({"learning_rate": "0.1"}, "unknown hyperparameters: learning_rate"),
    ],
)
def test_a_wish_that_nobody_knows_is_refused(wishes: Mapping[str, str], said: str, tmp_path: Path) -> None:
    with pytest.raises(ModelRefused, match=said):
        job.run(put(tmp_path / "in", job.packed(ROWS, SETTINGS)), wishes)


@pytest.mark.parametrize(
    ("arguments", "environ"),
    [([], {}), (["ray"], {}), (["azureml"], {}), (["vertex"], {"AIP_MODEL_DIR": "gs://b/m"}), (["azureml", "--x"], {}),
     (["vertex", "--training-data", "gs://b/../../etc", "--model-output", "gs://b/m"], {})],
    ids=["nothing", "another platform", "no folders", "no data", "an unknown option", "out of the bucket"],
)  # fmt: skip
def test_what_a_platform_does_not_say_is_exit_2(arguments: list[str], environ: dict[str, str], image: Path) -> None:
    done = run(image, arguments, environ, image / "none")
    assert done.code == 2
    assert done.said.count("\n") == 1, done.said


def test_what_comes_back_is_held_against_what_was_asked_for(tmp_path: Path) -> None:
    files = job.packed(ROWS, SETTINGS)
    order = job.order_in(files[job.SETTINGS])
    results = dict(job.run(put(tmp_path / "in", files), {}))
    other = dict(job.run(put(tmp_path / "other", job.packed(ROWS.part(0, 300), SETTINGS)), {}))
    stated = json.loads(results[job.MANIFEST])
    golden = json.dumps(stated | {"golden": []}).encode()
    wrong = {
        "another model": results | {job.MODEL: other[job.MODEL]},
        "not whole": {name: content for name, content in results.items() if name != job.MANIFEST},
        "of a manifest without golden rows": results | {job.MANIFEST: golden},
        "no text": results | {job.CARD: b"\xff"},
        "no manifest": results | {job.MANIFEST: b"{}"},
        "code": results | {job.MODEL: b"\x80\x04cos\nsystem\n."},
    }
    for name, each in wrong.items():
        with pytest.raises(ModelRefused):
            pytest.fail(f"{name}: {job.opened(each, order).pointer}")
    for changed in (
        replace(order, parent="m2"),
        replace(order, version_prefix="2027"),
        replace(order, is_synthetic=False),
    ):
        with pytest.raises(ModelRefused, match="not of the training that was asked for"):
            job.opened(results, changed)
