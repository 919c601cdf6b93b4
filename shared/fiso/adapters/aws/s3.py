"""S3: published snapshots, the record archive and retraining runs, all in one bucket under keys of their own; the
models are in `models`.

`client` is boto3's S3 client; for reading, `client.S3Client` does as well. Pointers move last, so what they name is
always complete.
"""

import gzip
import hashlib
import json
import logging
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import Any

from fiso.adapters.aws.errors import DAMAGE, aws_errors, is_missing, store_errors
from fiso.codecs import seal
from fiso.codecs.catalog import snapshot_from_json, snapshot_to_json
from fiso.codecs.record import from_document, instant, parse_instant, to_document
from fiso.codecs.seal import CatalogSeals
from fiso.codecs.typed import Codec, Form
from fiso.domain.catalog import Snapshot
from fiso.domain.errors import InvalidCatalog, StoreUnavailable
from fiso.domain.model import RetrainingRun
from fiso.domain.record import InvocationRecord, RecordStatus
from fiso.domain.request import InvocationId
from fiso.domain.signed import SignedText
from fiso.ports import Clock
from fiso_client.core.failures import FisoError

CURRENT = "policies/current.json"

logger = logging.getLogger(__name__)


class Bucket:
    """Objects of one bucket, with errors as FISO's own."""

    def __init__(self, client: Any, bucket: str) -> None:
        self._client, self._bucket = client, bucket

    def read(self, key: str) -> bytes | None:
        """The object's bytes; None when there is none."""
        try:
            with store_errors(f"read {key}"):
                body: bytes = self._client.get_object(Bucket=self._bucket, Key=key)["Body"].read()
                return body
        except StoreUnavailable as error:
            if isinstance(error.__cause__, aws_errors()) and is_missing(error.__cause__):
                return None
            raise

    def read_json(self, key: str, *, damaged: type[FisoError] = StoreUnavailable) -> dict[str, Any] | None:
        """The object as a JSON object; `damaged` when it is none."""
        body = self.read(key)
        if body is None:
            return None
        try:
            document = json.loads(body)
        except (ValueError, RecursionError) as error:
            raise damaged(f"{key} is not JSON: {error}") from error
        if not isinstance(document, dict):
            raise damaged(f"{key} is not a JSON object")
        return document

    def etag(self, key: str) -> str | None:
        """What tells one content of the object from another; None when there is no object."""
        with store_errors(f"read {key}"):
            try:
                return str(self._client.get_object(Bucket=self._bucket, Key=key)["ETag"])
            except aws_errors() as error:
                if is_missing(error):
                    return None
                raise

    def write(self, key: str, body: bytes, content_type: str, **conditions: str) -> None:
        """Put an object. `WriteConflict` when a condition (IfMatch, IfNoneMatch) does not hold."""
        with store_errors(f"write {key}"):
            self._client.put_object(Bucket=self._bucket, Key=key, Body=body, ContentType=content_type, **conditions)

    def write_json(self, key: str, document: Mapping[str, Any], **conditions: str) -> None:
        self.write(key, json.dumps(document, sort_keys=True).encode(), "application/json", **conditions)

    def keys(self, prefix: str) -> Iterator[str]:
        token: dict[str, str] = {}
        while True:
            with store_errors(f"list {prefix}"):
                page = self._client.list_objects_v2(Bucket=self._bucket, Prefix=prefix, **token)
                found = [entry["Key"] for entry in page.get("Contents", [])]
                token = {"ContinuationToken": page["NextContinuationToken"]} if page.get("IsTruncated") else {}
            yield from found
            if not token:
                return


def unless_changed(etag: str | None) -> Mapping[str, str]:
    """The condition that an object is still the one that this was read of; None where there was none."""
    return {"IfNoneMatch": "*"} if etag is None else {"IfMatch": etag}


class S3Snapshots:
    """`policies/<version>.json`, and `policies/current.json` which names the current one and holds its seal."""

    def __init__(self, client: Any, bucket: str, seals: CatalogSeals) -> None:
        self._objects, self._seals = Bucket(client, bucket), seals

    def current(self, *, unless_version: int | None = None) -> Snapshot | None:
        pointer = self._objects.read_json(CURRENT, damaged=InvalidCatalog)
        if pointer is None or pointer.get("version") == unless_version:
            return None
        attested = self._seals.opened(SignedText.among(pointer, "seal"))
        version = pointer.get("version") if attested is None else attested.version
        body = self._objects.read(f"policies/{version}.json")
        if body is None:
            raise StoreUnavailable(f"snapshot {version} is missing")
        seal.check(attested, body)
        return snapshot_from_json(body)

    def attested(self) -> int | None:
        pointer = self._objects.read_json(CURRENT, damaged=InvalidCatalog)
        found = self._seals.opened(SignedText.among(pointer, "seal")) if pointer is not None else None
        return found.version if found is not None else None

    def publish(self, snapshot: Snapshot) -> None:
        """Write the version, then the pointer by a conditional write, unless that attests a newer version. A pointer
        that nobody trusted has signed attests nothing, whatever its number. `WriteConflict` when others publish."""
        body = snapshot_to_json(snapshot)
        sealed = self._seals.seal(snapshot.version, body)
        # Read before the comparison: whoever moves the pointer after this makes the conditional write fail.
        etag = self._objects.etag(CURRENT)
        if (self._version_that_stands() or 0) > snapshot.version:
            return
        self._objects.write(f"policies/{snapshot.version}.json", body, "application/json")
        named = {"version": snapshot.version, "published_at": instant(snapshot.published_at)}
        fields = {"seal": sealed.text, "key_id": sealed.key_id, "signature": sealed.signature}
        self._objects.write_json(CURRENT, named | fields, **(unless_changed(etag)))

    def _version_that_stands(self) -> int | None:
        try:
            return self.attested()
        except InvalidCatalog:
            return None


