"""What a shard's consumer needs from outside: a shard to read, a function to invoke, a place for dead letters."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from localcloud.stream_pump.answer import Answer
from localcloud.stream_pump.mapping import EventSourceMapping
from localcloud.stream_pump.rules import Record


class SourceError(Exception):
    """The control plane or a stream did not answer; nothing was read."""


class DestinationError(Exception):
    """A dead letter could not be written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Records read in order. A closed shard has no more after these."""

    records: tuple[Record, ...]
    closed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Shard:
    """A shard as DescribeStream lists it."""

    shard_id: str
    parent_id: str | None = None


class ShardReader(Protocol):
    """Reads one shard forward. Raises `SourceError`, after which the next read continues where the last one ended."""

    def read(self, limit: int) -> Page: ...


class Streams(Protocol):
    """The source: mappings and the shards of their streams."""

    def mappings(self) -> tuple[Mapping[str, object], ...]: ...

    def disable(self, mapping_uuid: str) -> None: ...

    def shards(self, stream_arn: str) -> tuple[Shard, ...]: ...

    def reader(self, stream_arn: str, shard_id: str, *, after: str | None) -> ShardReader: ...


class Functions(Protocol):
    """The Invoke API. Never raises for a function that failed or a host that is away: the answer says so."""

    def invoke(self, mapping: EventSourceMapping, event: Mapping[str, object]) -> Answer: ...


class DeadLetters(Protocol):
    """The on-failure destination. Raises `DestinationError`."""

    def write(self, bucket: str, key: str, document: Mapping[str, object]) -> None: ...


def startable(shards: tuple[Shard, ...], finished: frozenset[str]) -> tuple[Shard, ...]:
    """Shards that may be read now: not finished, and their parent finished or gone from the stream."""
    listed = {shard.shard_id for shard in shards}
    return tuple(
        shard
        for shard in shards
        if shard.shard_id not in finished and (shard.parent_id not in listed or shard.parent_id in finished)
    )
