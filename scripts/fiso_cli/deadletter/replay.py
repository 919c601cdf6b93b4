"""Replaying: a dead letter's records go through the consumer's own path again, then it is moved aside.

Both steps survive repetition: a record is folded once by its mark, and one that was not moved comes again. As in
the consumer, what is folded is what the log holds, and it holds nothing whose mark may be gone.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from fiso.adapters.aws.dynamodb import key_of_item
from fiso.adapters.aws.errors import DAMAGE
from fiso.domain.errors import StoreError
from fiso.domain.record import InvocationRecord
from fiso.ports import ArchiveSink, EndpointStates, RecordedRecords
from fiso.services.log.ingest import ingest
from fiso_cli.deadletter.dead_letters import PREFIXES, REPLAYED, DeadLetter, dead_letter_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Replayed:
    """What became of one dead letter. `left`: records that still do not parse, for which it stays where it is. `gone`:
    of which the log holds nothing, or nothing any more."""

    id: str
    folded: int = 0
    already_folded: int = 0
    left: int = 0
    gone: int = 0
    refused: str | None = None


class DeadLetterBucket:
    """The dead letters of a stage's bucket. `client` is boto3's S3 client."""

    def __init__(self, client: Any, bucket: str) -> None:
        self._client, self._bucket = client, bucket

    def waiting(self) -> Iterator[DeadLetter]:
        """Those that were not replayed."""
        for prefix in PREFIXES:
            yield from (self._read(key) for key in self._keys(prefix) if not key.startswith(REPLAYED))

    def replayed(self) -> Iterator[DeadLetter]:
        """Those that were."""
        yield from (self._read(key) for key in self._keys(REPLAYED))

    def set_aside(self, letter: DeadLetter) -> None:
        """Move it to the replayed ones; it is never gone from both places."""
        source = {"Bucket": self._bucket, "Key": letter.key}
        self._client.copy_object(Bucket=self._bucket, Key=REPLAYED + letter.key, CopySource=source)
        self._client.delete_object(**source)

    def _read(self, key: str) -> DeadLetter:
        body: bytes = self._client.get_object(Bucket=self._bucket, Key=key)["Body"].read()
        return dead_letter_of(key, body)

    def _keys(self, prefix: str) -> Iterator[str]:
        for page in self._client.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=prefix):
            yield from (entry["Key"] for entry in page.get("Contents", []))


def replay(
    letter: DeadLetter, box: DeadLetterBucket, log: RecordedRecords, states: EndpointStates, archive: ArchiveSink
) -> Replayed:
    """Fold what can be read; move it when nothing is left in it that cannot."""
    if letter.problem is not None:
        return Replayed(id=letter.id, refused=letter.problem)
    images = [each.event["dynamodb"]["NewImage"] for each in letter.records if each.record is not None]
    keys = {key for image in images if (key := key_of_item(image)) is not None}
    try:
        records = [each for each in log.recorded(keys).values() if isinstance(each, InvocationRecord)]
        done = ingest(records, states=states, archive=archive, batch_id=f"dead-letter-{letter.id}")
    except StoreError as error:
        return Replayed(id=letter.id, refused=f"a store is unavailable, try again: {error}")
    except DAMAGE as error:
        return Replayed(id=letter.id, refused=f"cannot be folded: {type(error).__name__}: {error}")
    if not letter.unreadable:
        box.set_aside(letter)
    return Replayed(
        id=letter.id,
        folded=done.folded,
        already_folded=done.already_folded,
        left=len(letter.unreadable),
        gone=len(keys) - len(records),
    )
