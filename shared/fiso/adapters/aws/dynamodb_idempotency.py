"""DynamoDB: idempotency keys. A claim is one conditional put, which gives back what stands there when it fails.

Answers that do not fit an item lie in S3; the item that points to them is written after them.
docs/decisions/0009-idempotency-keys.md
"""

import hashlib
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from fiso.adapters.aws.client import binary
from fiso.adapters.aws.dynamodb import Item
from fiso.adapters.aws.errors import store_errors
from fiso.codecs.record import instant, parse_instant
from fiso.domain.errors import AllowanceSpent, StoreUnavailable, WriteConflict
from fiso.domain.idempotency import (
    DAY,
    FREE_BYTES,
    MOST_KEPT_BYTES,
    Entry,
    EntryId,
    KeptAnswer,
    former_id,
    tenant_in,
)
from fiso.domain.request import InvocationId
from fiso.ports import Clock

LARGEST_INLINE = 300 * 1024
"""Bytes of an answer's body that stay in the item; an item holds 400 KB, headers and all."""
_TRIES = 3

_IS_FREE = (
    "attribute_not_exists(idempotency_id) OR expires_at <= :now"
    " OR (attribute_not_exists(answer) AND invocation_id IN (:mine, :over))"
)
_IS_MINE = "invocation_id = :mine AND expires_at > :now AND (attribute_not_exists(answer) OR answer = :answer)"


