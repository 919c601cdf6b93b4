"""Measured traces: where paired files of others' measurements lie. They are not part of the project."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from fiso_cli.local_stage import CHECKOUT

VARIABLE = "FISO_DATA_DIR"
"""Names the folder that holds `paired/`; without it `shared/data` beside the checkout is meant."""
ENDINGS = (".csv", ".csv.gz")


def folder(environ: Mapping[str, str] | None = None) -> Path:
    """Where the paired files are, whether or not they are there."""
    variables = os.environ if environ is None else environ
    return Path(variables.get(VARIABLE) or CHECKOUT.parent / "shared" / "data") / "paired"


def files(folder: Path) -> Sequence[Path]:
    """The paired files of a folder by name; none where the folder is absent."""
    return sorted(path for path in folder.glob("*") if path.name.endswith(ENDINGS))


def name_of(path: Path) -> str:
    """The file's name as part of a figure's: `faasdom-factors` of `faasdom-factors.csv.gz`."""
    return path.name.partition(".")[0]
