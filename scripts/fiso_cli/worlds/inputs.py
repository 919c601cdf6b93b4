"""Inputs: tables in files, where measured traces lie."""

import csv
import os
from collections.abc import Mapping, Sequence
from itertools import zip_longest
from pathlib import Path

from fiso_cli.errors import BadInput
from fiso_cli.local_stage import CHECKOUT
from fiso_cli.rendering import one_line

VARIABLE = "FISO_DATA_DIR"
"""Names the folder that holds others' measurements, which are not part of the project; else `shared/data` beside it."""
ENDINGS = (".csv", ".csv.gz")


def csv_rows(path: Path) -> list[list[str]]:
    """The rows that are not empty, the header first. `BadInput`."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as lines:
            return [row for row in csv.reader(lines) if row]
    except OSError as error:
        raise BadInput(f"{path}: {error.strerror}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise BadInput(f"{path}: {one_line(error)}") from error


def csv_records(path: Path) -> list[dict[str, str]]:
    """The rows under the header by its names; what a row lacks is empty. `BadInput`."""
    header, *rows = csv_rows(path) or [[]]
    return [dict(zip_longest(header, row[: len(header)], fillvalue="")) for row in rows]


def paired_folder(environ: Mapping[str, str] | None = None) -> Path:
    """Where paired traces are, whether or not they are there."""
    variables = os.environ if environ is None else environ
    return Path(variables.get(VARIABLE) or CHECKOUT.parent / "shared" / "data") / "paired"


def paired_files(folder: Path) -> Sequence[Path]:
    """The paired traces of a folder by name; none where the folder is absent."""
    return sorted(path for path in folder.glob("*") if path.name.endswith(ENDINGS))