class DynamoDBIdempotencyKeys:
    """The table `fiso-idempotency`. The clients are boto3's DynamoDB and S3 clients, or those of `aws_client`.
    `as_before`: claims are written under the names that code of before looks for, so that a key that one of them has
    claimed runs with none of them again."""

    def __init__(
        self, dynamodb: Any, table: str, *, s3: Any, bucket: str, clock: Clock, as_before: bool = False
    ) -> None:
        self._dynamodb, self._table, self._s3, self._bucket = dynamodb, table, s3, bucket
        self._clock, self._as_before = clock, as_before

    def claim(self, entry: Entry, *, over: InvocationId | None = None) -> Entry | None:
        """One conditional put. An entry that goes while it is looked at (released, expired) is claimed again."""
        elsewhere = self._elsewhere(entry.id)
        if elsewhere is not None and elsewhere.invocation_id != over:
            return elsewhere
        for _ in range(_TRIES):
            try:
                self._put_claim(entry, over)
            except WriteConflict as conflict:
                standing = self._standing_in(conflict) or self._item(self._own(entry.id))
                if standing is not None:
                    return self._entry(standing)
            else:
                return None
        raise StoreUnavailable(f"claim of {entry.invocation_id}: the entry changes too fast")

    def complete(self, entry: Entry) -> None:
        """One conditional update; before it, a large body to S3 under a name that only this invocation writes."""
        if entry.answer is None:
            raise ValueError("an entry is completed with an answer")
        self._count(entry, len(entry.answer.body))
        # A large body is written under a name of this invocation's own before the item points to it: who reads the item
        # finds the whole body, and a loser's body is never read.
        body, place = self._placed(entry, entry.answer)
        values = {
            ":mine": {"S": entry.invocation_id},
            ":now": {"N": str(self._now_s())},
            ":answer": {"S": _head(entry.answer)},
            f":{place}": body,
        }
        with store_errors(f"complete the key of {entry.invocation_id}"):
            self._dynamodb.update_item(
                TableName=self._table,
                Key=_key(self._own(entry.id)),
                UpdateExpression=f"SET answer = :answer, {place} = :{place}",
                ConditionExpression=_IS_MINE,
                ExpressionAttributeValues=values,
            )

    def _count(self, entry: Entry, size: int) -> None:
        """Count a large answer against its tenant's day, before it is kept. A repetition counts again."""
        if size <= FREE_BYTES:
            return
        now_s = self._now_s()
        day = int(now_s // DAY.total_seconds())
        try:
            with store_errors(f"count what tenant {tenant_in(entry.id)} keeps"):
                self._dynamodb.update_item(
                    TableName=self._table,
                    Key={"idempotency_id": {"S": f"kept:{tenant_in(entry.id)}#{day}"}},
                    UpdateExpression="ADD kept :size SET expires_at = :expires",
                    ConditionExpression="attribute_not_exists(kept) OR kept <= :room",
                    ExpressionAttributeValues={
                        ":size": {"N": str(size)},
                        ":room": {"N": str(MOST_KEPT_BYTES - size)},
                        ":expires": {"N": str(now_s + int(2 * DAY.total_seconds()))},
                    },
                )
        except WriteConflict as error:
            raise AllowanceSpent(f"tenant {tenant_in(entry.id)} keeps as much as it may") from error

    def find(self, id: EntryId) -> Entry | None:
        """One consistent read, and one of S3 for a large answer."""
        item = self._item(self._own(id))
        return self._entry(item) if item else None

    def release(self, entry: Entry) -> None:
        try:
            with store_errors(f"release the key of {entry.invocation_id}"):
                self._dynamodb.delete_item(
                    TableName=self._table,
                    Key=_key(self._own(entry.id)),
                    ConditionExpression="invocation_id = :mine AND attribute_not_exists(answer)",
                    ExpressionAttributeValues={":mine": {"S": entry.invocation_id}},
                )
        except WriteConflict:
            return

    def _put_claim(self, entry: Entry, over: InvocationId | None) -> None:
        values = {
            ":now": {"N": str(self._now_s())},
            ":mine": {"S": entry.invocation_id},
            ":over": {"S": over or entry.invocation_id},
        }
        with store_errors(f"claim the key of {entry.invocation_id}"):
            self._dynamodb.put_item(
                TableName=self._table,
                Item=_claim_item(entry, self._own(entry.id)),
                ConditionExpression=_IS_FREE,
                ExpressionAttributeValues=values,
                ReturnValuesOnConditionCheckFailure="ALL_OLD",
            )

    def _standing_in(self, conflict: WriteConflict) -> Item | None:
        response: Mapping[str, Any] = getattr(conflict.__cause__, "response", {})
        item: Item | None = response.get("Item")
        return item

    def _own(self, id: EntryId) -> EntryId:
        return former_id(id) if self._as_before else id

    def _elsewhere(self, id: EntryId) -> Entry | None:
        """What stands there in the other form than the one that is written. Entries live for a day: after that this can
        go. A counter of before may stand under such a name as well; it is no entry."""
        former = former_id(id)
        item = self._item(id if self._as_before else former) if former != id else None
        return self._entry(item) if item and "fingerprint" in item else None

    def _item(self, id: EntryId) -> Item | None:
        with store_errors("find a key"):
            answer = self._dynamodb.get_item(TableName=self._table, Key=_key(id), ConsistentRead=True)
            item: Item | None = answer.get("Item")
            return item if item and int(item["expires_at"]["N"]) > self._now_s() else None

    def _placed(self, entry: Entry, answer: KeptAnswer) -> tuple[dict[str, Any], str]:
        """The attribute that holds the body or says where it lies, and its name."""
        if len(answer.body) <= LARGEST_INLINE:
            return {"B": answer.body}, "body"
        name = f"idempotency/{hashlib.sha256(entry.id.encode()).hexdigest()}/{entry.invocation_id}"
        with store_errors(f"keep the answer of {entry.invocation_id}"):
            self._s3.put_object(Bucket=self._bucket, Key=name, Body=answer.body)
        return {"S": name}, "body_at"

    def _entry(self, item: Item) -> Entry:
        with store_errors("read a key's entry"):
            return Entry(
                id=EntryId(item["idempotency_id"]["S"]),
                fingerprint=item["fingerprint"]["S"],
                invocation_id=InvocationId(item["invocation_id"]["S"]),
                deadline_at=parse_instant(item["deadline_at"]["S"]),
                expires_at=datetime.fromtimestamp(int(item["expires_at"]["N"]), UTC),
                answer=self._answer(item) if "answer" in item else None,
            )

    def _answer(self, item: Item) -> KeptAnswer:
        head = json.loads(item["answer"]["S"])
        body = binary(item["body"]["B"]) if "body" in item else self._large(item["body_at"]["S"])
        if hashlib.sha256(body).hexdigest() != head["sha256"]:
            raise StoreUnavailable("a kept answer is not what was kept")
        return KeptAnswer(
            status=head["status"],
            headers=head["headers"],
            body=body,
            is_text=head["is_text"],
            cookies=tuple(head.get("cookies", ())),  # answers that were kept before there were any have none
        )

    def _large(self, name: str) -> bytes:
        body: bytes = self._s3.get_object(Bucket=self._bucket, Key=name)["Body"].read()
        return body

    def _now_s(self) -> int:
        return int(self._clock().timestamp())


def _key(id: EntryId) -> Item:
    return {"idempotency_id": {"S": id}}


def _claim_item(entry: Entry, id: EntryId) -> Item:
    return {
        **_key(id),
        "fingerprint": {"S": entry.fingerprint},
        "invocation_id": {"S": entry.invocation_id},
        "deadline_at": {"S": instant(entry.deadline_at)},
        "expires_at": {"N": str(int(entry.expires_at.timestamp()))},
    }


def _head(answer: KeptAnswer) -> str:
    """All of an answer but its body, and the body's checksum. Sorted, so the same answer is the same text."""
    document = {
        "status": answer.status,
        "headers": dict(answer.headers),
        "is_text": answer.is_text,
        "sha256": hashlib.sha256(answer.body).hexdigest(),
    } | ({"cookies": list(answer.cookies)} if answer.cookies else {})
    return json.dumps(document, separators=(",", ":"), sort_keys=True)
