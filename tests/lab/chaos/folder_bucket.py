"""A bucket in a folder, with the calls of S3 that FISO makes, shaped as boto3 shapes them. A put is atomic, as S3's is.

For experiments: what stands in it is seen by several processes, a write can be made slow, and a read can hang.
"""

import fcntl
import hashlib
import io
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

from fiso.adapters.aws.client import AwsError
from fiso.adapters.aws.s3 import S3Snapshots
from fiso_cli.training import keys

BUCKET = "b"


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderBucket:
    """`before_read` is called with each key that is read; `write_s` is how long a put takes."""

    folder: Path
    write_s: float = 0.0
    before_read: Callable[[str], None] | None = None

    def get_object(self, *, Bucket: str, Key: str) -> Mapping[str, Any]:  # noqa: N803 - boto3's own names
        """`{"Body": file, "ETag": text}`; `AwsError` NoSuchKey when there is none."""
        if self.before_read is not None:
            self.before_read(Key)
        body = self.content(Key)
        if body is None:
            raise AwsError("NoSuchKey", f"no object {Key}", {})
        return {"Body": io.BytesIO(body), "ETag": _etag(body)}

    def put_object(
        self,
        *,
        Bucket: str,  # noqa: N803
        Key: str,  # noqa: N803
        Body: bytes,  # noqa: N803
        ContentType: str,  # noqa: N803
        **conditions: str,
    ) -> None:
        """Put it whole, or not at all; `AwsError` PreconditionFailed when IfMatch or IfNoneMatch does not hold."""
        place = self.folder / Key
        place.parent.mkdir(parents=True, exist_ok=True)
        partial = place.with_name(f".{place.name}.{uuid4().hex}")
        partial.write_bytes(Body)
        time.sleep(self.write_s)
        with _held(place):
            _check(conditions, self.content(Key), Key)
            os.replace(partial, place)

    def list_objects_v2(self, *, Bucket: str, Prefix: str, **_: str) -> Mapping[str, Any]:  # noqa: N803
        """Every key under a prefix, in order."""
        found = (path.relative_to(self.folder).as_posix() for path in self.folder.rglob("*") if path.is_file())
        keys = sorted(key for key in found if key.startswith(Prefix) and "/." not in key)
        return {"Contents": [{"Key": key, "Size": (self.folder / key).stat().st_size} for key in keys]}

    def delete_objects(self, *, Bucket: str, Delete: Mapping[str, Any]) -> Mapping[str, Any]:  # noqa: N803
        """Those that are gone already are no error."""
        for named in Delete["Objects"]:
            (self.folder / named["Key"]).unlink(missing_ok=True)
        return {}

    def content(self, key: str) -> bytes | None:
        """The bytes of an object; None when there is none."""
        try:
            return (self.folder / key).read_bytes()
        except FileNotFoundError:
            return None


def snapshots_in(bucket: FolderBucket) -> S3Snapshots:
    """The published snapshots of a bucket, signed with a key that lies beside them."""
    return S3Snapshots(bucket, BUCKET, keys.sealing(keys.ensured(bucket.folder / ".signing-key")))


@contextmanager
def _held(place: Path) -> Iterator[None]:
    """One writer at a time for one object, across processes; a killed one's lock goes with its process."""
    handle = os.open(place.with_name(f".{place.name}.lock"), os.O_CREAT | os.O_RDWR, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _check(conditions: Mapping[str, str], there: bytes | None, key: str) -> None:
    wanted = conditions.get("IfMatch")
    if wanted is not None and (there is None or _etag(there) != wanted):
        raise AwsError("PreconditionFailed", f"{key} was changed meanwhile", {})
    if conditions.get("IfNoneMatch") == "*" and there is not None:
        raise AwsError("PreconditionFailed", f"{key} exists", {})


def _etag(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()
