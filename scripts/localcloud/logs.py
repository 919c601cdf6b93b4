"""Logs of the components: their last lines, and what is added while one looks."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

_POLL_S = 0.2
_TAIL_BYTES = 256_000


@dataclass(slots=True)
class _Reader:
    """One log, read from where it was left; a log that was moved away or emptied is read from its new beginning."""

    path: Path
    offset: int = 0
    inode: int = 0
    rest: bytes = b""

    def last(self, count: int) -> list[str]:
        """Its last lines; reading goes on after them."""
        if not self.path.exists():
            return []
        found = self.path.stat()
        self.inode, self.offset = found.st_ino, max(0, found.st_size - _TAIL_BYTES)
        lines = self.added()
        return lines[-count:] if count else []

    def added(self) -> list[str]:
        """The whole lines that were added since."""
        if not self.path.exists():
            return []
        found = self.path.stat()
        if found.st_ino != self.inode or found.st_size < self.offset:
            self.inode, self.offset, self.rest = found.st_ino, 0, b""
        with self.path.open("rb") as file:
            file.seek(self.offset)
            text = file.read()
        self.offset += len(text)
        *lines, self.rest = (self.rest + text).split(b"\n")
        return [line.decode(errors="replace") for line in lines]


def lines(folder: Path, names: Sequence[str], *, last: int, follow: bool) -> Iterator[str]:
    """The last lines of each log, then, while following, what is added; named unless there is one log only."""
    width = max(map(len, names)) if len(names) > 1 else 0
    readers = {name: _Reader(folder / f"{name}.log") for name in names}

    def named(name: str, found: list[str]) -> list[str]:
        return [f"{name:<{width}} | {line}" for line in found] if width else found

    for name, reader in readers.items():
        yield from named(name, reader.last(last))
    while follow:
        time.sleep(_POLL_S)
        for name, reader in readers.items():
            yield from named(name, reader.added())
