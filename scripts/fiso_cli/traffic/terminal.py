"""Terminals: where results go (standard output) and where remarks go (standard error), and how figures are written."""

import json
import sys
from collections.abc import Mapping

from rich.console import Console

WIDTH_OF_FILES = 200
"""Columns where no terminal tells its own width, so that piped tables are not cut at 80."""
UNKNOWN = "-"


def out() -> Console:
    """For results."""
    return Console(width=None if sys.stdout.isatty() else WIDTH_OF_FILES, highlight=False)


def err() -> Console:
    """For progress and remarks."""
    return Console(stderr=True, width=None if sys.stderr.isatty() else WIDTH_OF_FILES, highlight=False)


def write_json(document: Mapping[str, object], *, indent: int | None = 2) -> None:
    """One JSON document on standard output."""
    sys.stdout.write(json.dumps(document, indent=indent) + "\n")
    sys.stdout.flush()


def ms(value: float | None) -> str:
    """Milliseconds, with as many decimals as they deserve."""
    if value is None:
        return UNKNOWN
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def usd(value: float | None) -> str:
    """US dollars; a single call costs about a millionth of one."""
    return UNKNOWN if value is None else f"{value:.3g}"


def share(value: float | None) -> str:
    """A share as a percentage."""
    return UNKNOWN if value is None else f"{100 * value:.1f} %"


def counts(of: Mapping[str, int]) -> str:
    """`score 12, explore 1`."""
    return ", ".join(f"{name} {count}" for name, count in of.items()) or UNKNOWN
