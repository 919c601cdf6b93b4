"""S3: published snapshots and retraining runs, all in one bucket under keys of their own; the models are in `models`,
the records in `archive`.

`client` is boto3's S3 client; for reading, `client.S3Client` does as well. Pointers move last, so what they name is
always complete.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from fiso.adapters.aws.errors import aws_errors, is_missing, store_errors
from fiso.codecs import seal
from fiso.codecs.catalog import snapshot_from_json, snapshot_to_json
from fiso.codecs.record import instant, parse_instant
from fiso.codecs.seal import CatalogSeals
from fiso.domain.catalog import Attested, Snapshot
from fiso.domain.errors import InvalidCatalog, StoreUnavailable, WriteConflict
from fiso.domain.model import RetrainingRun
from fiso.domain.signed import SignedText
from fiso.ports import Clock
from fiso_client.core.failures import FisoError

if TYPE_CHECKING:
    from fiso.domain.drift import DriftReport

CURRENT = "policies/current.json"
MOST_DELETED = 1_000
"""S3's limit of one DeleteObjects."""


@dataclass(frozen=True, slots=True)
class Entry:
    """An object as a listing names it."""

    key: str
    size: int


@dataclass(frozen=True, slots=True)
class Page:
    """One answer of a listing, in the order of keys: objects, and folders where they were asked for. `then` is asked
    for the next one; None after the last."""

    entries: tuple[Entry, ...]
    folders: tuple[str, ...] = ()
    then: str | None = None


class Bucket:
    """Objects of one bucket, with errors as FISO's own."""

    def __init__(self, client: Any, bucket: str) -> None:
        self._client, self._bucket = client, bucket

    def read(self, key: str, *, first: int | None = None) -> bytes | None:
        """The object's bytes, or the `first` ones; None when there is none."""
        part = {} if first is None else {"Range": f"bytes=0-{first - 1}"}
        try:
            with store_errors(f"read {key}"):
                body: bytes = self._client.get_object(Bucket=self._bucket, Key=key, **part)["Body"].read()
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

    def write(self, key: str, body: bytes, content_type: str, **conditions: str) -> str | None:
        """Put an object; S3's ETag of it. `WriteConflict` when a condition (IfMatch, IfNoneMatch) does not hold."""
        with store_errors(f"write {key}"):
            answer = self._client.put_object(
                Bucket=self._bucket, Key=key, Body=body, ContentType=content_type, **conditions
            )
            return str(answer["ETag"]) if answer else None

    def write_json(self, key: str, document: Mapping[str, Any], **conditions: str) -> None:
        self.write(key, json.dumps(document, sort_keys=True).encode(), "application/json", **conditions)

    def keys(self, prefix: str) -> Iterator[str]:
        return (entry.key for entry in self.entries(prefix))

    def entries(self, prefix: str) -> Iterator[Entry]:
        """Every object below a prefix, page by page as they are asked for."""
        then: str | None = None
        while True:
            page = self.page(prefix, then=then)
            yield from page.entries
            then = page.then
            if then is None:
                return

    def page(self, prefix: str, *, then: str | None = None, folders: bool = False) -> Page:
        """One page of a listing; with `folders` what lies deeper is told by its folder alone."""
        asked = {"ContinuationToken": then} if then else {}
        if folders:
            asked["Delimiter"] = "/"
        with store_errors(f"list {prefix}"):
            answer = self._client.list_objects_v2(Bucket=self._bucket, Prefix=prefix, **asked)
            return Page(
                entries=tuple(Entry(str(entry["Key"]), int(entry["Size"])) for entry in answer.get("Contents", [])),
                folders=tuple(str(entry["Prefix"]) for entry in answer.get("CommonPrefixes", [])),
                then=answer["NextContinuationToken"] if answer.get("IsTruncated") else None,
            )

    def delete(self, keys: Sequence[str]) -> None:
        """Delete objects; those that are gone already are no error. `StoreUnavailable` when one still stands."""
        for first in range(0, len(keys), MOST_DELETED):
            named = [{"Key": key} for key in keys[first : first + MOST_DELETED]]
            with store_errors("delete objects"):
                answer = self._client.delete_objects(Bucket=self._bucket, Delete={"Objects": named, "Quiet": True})
                left = answer.get("Errors", [])
            if left:
                raise StoreUnavailable(f"{len(left)} objects could not be deleted, {left[0].get('Key')} among them")


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
        found = self._attested()
        return found.version if found is not None else None

    def of_version(self, version: int) -> Snapshot | None:
        """What was published under a number, to be looked at: the seal is of the current one alone."""
        body = self._objects.read(f"policies/{version}.json")
        return snapshot_from_json(body) if body is not None else None

    def publish(self, snapshot: Snapshot) -> None:
        """Write the version, then the pointer by a conditional write, unless that attests a newer version. A pointer
        that nobody trusted has signed attests nothing, whatever its number. `WriteConflict` when others publish, or
        have published something else under this number."""
        body = snapshot_to_json(snapshot)
        sealed = self._seals.seal(snapshot.version, body)
        # Read before the comparison: whoever moves the pointer after this makes the conditional write fail.
        etag = self._objects.etag(CURRENT)
        standing = self._that_stands()
        if standing is not None and standing.version > snapshot.version:
            return
        if standing is not None and standing.version == snapshot.version and not seal.is_of(standing, body):
            raise WriteConflict(f"version {snapshot.version} is published with other content")
        self._write_version(snapshot.version, body, standing)
        named = {"version": snapshot.version, "published_at": instant(snapshot.published_at)}
        fields = {"seal": sealed.text, "key_id": sealed.key_id, "signature": sealed.signature}
        self._objects.write_json(CURRENT, named | fields, **(unless_changed(etag)))

    def _write_version(self, version: int, body: bytes, standing: Attested | None) -> None:
        """Never over another one's that may be about to be named: whoever fails to move the pointer would leave its
        own bytes under the name that the pointer has."""
        key = f"policies/{version}.json"
        if standing is None or standing.version == version:
            self._objects.write(key, body, "application/json")
            return
        try:
            self._objects.write(key, body, "application/json", IfNoneMatch="*")
        except WriteConflict:
            if self._objects.read(key) != body:
                raise

    def _attested(self) -> Attested | None:
        pointer = self._objects.read_json(CURRENT, damaged=InvalidCatalog)
        return self._seals.opened(SignedText.among(pointer, "seal")) if pointer is not None else None

    def _that_stands(self) -> Attested | None:
        try:
            return self._attested()
        except InvalidCatalog:
            return None


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
    """`reconciliation/<of>.json`: of spilled lines, or of a front door's log elsewhere."""

    def __init__(self, client: Any, bucket: str, *, of: str = "watermark") -> None:
        self._objects, self._key = Bucket(client, bucket), f"reconciliation/{of}.json"

    def read(self) -> datetime | None:
        document = self._objects.read_json(self._key)
        with store_errors(f"read {self._key}"):
            return parse_instant(str(document["replayed_until"])) if document is not None else None

    def move(self, to: datetime) -> None:
        self._objects.write_json(self._key, {"replayed_until": instant(to)})


