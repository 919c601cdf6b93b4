"""A genuine emulator of AWS for tests, on a free port, gone with the context."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.lab.chaos import emulator
from tests.lab.chaos.rig.wire import free_port

__all__ = ["free_port", "running_emulator"]


@contextmanager
def running_emulator(home: Path) -> Iterator[str]:
    """Start the emulator with its state under `home`; gives its URL."""
    with emulator.running(home) as running:
        yield running.url
