"""Artifacts on disk: `ml_artifacts/<version>/{model.joblib, model_card.json}` and the pointer `champion.json`.

The folder becomes the model layer, so it holds the champion and nothing else of its kind.
"""

import json
from collections.abc import Mapping
from pathlib import Path

from fiso.adapters.aws.models import model_pointer_to
from fiso.ports import ModelFiles


def write(files: ModelFiles, directory: Path) -> Path:
    """Write a model, point to it, then drop the versions it replaces. Returns the model's folder."""
    folder = directory / files.pointer.version
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.joblib").write_bytes(files.artifact)
    _write_json(folder / "model_card.json", files.card)
    _write_json(directory / "champion.json", model_pointer_to(files.pointer))
    for other in directory.glob("*/model_card.json"):
        if other.parent != folder:
            _remove(other.parent)
    return folder


def _remove(folder: Path) -> None:
    for name in ("model.joblib", "model_card.json"):
        (folder / name).unlink(missing_ok=True)
    if not any(folder.iterdir()):
        folder.rmdir()


def _write_json(path: Path, content: Mapping[str, object]) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