class S3Archive:
    """`archive/date=YYYY-MM-DD/<digest of the batch>.jsonl.gz`, by the date of each record."""

    def __init__(self, client: Any, bucket: str, *, clock: Clock) -> None:
        self._objects, self._clock = Bucket(client, bucket), clock

    def append(self, records: Sequence[InvocationRecord], *, batch_id: str) -> None:
        """One object per date. The key follows from the batch, so a repeated batch overwrites itself."""
        by_date: dict[date, list[InvocationRecord]] = {}
        for record in records:
            by_date.setdefault(record.timestamp.date(), []).append(record)
        name = hashlib.sha256(batch_id.encode()).hexdigest()[:24]
        for day, of_day in by_date.items():
            lines = "\n".join(json.dumps(to_document(record), separators=(",", ":")) for record in of_day)
            # No time in the header: the same batch is the same bytes, whenever it comes again.
            body = gzip.compress(lines.encode(), mtime=0)
            self._objects.write(f"archive/date={day.isoformat()}/{name}.jsonl.gz", body, "application/gzip")

    def since(self, first_day: date) -> Iterable[InvocationRecord]:
        """Every record of the days from `first_day` to today, once each; an unknown one where no final one came."""
        seen: set[InvocationId] = set()
        unknown: dict[InvocationId, InvocationRecord] = {}
        for record in self._every(first_day):
            if record.status is RecordStatus.UNKNOWN:
                unknown.setdefault(record.invocation_id, record)
            elif record.invocation_id not in seen:
                seen.add(record.invocation_id)
                yield record
        yield from (record for id, record in unknown.items() if id not in seen)

    def _every(self, first_day: date) -> Iterator[InvocationRecord]:
        day, today = first_day, self._clock().date()
        while day <= today:
            for key in self._objects.keys(f"archive/date={day.isoformat()}/"):
                yield from self._read(key)
            day += timedelta(days=1)

    def _read(self, key: str) -> Iterator[InvocationRecord]:
        """One object's records. What is damaged is left out and named: one bad object must not end all retraining."""
        body = self._objects.read(key)
        if body is None:
            return
        try:
            lines = gzip.decompress(body).splitlines()
        except (OSError, EOFError, zlib.error) as error:
            logger.warning("%s is left out, it does not unpack: %s", key, error)
            return
        damaged = 0
        for line in lines:
            try:
                record = from_document(json.loads(line))
            except DAMAGE:
                damaged += 1
                continue
            if isinstance(record, InvocationRecord):
                yield record
        if damaged:
            logger.warning("%d of %d records of %s are left out, they do not parse", damaged, len(lines), key)


class S3DeadLetters:
    """`dead-letters/YYYY/MM/DD/<digest of the record>.json`, in the form in which AWS leaves what a stream gave up."""

    def __init__(self, client: Any, bucket: str, *, clock: Clock) -> None:
        self._objects, self._clock = Bucket(client, bucket), clock

    def set_aside(self, stream_record: Mapping[str, object], why: str) -> None:
        now = self._clock()
        payload = json.dumps({"Records": [stream_record]}, separators=(",", ":"), sort_keys=True)
        name = hashlib.sha256(payload.encode()).hexdigest()[:24]
        document = {
            "requestContext": {"condition": "SetAside", "approximateInvokeCount": 1, "reason": why},
            "version": "1.0",
            "timestamp": instant(now),
            "payload": payload,
        }
        self._objects.write_json(f"dead-letters/{now:%Y/%m/%d}/{name}.json", document)


class S3Watermark:
    def __init__(self, client: Any, bucket: str) -> None:
        self._objects = Bucket(client, bucket)

    def read(self) -> datetime | None:
        document = self._objects.read_json("reconciliation/watermark.json")
        with store_errors("read reconciliation/watermark.json"):
            return parse_instant(str(document["replayed_until"])) if document is not None else None

    def move(self, to: datetime) -> None:
        self._objects.write_json("reconciliation/watermark.json", {"replayed_until": instant(to)})


class S3RetrainingRuns:
    def __init__(self, client: Any, bucket: str) -> None:
        self._objects = Bucket(client, bucket)

    def append(self, run: RetrainingRun) -> None:
        self._objects.write_json(f"retraining/runs/{instant(run.started_at)}.json", _RUNS.to_document(run))

    def latest(self, limit: int) -> Sequence[RetrainingRun]:
        keys = sorted(self._objects.keys("retraining/runs/"), reverse=True)[:limit]
        documents = [self._objects.read_json(key) for key in keys]
        with store_errors("read retraining/runs/"):
            return [_RUNS.from_document(RetrainingRun, document) for document in documents if document is not None]


_RUNS = Codec(forms={datetime: Form(instant, parse_instant)})
