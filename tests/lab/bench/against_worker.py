"""One tree's side of `bench --against`: times that tree's own bench code. Run in the tree, by its path.

`python -P against_worker.py MODEL_DIR`: each line of standard input is a JSON list of a row's name and a number of
calls; the answer is a line of JSON, the seconds that each of them took. Nothing of the tree that this file lies in is
imported.
"""

import json
import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from functools import cache
from importlib import import_module
from io import StringIO
from pathlib import Path
from time import perf_counter
from types import ModuleType

NEW_CONTEXTS = 1_000
"""More than are asked for."""


def main(model_dir: Path) -> None:
    """Answer until standard input ends."""
    call_of = cache(lambda row: call(row, model_dir))
    for line in sys.stdin:
        row, times = json.loads(line)
        with redirect_stdout(StringIO()):
            taken = [seconds(call_of(row)) for _ in range(times)]
        sys.stdout.write(json.dumps(taken) + "\n")
        sys.stdout.flush()


def call(row: str, model_dir: Path) -> Callable[[], object]:
    """What a row times."""
    if row.startswith("handler_"):
        handler: Callable[[], object] = bench("ours").handler(model_dir, is_repeatable=row == "handler_repeatable")
        return handler
    decisions = bench("decisions")
    model = decisions.model_of(model_dir)
    if row == "decide_seen_12":
        seen: Callable[[], object] = decisions.SeenDecisions(model)
        return seen
    worlds = decisions.one_world if row == "decide_new_12" else decisions.changing_worlds
    new: Callable[[], object] = decisions.NewDecisions(model, worlds(model), NEW_CONTEXTS)
    return new


def bench(module: str) -> ModuleType:
    """A module of the tree's bench, wherever that tree keeps it."""
    package = "tests.lab.bench" if Path("tests/lab/bench").exists() else "fiso_cli.bench"
    return import_module(f"{package}.{module}")


def seconds(timed: Callable[[], object]) -> float:
    """What one call takes."""
    start = perf_counter()
    timed()
    return perf_counter() - start


if __name__ == "__main__":
    main(Path(sys.argv[1]))