class S3RetrainingRuns:
    def __init__(self, client: Any, bucket: str) -> None:
        self._objects = Bucket(client, bucket)

    def append(self, run: RetrainingRun) -> None:
        from fiso.codecs.run import RUNS

        self._objects.write_json(f"retraining/runs/{instant(run.started_at)}.json", RUNS.to_document(run))

    def latest(self, limit: int) -> Sequence[RetrainingRun]:
        from fiso.codecs.run import RUNS

        keys = sorted(self._objects.keys("retraining/runs/"), reverse=True)[:limit]
        documents = [self._objects.read_json(key) for key in keys]
        with store_errors("read retraining/runs/"):
            return [RUNS.from_document(RetrainingRun, document) for document in documents if document is not None]


class S3DriftReports:
    def __init__(self, client: Any, bucket: str) -> None:
        self._objects = Bucket(client, bucket)

    def append(self, report: "DriftReport") -> None:
        from fiso.codecs.run import RUNS

        self._objects.write_json(f"retraining/drift/{instant(report.at)}.json", RUNS.to_document(report))

    def latest(self, limit: int) -> Sequence["DriftReport"]:
        from fiso.codecs.run import RUNS
        from fiso.domain.drift import DriftReport

        keys = sorted(self._objects.keys("retraining/drift/"), reverse=True)[:limit]
        documents = [self._objects.read_json(key) for key in keys]
        with store_errors("read retraining/drift/"):
            return [RUNS.from_document(DriftReport, document) for document in documents if document is not None]
