"""Model pointers as JSON, and the model that came packaged with the function (the layer's `champion.json`)."""

import json
from collections.abc import Mapping
from pathlib import Path

from fiso.domain.errors import ModelRefused
from fiso.domain.model import ModelPointer
from fiso.domain.record_codec import Json, instant, parse_instant
from fiso.ports import ModelFiles


def model_pointer_to(pointer: ModelPointer) -> dict[str, Json]:
    """A pointer as it is stored. Where it was read from is not part of it."""
    return {
        "version": pointer.version,
        "sha256": pointer.sha256,
        "trained_at": instant(pointer.trained_at),
        "rows": pointer.rows,
        "is_synthetic": pointer.is_synthetic,
    }


def model_pointer_from(document: Mapping[str, object], *, origin: str) -> ModelPointer:
    """What `model_pointer_to` made; `ModelRefused` when it does not parse, or its version could leave its folder."""
    try:
        version, rows = str(document["version"]), document["rows"]
        if not version or not version.replace("-", "").replace("_", "").replace(".", "").isalnum() or ".." in version:
            raise ValueError(f"version {version!r}")
        return ModelPointer(
            version=version,
            sha256=str(document["sha256"]),
            trained_at=parse_instant(str(document["trained_at"])),
            rows=int(rows) if isinstance(rows, int) else 0,
            is_synthetic=bool(document["is_synthetic"]),
            origin=origin,
        )
    except (KeyError, ValueError) as error:
        raise ModelRefused(f"model pointer does not parse: {type(error).__name__}: {error}") from error


class LayerModelStore:
    """The packaged model: `champion.json` and `<version>/model.joblib` under one folder. Read only."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def champion(self) -> ModelPointer | None:
        """The packaged pointer; None when no model was packaged."""
        try:
            document = json.loads((self._folder / "champion.json").read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise ModelRefused(f"packaged champion.json: {error}") from error
        if not isinstance(document, dict):
            raise ModelRefused("packaged champion.json is not an object")
        return model_pointer_from(document, origin="layer")

    def artifact(self, pointer: ModelPointer) -> bytes:
        """The packaged artifact."""
        try:
            return (self._folder / pointer.version / "model.joblib").read_bytes()
        except OSError as error:
            raise ModelRefused(f"packaged model {pointer.version}: {error}") from error

    def publish(self, files: ModelFiles) -> None:
        """Refused: a layer cannot be written."""
        raise ModelRefused(f"model {files.pointer.version} cannot be published into a layer")
