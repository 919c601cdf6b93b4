"""Narration: what the demo says while it works: steps with their time, counts, waits with their reason."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

REMIND_EVERY_S = 15.0
"""Where no terminal shows a spinner, a wait says this often that it goes on."""


class Narration:
    """Speaks through one console."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def remark(self, text: str) -> None:
        """One line."""
        self._console.print(f"  {text}", style="dim", markup=False)

    def step(self, title: str, do: Callable[[], str]) -> None:
        """Do something that answers with one line; say how long it took."""
        start = time.monotonic()
        with self._console.status(title):
            came_of_it = do()
        self._console.print(f"{title}: {came_of_it} ({time.monotonic() - start:.1f} s)", markup=False)

    @contextmanager
    def counting(self, title: str, total: int) -> Iterator[Callable[[], None]]:
        """A bar; the function given advances it by one."""
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        start = time.monotonic()
        with Progress(*columns, console=self._console, transient=True) as progress:
            bar = progress.add_task(title, total=total)
            yield lambda: progress.advance(bar)
        self._console.print(f"{title}: {total} requests ({time.monotonic() - start:.1f} s)", markup=False)

    @contextmanager
    def waiting(self, reason: str) -> Iterator[Callable[[float], None]]:
        """A wait; the function given says how many seconds it may still take."""
        start = time.monotonic()
        last_said = start
        with self._console.status(f"waiting {reason}") as status:

            def say(left_s: float) -> None:
                nonlocal last_said
                status.update(f"waiting {reason}: {left_s:.0f} s at most")
                if not self._console.is_terminal and time.monotonic() - last_said >= REMIND_EVERY_S:
                    last_said = time.monotonic()
                    self.remark(f"waiting {reason}: {left_s:.0f} s at most")

            yield say
        self._console.print(f"waited {reason} ({time.monotonic() - start:.1f} s)", markup=False)
