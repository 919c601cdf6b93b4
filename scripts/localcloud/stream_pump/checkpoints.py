"""Checkpoints: how far each shard of each mapping is done, in one small JSON file that survives a restart.

A place is saved only after everything up to it is resolved or kept in the dead-letter bucket, so a crash redelivers and
never skips. The file is replaced whole; a reader sees the old or the new one.
"""

import json
import logging
import os
import threading
from dataclasses import asdict, dataclass
from pathlib import Path

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """All up to `sequence_number` is done (None: nothing yet). A finished shard is closed and read to its end."""

    sequence_number: str | None = None
    finished: bool = False


class Checkpoints:
    """The places of all shards. Safe to use from several threads."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._places = _load(path)

    def place(self, mapping_uuid: str, shard_id: str) -> Place | None:
        with self._lock:
            return self._places.get(mapping_uuid, {}).get(shard_id)

    def has_begun(self, mapping_uuid: str) -> bool:
        with self._lock:
            return mapping_uuid in self._places

    def finished(self, mapping_uuid: str) -> frozenset[str]:
        with self._lock:
            places = self._places.get(mapping_uuid, {})
            return frozenset(shard for shard, place in places.items() if place.finished)

    def save(self, mapping_uuid: str, shard_id: str, place: Place) -> None:
        with self._lock:
            shards = self._places.setdefault(mapping_uuid, {})
            if shards.get(shard_id) == place:
                return
            shards[shard_id] = place
            self._write()

    def _write(self) -> None:
        document = {
            uuid: {shard: asdict(place) for shard, place in shards.items()} for uuid, shards in self._places.items()
        }
        self._path.parent.mkdir(parents=True, exist_ok=True)
        scratch = self._path.with_name(f"{self._path.name}.{os.getpid()}.tmp")
        scratch.write_text(json.dumps(document, indent=1), encoding="utf-8")
        scratch.replace(self._path)


def _load(path: Path) -> dict[str, dict[str, Place]]:
    """A file that cannot be read counts as no checkpoint at all: streams are delivered from their horizon again."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        return {uuid: {shard: Place(**place) for shard, place in shards.items()} for uuid, shards in document.items()}
    except FileNotFoundError:
        return {}
    except (ValueError, TypeError, AttributeError) as error:
        log.warning("checkpoints in %s are unreadable (%s): delivering from the horizon", path, error)
        return {}
