import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import joblib
import numpy
import pytest
import sklearn
from typer.testing import CliRunner

from fiso.adapters.aws.models import LayerModelStore
from fiso.codecs import signature
from fiso.prediction import manifest
from fiso_cli.errors import CommandError
from fiso_cli.local_stage import CHECKOUT
from fiso_cli.main import app
from fiso_cli.training import keys, prior, remote
from tests.functional.lease_servers import serving

PACKAGED = CHECKOUT / "ml_artifacts"
RUN = {
    "started_at": "2026-11-23T10:00:00.000Z",
    "trigger": "command",
    "rows": 200,
    "promoted": False,
    "reason": "too few rows",
    "champion_version": "baseline",
    "challenger_version": None,
}


def test_train_writes_a_model_that_the_orchestrator_reads_and_reports_it(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["train", "--synthetic", "--rows", "600", "--out", str(tmp_path)])
    assert result.exit_code == 0, result.output
    store = LayerModelStore(tmp_path)
    pointer = store.champion()
    assert pointer is not None
    assert pointer.is_synthetic
    model = manifest.read(pointer, store.artifact(pointer), signature.from_file(keys.public_file(tmp_path)))
    assert model.version == pointer.version
    card = json.loads((tmp_path / pointer.version / "model_card.json").read_text())
    assert card["sha256"] == pointer.sha256
    assert "execution_time_ms" in result.output
    assert pointer.version in result.output


def test_training_again_leaves_one_version_and_the_same_bytes(tmp_path: Path) -> None:
    key = tmp_path.parent / "key"
    keys.ensured(key)
    prior.train("hist_gradient_boosting", rows=600, out=tmp_path, key=key)
    first = {path.relative_to(tmp_path): path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    prior.train("random_forest", rows=600, out=tmp_path)
    assert len(list(tmp_path.glob("*/model.joblib"))) == 1
    prior.train("hist_gradient_boosting", rows=600, out=tmp_path, key=key)
    assert {path.relative_to(tmp_path): path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == first


def test_the_packaged_model_is_what_training_makes(tmp_path: Path) -> None:
    pointer = json.loads((PACKAGED / "champion.json").read_text())
    card = json.loads((PACKAGED / pointer["version"] / "model_card.json").read_text())
    libraries = {"numpy": numpy.__version__, "scikit-learn": sklearn.__version__, "joblib": joblib.__version__}
    if {name: card["libraries"][name] for name in libraries} != libraries:
        pytest.skip(f"the packaged model was made with {card['libraries']}")
    prior.train("hist_gradient_boosting", rows=10_000, out=tmp_path)
    own = {"key_id": None, "signature": None}
    assert json.loads((tmp_path / "champion.json").read_text()) | own == pointer | own


def test_the_packaged_model_is_whole_and_small() -> None:
    store = LayerModelStore(PACKAGED)
    pointer = store.champion()
    assert pointer is not None
    manifest.read(pointer, store.artifact(pointer), manifest.packaged_keys())
    assert sum(path.stat().st_size for path in PACKAGED.rglob("*") if path.is_file()) <= 1_000_000


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["train"], "--synthetic"),
        (["train", "--synthetic", "--family", "oracle"], "--family must be"),
        (["train", "--synthetic", "--rows", "1"], "'--rows'"),
    ],
)
def test_what_cannot_be_done_is_explained(arguments: list[str], why: str) -> None:
    result = CliRunner().invoke(app, arguments)
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert why in result.stderr


@contextmanager
def a_lambda_host(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, body: bytes, **headers: str) -> Iterator[list[str]]:
    """Answers every Invoke with `body`, where the local stage looks for its Lambda host."""
    asked: list[str] = []

    def respond(path: str, *_: object) -> tuple[int, dict[str, str], bytes]:
        asked.append(path)
        return 200, {name.replace("_", "-"): value for name, value in headers.items()}, body

    with serving(respond) as server:
        monkeypatch.setenv("FISO_LOCAL_PORT", str(server.server_port - 1))
        monkeypatch.setenv("FISO_LOCAL_DIR", str(tmp_path))
        yield asked


def test_retrain_invokes_the_stages_retrainer_once_and_prints_its_run(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with a_lambda_host(monkeypatch, tmp_path, json.dumps(RUN).encode()) as asked:
        result = CliRunner().invoke(app, ["retrain", "--json"])
    assert result.exit_code == 0, result.output
    assert json.loads(result.output) == RUN
    assert asked == ["/2015-03-31/functions/fiso-local-retrainer/invocations?Qualifier=live"]


def test_retrain_says_in_a_line_why_there_was_no_promotion(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with a_lambda_host(monkeypatch, tmp_path, json.dumps(RUN).encode()):
        result = CliRunner().invoke(app, ["retrain"])
    assert "refused: too few rows" in result.output


def test_a_retrainer_that_fails_is_a_failed_command(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    body = b'{"errorType": "MissingSetting", "errorMessage": "FISO_BUCKET is not set"}'
    with (
        a_lambda_host(monkeypatch, tmp_path, body, X_Amz_Function_Error="Unhandled"),
        pytest.raises(CommandError, match="FISO_BUCKET is not set"),
    ):
        remote.retrain("local")
