"""Unpacked code and merged layers, kept on disk by content so that an unchanged function never unpacks twice."""

import hashlib
import io
import os
import shutil
import uuid
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from localcloud.lambda_host.interpreter import link_files, move_into_place

KEPT = 40
Fetch = Callable[[str], bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class Archive:
    """A zip in the control plane: its digest and where to get it."""

    sha256: str
    location: str


class PackageCache:
    """A directory of unpacked archives. Safe to share between hosts: directories appear whole or not at all."""

    def __init__(self, directory: Path, fetch: Fetch) -> None:
        self._directory = directory
        self._fetch = fetch

    def code(self, archive: Archive) -> Path:
        """The archive's files, fetched and unpacked when they are not here yet."""
        target = self._directory / "code" / _name(archive.sha256)
        if not target.is_dir():
            content = self._fetch(archive.location)
            building = _building(target)
            _unpack(content, building)
            move_into_place(building, target)
        os.utime(target)
        return target

    def layers(self, archives: Sequence[Archive]) -> Path:
        """All layers in one directory; where two hold the same path, the later one's file counts."""
        target = self._directory / "layers" / _name(*(a.sha256 for a in archives))
        if not target.is_dir():
            building = _building(target)
            for archive in archives:
                _merge(self.code(archive), building)
            move_into_place(building, target)
        os.utime(target)
        return target

    def prune(self, kept: int = KEPT) -> None:
        """Drop all but the most recently used directories. Only before the first function runs."""
        for kind in ("code", "layers"):
            entries = sorted((self._directory / kind).glob("*"), key=lambda path: path.stat().st_mtime, reverse=True)
            for entry in entries[kept:]:
                shutil.rmtree(entry, ignore_errors=True)


def _name(*digests: str) -> str:
    return hashlib.sha256("\n".join(digests).encode()).hexdigest()[:24]


def _building(target: Path) -> Path:
    building = target.with_name(f"{target.name}.{uuid.uuid4().hex[:8]}")
    building.mkdir(parents=True)
    return building


def _unpack(content: bytes, directory: Path) -> None:
    """Extract with the archive's permissions, which zipfile alone forgets."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        for entry in archive.infolist():
            path = Path(archive.extract(entry, directory))
            permissions = entry.external_attr >> 16 & 0o777
            if permissions and not entry.is_dir():
                path.chmod(permissions | 0o444)


def _merge(source: Path, target: Path) -> None:
    for root, directories, files in os.walk(source):
        below = target / Path(root).relative_to(source)
        for directory in directories:
            (below / directory).mkdir(parents=True, exist_ok=True)
        link_files([(Path(root) / name, below / name) for name in files])
