"""Log lines of an experiment: into its folder, not among its progress."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def lines_in(folder: Path) -> Iterator[None]:
    """Everything that is logged meanwhile goes to `experiment.log` in this folder."""
    handler = logging.FileHandler(folder / "experiment.log", encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s %(message)s"))
    root = logging.getLogger()
    root.addHandler(handler)
    try:
        yield
    finally:
        root.removeHandler(handler)
        handler.close()
