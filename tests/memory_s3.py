"""S3 in memory, as boto3 shapes what FISO calls of it; pages of a listing as short as a test wants them."""

import hashlib
import io
from collections.abc import Callable, Mapping
from threading import Lock
from typing import Any

from fiso.adapters.aws.client import AwsError

Before = Callable[[str, Mapping[str, Any]], None]


class MemoryS3:
    """One bucket. `before` hears of each operation, and may raise in its place; `calls` counts them."""

    def __init__(self, *, page: int = 1_000) -> None:
        self.objects: dict[str, bytes] = {}
        self.before: Before = lambda operation, asked: None
        self.calls: dict[str, int] = {}
        self._page, self._lock = page, Lock()

    def put_object(self, **asked: Any) -> Mapping[str, Any]:
        self._told("put", asked)
        with self._lock:
            key, there = asked["Key"], self.objects.get(asked["Key"])
            etag = None if there is None else _etag(there)
            if asked.get("IfMatch", etag) != etag or (asked.get("IfNoneMatch") == "*" and there is not None):
                raise AwsError("PreconditionFailed", key, {})
            self.objects[key] = asked["Body"]
        return {"ETag": _etag(asked["Body"])}

    def get_object(self, **asked: Any) -> Mapping[str, Any]:
        self._told("get", asked)
        body = self.objects.get(asked["Key"])
        if body is None:
            raise AwsError("NoSuchKey", asked["Key"], {})
        end = int(asked["Range"].removeprefix("bytes=0-")) + 1 if "Range" in asked else None
        return {"Body": io.BytesIO(body[:end]), "ETag": _etag(body)}

    def list_objects_v2(self, **asked: Any) -> Mapping[str, Any]:
        self._told("list", asked)
        prefix, after, delimiter = asked["Prefix"], asked.get("ContinuationToken", ""), asked.get("Delimiter")
        with self._lock:
            found: dict[str, bool] = {}
            for key in sorted(key for key in self.objects if key.startswith(prefix)):
                folder, slash, _ = key[len(prefix) :].partition(delimiter) if delimiter else ("", "", "")
                found.setdefault(prefix + folder + slash if slash else key, bool(slash))
            names = [name for name in found if name > after][: self._page + 1]
            shown = names[: self._page]
            return {
                "Contents": [{"Key": key, "Size": len(self.objects[key])} for key in shown if not found[key]],
                "CommonPrefixes": [{"Prefix": name} for name in shown if found[name]],
                "IsTruncated": len(names) > self._page,
                "NextContinuationToken": shown[-1] if len(names) > self._page else "",
            }

    def delete_objects(self, **asked: Any) -> Mapping[str, Any]:
        self._told("delete", asked)
        with self._lock:
            for named in asked["Delete"]["Objects"]:
                self.objects.pop(named["Key"], None)
        return {}

    def _told(self, operation: str, asked: Mapping[str, Any]) -> None:
        with self._lock:
            self.calls[operation] = self.calls.get(operation, 0) + 1
        self.before(operation, asked)


def _etag(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()
