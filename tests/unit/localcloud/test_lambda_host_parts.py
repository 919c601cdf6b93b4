"""The Lambda host's parts that keep something: unpacked packages, waiting log events, recorded AWS calls."""

import asyncio
import hashlib
import io
import os
import stat
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from localcloud.lambda_host.environment import LogEvent
from localcloud.lambda_host.interpreter import Archive, PackageCache
from localcloud.lambda_host.shipping import LogHub


class Shelf:
    """Archives by location, and how often each was fetched."""

    def __init__(self) -> None:
        self.contents: dict[str, bytes] = {}
        self.fetched: list[str] = []

    def put(self, location: str, files: Mapping[str, str], mode: int = 0o600) -> Archive:
        content = io.BytesIO()
        with zipfile.ZipFile(content, "w") as archive:
            for name, text in files.items():
                entry = zipfile.ZipInfo(name)
                entry.external_attr = mode << 16
                archive.writestr(entry, text)
        self.contents[location] = content.getvalue()
        return Archive(sha256=hashlib.sha256(content.getvalue()).hexdigest(), location=location)

    def fetch(self, location: str) -> bytes:
        self.fetched.append(location)
        return self.contents[location]


def test_unchanged_code_is_fetched_once(tmp_path: Path) -> None:
    shelf = Shelf()
    cache = PackageCache(tmp_path, shelf.fetch)
    archive = shelf.put("code", {"a.py": "1"})
    assert cache.code(archive) == cache.code(archive)
    assert shelf.fetched == ["code"]


def test_permissions_survive_and_everything_is_readable(tmp_path: Path) -> None:
    shelf = Shelf()
    code = PackageCache(tmp_path, shelf.fetch).code(shelf.put("code", {"bin/run": "x"}, mode=0o700))
    assert stat.S_IMODE((code / "bin/run").stat().st_mode) == 0o744


def test_a_later_layer_replaces_a_file_and_leaves_the_earlier_layer_as_it_was(tmp_path: Path) -> None:
    shelf = Shelf()
    cache = PackageCache(tmp_path, shelf.fetch)
    first, second = shelf.put("1", {"x": "1", "only": "1"}), shelf.put("2", {"x": "2"})
    merged, turned = cache.layers([first, second]), cache.layers([second, first])
    assert {p.name: p.read_text() for p in merged.iterdir()} == {"x": "2", "only": "1"}
    assert (turned / "x").read_text() == "1"
    assert (cache.code(first) / "x").read_text() == "1"


def test_pruning_keeps_what_was_used_last(tmp_path: Path) -> None:
    shelf = Shelf()
    cache = PackageCache(tmp_path, shelf.fetch)
    old, new = shelf.put("old", {"a": "1"}), shelf.put("new", {"a": "2"})
    paths = [cache.code(new), cache.code(old)]
    os.utime(paths[1], (0, 0))
    cache.prune(kept=1)
    assert [p.is_dir() for p in paths] == [True, False]


class Delivered:
    """A destination that remembers."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []

    def deliver(self, events: Sequence[LogEvent]) -> None:
        self.batches.append([event.message for event in events])


def event(message: str, function: str = "f") -> LogEvent:
    return LogEvent(function=function, group="g", stream="s", timestamp_ms=1, message=message)


def test_a_full_queue_drops_the_oldest_and_counts_them() -> None:
    destination = Delivered()
    hub = LogHub(destination, waiting_limit=2)
    for message in "abcd":
        hub.emit(event(message))
    asyncio.run(hub.flush())
    assert (destination.batches, hub.dropped) == ([["c", "d"]], 2)
