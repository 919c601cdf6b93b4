"""A folder as a bucket, in the shapes of boto3's S3 client that the stores use; it outlives whoever writes it."""

import hashlib
import os
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from threading import Lock
from typing import Any

from fiso.adapters.aws.client import AwsError


class FolderBucket:
    """Objects are files; one appears whole or not at all. Conditions hold within one process."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._lock = folder, Lock()

    def get_object(self, *, Bucket: str, Key: str, Range: str = "bytes=0-") -> Mapping[str, Any]:  # noqa: N803 - boto3's
        body = self.body(Key)
        if body is None:
            raise AwsError("NoSuchKey", Key, {})
        if last := Range.removeprefix("bytes=0-"):
            body = body[: int(last) + 1]
        return {"Body": BytesIO(body), "ETag": _etag(body)}

    def put_object(
        self,
        *,
        Bucket: str,  # noqa: N803
        Key: str,  # noqa: N803
        Body: bytes,  # noqa: N803
        IfMatch: str | None = None,  # noqa: N803
        IfNoneMatch: str | None = None,  # noqa: N803
        **_: str,
    ) -> None:
        with self._lock:
            standing = self.body(Key)
            if (IfNoneMatch and standing is not None) or (IfMatch and (standing is None or _etag(standing) != IfMatch)):
                raise AwsError("PreconditionFailed", Key, {})
            path = self._folder / Key
            path.parent.mkdir(parents=True, exist_ok=True)
            part = path.with_name(f".{path.name}.{os.getpid()}.part")
            part.write_bytes(Body)
            part.replace(path)

    def list_objects_v2(
        self,
        *,
        Bucket: str,  # noqa: N803
        Prefix: str,  # noqa: N803
        Delimiter: str = "",  # noqa: N803
    ) -> Mapping[str, Any]:
        paths = [path for path in self._folder.rglob("*") if path.is_file() and path.name[0] != "."]
        sizes = {path.relative_to(self._folder).as_posix(): path.stat().st_size for path in sorted(paths)}
        found = {key: size for key, size in sizes.items() if key.startswith(Prefix)}
        below = {key for key in found if Delimiter and Delimiter in key[len(Prefix) :]}
        folders = sorted({Prefix + key[len(Prefix) :].split(Delimiter)[0] + Delimiter for key in below})
        return {
            "Contents": [{"Key": key, "Size": size} for key, size in found.items() if key not in below],
            "CommonPrefixes": [{"Prefix": folder} for folder in folders],
        }

    def body(self, key: str) -> bytes | None:
        """An object's bytes."""
        try:
            return (self._folder / key).read_bytes()
        except FileNotFoundError:
            return None


def _etag(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()
