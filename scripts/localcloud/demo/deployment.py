"""Deployments: the plain `serverless deploy` as a child process, its output in a log, its end shown when it fails."""

import subprocess
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from fiso_cli.errors import CommandError

TAIL_LINES = 25


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """One run of the `serverless` command. `root` is the checkout; `log` takes everything it says."""

    root: Path
    log: Path
    environment: Mapping[str, str]
    stage: str

    def run(self) -> None:
        """Deploy. `CommandError` with the log's end when it fails, or when the command is not installed."""
        self.execute([str(self.root / "node_modules" / ".bin" / "serverless"), "deploy", "--stage", self.stage])

    def execute(self, command: Sequence[str]) -> None:
        """Run a command with its output in the log."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("wb") as log:
            try:
                done = subprocess.run(
                    command, cwd=self.root, env=dict(self.environment), stdout=log, stderr=log, check=False
                )
            except FileNotFoundError as error:
                raise CommandError(f"{command[0]} is not installed: run `make setup`") from error
        if done.returncode != 0:
            said = tail(self.log.read_text(errors="replace"))
            raise CommandError(f"the deployment failed (exit {done.returncode}); the end of {self.log}:\n{said}")


def tail(text: str, lines: int = TAIL_LINES) -> str:
    """The last lines that say something."""
    return "\n".join(deque((line.rstrip() for line in text.splitlines() if line.strip()), maxlen=lines))
