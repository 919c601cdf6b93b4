"""Dead letters: invocation records in the on-failure bucket, read as what they hold and why it was given up.

AWS leaves one object per batch under `aws/lambda/<mapping>/<shard>/`, with the whole event as JSON text in `payload`;
the local pump leaves the same, and the consumer one for each record that it set aside. Pure: bytes in, values out.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Any

from fiso.adapters.aws.dynamodb import record_from_item
from fiso.codecs.record import parse_instant
from fiso.domain.errors import InvalidRecord
from fiso.domain.record import InvocationRecord

PREFIXES = ("aws/lambda/", "dead-letters/")
REPLAYED = "dead-letters/replayed/"
"""Where a dead letter is moved once everything in it is folded. The rest of the key is its first one."""
ID_LENGTH = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamRecord:
    """One stream record. `record` is None where it does not parse (`problem` says why) or has nothing to fold
    (`problem` is None too)."""

    sequence_number: str
    event: Mapping[str, Any]
    record: InvocationRecord | None
    problem: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter:
    """One object. `problem`: why it cannot be read as one at all. `deliveries` as the mapping counted them.
    `reason`: why the consumer set it aside; None where the mapping gave it up."""

    id: str
    key: str
    condition: str | None = None
    given_up_at: datetime | None = None
    deliveries: int | None = None
    shard: str | None = None
    records: tuple[StreamRecord, ...] = ()
    problem: str | None = None
    reason: str | None = None

    @property
    def readable(self) -> Sequence[InvocationRecord]:
        """What can be folded."""
        return [each.record for each in self.records if each.record is not None]

    @property
    def unreadable(self) -> Sequence[StreamRecord]:
        """What still does not parse."""
        return [each for each in self.records if each.problem is not None]

    @property
    def why(self) -> str:
        """In a line: what is wrong with it now."""
        if self.problem is not None:
            return self.problem
        if self.unreadable:
            return str(self.unreadable[0].problem)
        then = self.reason or "the store was away, or the code could not read it then"
        return f"can be read: {then}"


def id_of(key: str) -> str:
    """A dead letter's short name; the same before and after it is moved."""
    return sha256(key.removeprefix(REPLAYED).encode()).hexdigest()[:ID_LENGTH]


def dead_letter_of(key: str, body: bytes) -> DeadLetter:
    """An object as a dead letter. Never raises: what it cannot read it says."""
    try:
        document = json.loads(body)
        context, info = document["requestContext"], document.get("DDBStreamBatchInfo") or {}
        return DeadLetter(
            id=id_of(key),
            key=key,
            condition=str(context.get("condition")),
            given_up_at=parse_instant(document["timestamp"]) if "timestamp" in document else None,
            deliveries=context.get("approximateInvokeCount"),
            shard=info.get("shardId"),
            reason=context.get("reason"),
            records=tuple(_record_of(event) for event in _events(document["payload"])),
        )
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        return DeadLetter(id=id_of(key), key=key, problem=f"not an invocation record: {type(error).__name__}: {error}")


def document_of(letter: DeadLetter, *, whole: bool = False) -> dict[str, object]:
    """JSON-able; with `whole`, the stream records as they are."""
    records: list[dict[str, object]] = [
        {
            "sequence_number": each.sequence_number,
            "invocation_id": each.record.invocation_id if each.record else None,
            "problem": each.problem,
            **({"event": each.event} if whole else {}),
        }
        for each in letter.records
    ]
    return {
        "id": letter.id,
        "key": letter.key,
        "given_up_at": letter.given_up_at.isoformat() if letter.given_up_at else None,
        "condition": letter.condition,
        "deliveries": letter.deliveries,
        "shard": letter.shard,
        "why": letter.why,
        "readable": len(letter.readable),
        "unreadable": len(letter.unreadable),
        "records": records,
    }


def _events(payload: object) -> Sequence[Mapping[str, Any]]:
    """The whole event, as text or as an object."""
    event = json.loads(payload) if isinstance(payload, str) else payload
    records = event["Records"] if isinstance(event, dict) else event
    if not isinstance(records, list) or not all(isinstance(record, dict) for record in records):
        raise TypeError("the payload holds no records")
    return records


def _record_of(event: Mapping[str, Any]) -> StreamRecord:
    change = event["dynamodb"]
    number, image = str(change["SequenceNumber"]), change.get("NewImage")
    record, problem = None, None
    if image is not None:
        try:
            parsed = record_from_item(image)
            record = parsed if isinstance(parsed, InvocationRecord) else None
        except InvalidRecord as error:
            problem = str(error)
    return StreamRecord(sequence_number=number, event=event, record=record, problem=problem)
