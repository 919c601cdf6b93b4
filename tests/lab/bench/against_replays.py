"""Another tree's side of the adversarial worlds: its own router replays files. Run in the tree, by its path.

`python -P against_replays.py OBJECTIVE FILE ...` prints a line of JSON for each: what the router was charged, over the
best single endpoint. Nothing of the tree that this file lies in is imported.
"""

import json
import sys
from contextlib import redirect_stderr, redirect_stdout
from importlib import import_module
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory


def main(objective: str, files: list[str]) -> None:
    """Replay each file once."""
    app = import_module("fiso_cli.main").app
    with TemporaryDirectory() as folder:
        figures = Path(folder) / "figures.json"
        for file in files:
            command = ["fiso", "replay", "--trace", file, "--objective", objective, "--seeds", "1"]
            with redirect_stdout(StringIO()), redirect_stderr(StringIO()):
                # Until November 2026 the file's option was called --json.
                for option in ("--out", "--json"):
                    sys.argv = [*command, option, str(figures)]
                    try:
                        app()
                    except SystemExit as done:
                        if not done.code:
                            break
            sys.stdout.write(json.dumps(json.loads(figures.read_text())["fiso"]["worst_case"]) + "\n")
            sys.stdout.flush()
            figures.unlink()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
