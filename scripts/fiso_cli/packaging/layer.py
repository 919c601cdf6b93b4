"""The model layer: the champion that `ml_artifacts/champion.json` names, laid out to land in /opt/model."""

import json
from pathlib import Path

from fiso_cli.errors import CommandError
from fiso_cli.packaging.archive import Entry, entries

POINTER = "champion.json"
# A layer may not be empty. Without a model the orchestrator answers from its labelled baseline.
NOTICE = "NO_MODEL"


def files(artifacts: Path, scratch: Path) -> list[Entry]:
    """The pointer and the version it names, no older ones; a notice in their place when nothing was trained yet."""
    pointer = artifacts / POINTER
    if not pointer.exists():
        notice = scratch / NOTICE
        notice.write_text("No model was packaged.\n")
        return [Entry(name=f"model/{NOTICE}", path=notice)]
    version = _version(pointer)
    folder = artifacts / version
    if not folder.is_dir():
        raise CommandError(f"{pointer} names {version}, which is not there; run `fiso train --synthetic`")
    return [Entry(name=f"model/{POINTER}", path=pointer), *entries(folder, prefix=f"model/{version}/")]


def _version(pointer: Path) -> str:
    try:
        document = json.loads(pointer.read_bytes())
    except ValueError as error:
        raise CommandError(f"{pointer} is not JSON; run `fiso train --synthetic`") from error
    version = document.get("version") if isinstance(document, dict) else None
    if not isinstance(version, str) or version in ("", "..") or Path(version).name != version:
        raise CommandError(f"{pointer} names no version; run `fiso train --synthetic`")
    return version
