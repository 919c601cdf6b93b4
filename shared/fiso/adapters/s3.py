"""S3: published snapshots, models, the record archive and retraining runs, all in one bucket under keys of their own.

`client` is boto3's S3 client; for reading, `aws_client.S3Client` does as well. Pointers move last, so what they name is
always complete.
"""

import gzip
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import Any

from fiso.adapters.aws_errors import aws_errors, is_missing, store_errors
from fiso.adapters.pointers import model_pointer_from, model_pointer_to
from fiso.domain.catalog import Snapshot
from fiso.domain.catalog_codec import snapshot_from_json, snapshot_to_json
from fiso.domain.errors import ModelRefused, StoreUnavailable
from fiso.domain.model import ModelPointer, RetrainingRun
from fiso.domain.record import InvocationRecord, RecordStatus
from fiso.domain.record_codec import Json, from_document, instant, parse_instant, to_document
from fiso.domain.request import InvocationId
from fiso.ports import Clock, ModelFiles


class _Bucket:
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

    def read_json(self, key: str) -> dict[str, Any] | None:
        """The object as a JSON object."""
        body = self.read(key)
        if body is None:
            return None
        try:
            document = json.loads(body)
        except ValueError as error:
            raise StoreUnavailable(f"{key} is not JSON: {error}") from error
        if not isinstance(document, dict):
            raise StoreUnavailable(f"{key} is not a JSON object")
        return document

    def write(self, key: str, body: bytes, content_type: str) -> None:
        """Put an object."""
        with store_errors(f"write {key}"):
            self._client.put_object(Bucket=self._bucket, Key=key, Body=body, ContentType=content_type)

    def write_json(self, key: str, document: Mapping[str, Any]) -> None:
        """Put a JSON object."""
        self.write(key, json.dumps(document, sort_keys=True).encode(), "application/json")

    def keys(self, prefix: str) -> Iterator[str]:
        """Every key under a prefix, in order."""
        token: dict[str, str] = {}
        while True:
            with store_errors(f"list {prefix}"):
                page = self._client.list_objects_v2(Bucket=self._bucket, Prefix=prefix, **token)
            yield from (entry["Key"] for entry in page.get("Contents", []))
            if not page.get("IsTruncated"):
                return
            token = {"ContinuationToken": page["NextContinuationToken"]}


class S3Snapshots:
    """`policies/<version>.json`, and `policies/current.json` which names the current one."""

    def __init__(self, client: Any, bucket: str) -> None:
        self._objects = _Bucket(client, bucket)

    def current(self, *, unless_version: int | None = None) -> Snapshot | None:
        """The current snapshot; `InvalidCatalog` when it does not verify."""
        pointer = self._objects.read_json("policies/current.json")
        if pointer is None or pointer.get("version") == unless_version:
            return None
        body = self._objects.read(f"policies/{pointer.get('version')}.json")
        if body is None:
            raise StoreUnavailable(f"snapshot {pointer.get('version')} is missing")
        return snapshot_from_json(body)

    def publish(self, snapshot: Snapshot) -> None:
        """Write the version, then the pointer unless it is newer already."""
        self._objects.write(f"policies/{snapshot.version}.json", snapshot_to_json(snapshot), "application/json")
        pointer = self._objects.read_json("policies/current.json")
        if pointer is None or int(pointer.get("version", 0)) < snapshot.version:
            published_at = instant(snapshot.published_at)
            self._objects.write_json(
                "policies/current.json", {"version": snapshot.version, "published_at": published_at}
            )


class S3ModelStore:
    """`models/<version>/model.joblib` and its card, and `models/champion.json` which names the champion."""

    def __init__(self, client: Any, bucket: str) -> None:
        self._objects = _Bucket(client, bucket)

    def champion(self) -> ModelPointer | None:
        """The pointer, if one was ever published."""
        document = self._objects.read_json("models/champion.json")
        return model_pointer_from(document, origin="store") if document is not None else None

    def artifact(self, pointer: ModelPointer) -> bytes:
        """The artifact's bytes."""
        body = self._objects.read(f"models/{pointer.version}/model.joblib")
        if body is None:
            raise ModelRefused(f"model {pointer.version} has no artifact")
        return body

    def publish(self, files: ModelFiles) -> None:
        """Artifact and card first, the pointer last."""
        folder = f"models/{files.pointer.version}"
        self._objects.write(f"{folder}/model.joblib", files.artifact, "application/octet-stream")
        self._objects.write_json(f"{folder}/model_card.json", files.card)
        self._objects.write_json("models/champion.json", model_pointer_to(files.pointer))


class S3Archive:
    """`archive/date=YYYY-MM-DD/<digest of the batch>.jsonl.gz`, by the date of each record."""

    def __init__(self, client: Any, bucket: str, *, clock: Clock) -> None:
        self._objects, self._clock = _Bucket(client, bucket), clock

    def append(self, records: Sequence[InvocationRecord], *, batch_id: str) -> None:
        """One object per date. The key follows from the batch, so a repeated batch overwrites itself."""
        by_date: dict[date, list[InvocationRecord]] = {}
        for record in records:
            by_date.setdefault(record.timestamp.date(), []).append(record)
        name = hashlib.sha256(batch_id.encode()).hexdigest()[:24]
        for day, of_day in by_date.items():
            lines = "\n".join(json.dumps(to_document(record), separators=(",", ":")) for record in of_day)
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
        body = self._objects.read(key)
        if body is None:
            return
        for line in gzip.decompress(body).splitlines():
            record = from_document(json.loads(line))
            if isinstance(record, InvocationRecord):
                yield record


class S3Watermark:
    """`reconciliation/watermark.json`."""

    def __init__(self, client: Any, bucket: str) -> None:
        self._objects = _Bucket(client, bucket)

    def read(self) -> datetime | None:
        """The moment, if one was ever kept."""
        document = self._objects.read_json("reconciliation/watermark.json")
        return parse_instant(str(document["replayed_until"])) if document is not None else None

    def move(self, to: datetime) -> None:
        """Keep a moment."""
        self._objects.write_json("reconciliation/watermark.json", {"replayed_until": instant(to)})


class S3RetrainingRuns:
    """`retraining/runs/<start>.json`, one object per run."""

    def __init__(self, client: Any, bucket: str) -> None:
        self._objects = _Bucket(client, bucket)

    def append(self, run: RetrainingRun) -> None:
        """Store one run under its start."""
        document = {name: getattr(run, name) for name in RetrainingRun.__slots__}
        document["started_at"] = instant(run.started_at)
        self._objects.write_json(f"retraining/runs/{instant(run.started_at)}.json", document)

    def latest(self, limit: int) -> Sequence[RetrainingRun]:
        """The newest runs, newest first."""
        keys = sorted(self._objects.keys("retraining/runs/"), reverse=True)[:limit]
        documents = [self._objects.read_json(key) for key in keys]
        return [_run_from(document) for document in documents if document is not None]


def _run_from(document: Mapping[str, Json]) -> RetrainingRun:
    fields: dict[str, Any] = {name: document.get(name) for name in RetrainingRun.__slots__}
    fields["started_at"] = parse_instant(str(document["started_at"]))
    return RetrainingRun(**fields)
