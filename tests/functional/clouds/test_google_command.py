"""`fiso deploy gcp`, where Google is away."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from fiso_cli.main import app
from tests.functional.clouds.google_rig import sample


def test_a_google_that_is_away_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sample(tmp_path / "greet")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FISO_LOCAL_PORT", "1024")
    monkeypatch.setenv("FISO_LOCAL_DIR", str(tmp_path / "local"))
    monkeypatch.setattr("fiso_cli.clouds.google.client.TRIES", 1)
    result = CliRunner().invoke(app, ["deploy", "gcp", "--stage", "local", "greet", "--yes"])
    assert result.exit_code == 1
    assert result.output.startswith("error: Google cannot be reached: ")
