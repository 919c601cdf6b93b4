"""How far one reads to follow a request: FISO's files and functions that it enters, and its moves from file to file.

Counted by a profile of the genuine handler on in-memory ports. What stands for the outside (stores, clock, the function
that is called) is not counted, nor are comprehensions and lambdas: their line stands where their function does.
"""

import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import dataclass
from io import StringIO
from itertools import pairwise
from pathlib import Path
from types import CodeType, FrameType

from tests.lab.bench import ours
from tests.lab.bench.rows import Row, at_most, row

WARM_UP = 10
BEFORE = "commit a78573b"
FILES_BEFORE, FUNCTIONS_BEFORE, MOVES_BEFORE = 37, 152, 129
COLD_FILES_BEFORE, COLD_FUNCTIONS_BEFORE, COLD_MOVES_BEFORE = 53, 248, 257
"""What that commit gives, counted like this."""
MOST_FILES, MOST_MOVES = 24, 90
"""Two thirds of what a cached request entered before the rooms were rebuilt."""


@dataclass(frozen=True, slots=True)
class Count:
    """What one request entered."""

    files: int
    functions: int
    moves: int


def rows(model_dir: Path) -> list[Row]:
    """A request whose decision is cached, then the first one of an environment."""
    with redirect_stdout(StringIO()):
        handle = ours.handler(model_dir, clock=ours.standing_clock)
        cold = counted(handle)
        for _ in range(WARM_UP):
            handle()
        cached = counted(handle)

    def of(name: str, value: int, before: int, most: int | None = None) -> Row:
        gate = at_most(most) if most else None
        return row(f"request_path_{name}", value, "entered", rival=BEFORE, rival_value=before, n=1, gate=gate)

    return [
        of("files", cached.files, FILES_BEFORE, MOST_FILES),
        of("functions", cached.functions, FUNCTIONS_BEFORE),
        of("moves", cached.moves, MOVES_BEFORE, MOST_MOVES),
        of("cold_files", cold.files, COLD_FILES_BEFORE),
        of("cold_functions", cold.functions, COLD_FUNCTIONS_BEFORE),
        of("cold_moves", cold.moves, COLD_MOVES_BEFORE),
    ]


def counted(call: Callable[[], object]) -> Count:
    """Make the call under a profile of this thread."""
    entered: list[CodeType] = []

    def note(frame: FrameType, event: str, _: object) -> None:
        if event == "call" and _is_counted(frame.f_code):
            entered.append(frame.f_code)

    sys.setprofile(note)
    try:
        call()
    finally:
        sys.setprofile(None)
    files = [code.co_filename for code in entered]
    moves = sum(one != next for one, next in pairwise(files))
    return Count(files=len(set(files)), functions=len(set(entered)), moves=moves)


def _is_counted(code: CodeType) -> bool:
    file = code.co_filename
    is_ours = "/shared/fiso" in file or "/functions/" in file
    return is_ours and "/fiso/testing/" not in file and not code.co_name.startswith("<")
