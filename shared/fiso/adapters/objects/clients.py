"""Google Cloud Storage and Azure Blob Storage in the shapes of boto3's S3 client.

Google: the JSON API (cloud.google.com/storage/docs/json_api), whose generations stand for ETags, since its conditions
are on those. Azure: the Blob service (learn.microsoft.com/rest/api/storageservices), block blobs.
"""

import json
from collections.abc import Mapping
from io import BytesIO
from typing import Any
from urllib.parse import quote, urlencode, urlsplit
from xml.etree import ElementTree  # nosec B405 # of the store itself; one with a DOCTYPE is refused

from fiso.adapters.aws.client import AwsError
from fiso.adapters.identity.container_identity import Bearer
from fiso_client.core.answers import HttpAnswer
from fiso_client.core.transport import HttpTransport

TIMEOUT_S = 2.0
AZURE_VERSION = "2023-11-03"
GOOGLE = "https://storage.googleapis.com"
_ABSENT, _REFUSED = 404, (409, 412)


class _Objects:
    """What both have in common: one request, and errors under S3's names."""

    def __init__(self, transport: HttpTransport, bearer: Bearer, *, timeout_s: float = TIMEOUT_S) -> None:
        self._transport, self._bearer, self._timeout_s = transport, bearer, timeout_s

    def _ask(self, method: str, url: str, headers: Mapping[str, str], body: bytes = b"") -> HttpAnswer:
        """`AwsError` NoSuchKey, PreconditionFailed, or with the status."""
        named = {"authorization": f"Bearer {self._bearer()}", **headers}
        answer = self._transport.send(
            method, url, headers=named, body=body, timeout_s=self._timeout_s, may_repeat=method == "GET"
        )
        if answer.status == _ABSENT:
            raise AwsError("NoSuchKey", "no such object, or bucket", {})
        if answer.status in _REFUSED:
            raise AwsError("PreconditionFailed", "the condition does not hold", {})
        if answer.status >= 300:
            raise AwsError(f"HTTP{answer.status}", answer.body[:200].decode(errors="replace"), {})
        return answer


class GoogleObjects(_Objects):
    def __init__(self, transport: HttpTransport, bearer: Bearer, *, url: str = GOOGLE, **settings: float) -> None:
        super().__init__(transport, bearer, **settings)
        self._url = url

    def get_object(self, *, Bucket: str, Key: str, Range: str = "") -> dict[str, Any]:  # noqa: N803 - boto3's own names
        url = f"{self._url}/storage/v1/b/{Bucket}/o/{quote(Key, safe='')}?alt=media"
        answer = self._ask("GET", url, {"range": Range} if Range else {})
        return {"Body": BytesIO(answer.body), "ETag": answer.headers["x-goog-generation"]}

    def put_object(
        self,
        *,
        Bucket: str,  # noqa: N803
        Key: str,  # noqa: N803
        Body: bytes,  # noqa: N803
        ContentType: str = "application/octet-stream",  # noqa: N803
        IfMatch: str | None = None,  # noqa: N803
        IfNoneMatch: str | None = None,  # noqa: N803
    ) -> dict[str, Any]:
        generation = "0" if IfNoneMatch else IfMatch
        asked = {"uploadType": "media", "name": Key} | ({"ifGenerationMatch": generation} if generation else {})
        url = f"{self._url}/upload/storage/v1/b/{Bucket}/o?{urlencode(asked, quote_via=quote)}"
        answer = self._ask("POST", url, {"content-type": ContentType}, Body)
        return {"ETag": str(json.loads(answer.body)["generation"])}

    def list_objects_v2(
        self,
        *,
        Bucket: str,  # noqa: N803
        Prefix: str,  # noqa: N803
        Delimiter: str = "",  # noqa: N803
        ContinuationToken: str = "",  # noqa: N803
    ) -> dict[str, Any]:
        asked = {"prefix": Prefix, "fields": "items(name,size),prefixes,nextPageToken"}
        asked |= {"delimiter": Delimiter} if Delimiter else {}
        asked |= {"pageToken": ContinuationToken} if ContinuationToken else {}
        url = f"{self._url}/storage/v1/b/{Bucket}/o?{urlencode(asked, quote_via=quote)}"
        found = json.loads(self._ask("GET", url, {}).body)
        then = found.get("nextPageToken")
        return {
            "Contents": [{"Key": item["name"], "Size": int(item["size"])} for item in found.get("items", [])],
            "CommonPrefixes": [{"Prefix": prefix} for prefix in found.get("prefixes", [])],
            "IsTruncated": bool(then),
            "NextContinuationToken": then,
        }


class AzureObjects(_Objects):
    """Of one storage account; `Bucket` is the container."""

    def __init__(self, transport: HttpTransport, bearer: Bearer, *, url: str, **settings: float) -> None:
        super().__init__(transport, bearer, **settings)
        self._url = url.rstrip("/")

    def get_object(self, *, Bucket: str, Key: str, Range: str = "") -> dict[str, Any]:  # noqa: N803 - boto3's own names
        ranged = {"x-ms-range": Range} if Range else {}
        answer = self._ask("GET", self._blob(Bucket, Key), {"x-ms-version": AZURE_VERSION} | ranged)
        return {"Body": BytesIO(answer.body), "ETag": answer.headers["etag"]}

    def put_object(
        self,
        *,
        Bucket: str,  # noqa: N803
        Key: str,  # noqa: N803
        Body: bytes,  # noqa: N803
        ContentType: str = "application/octet-stream",  # noqa: N803
        IfMatch: str | None = None,  # noqa: N803
        IfNoneMatch: str | None = None,  # noqa: N803
    ) -> dict[str, Any]:
        headers = {"x-ms-version": AZURE_VERSION, "x-ms-blob-type": "BlockBlob", "content-type": ContentType}
        headers |= {"if-match": IfMatch} if IfMatch else {}
        headers |= {"if-none-match": IfNoneMatch} if IfNoneMatch else {}
        return {"ETag": self._ask("PUT", self._blob(Bucket, Key), headers, Body).headers["etag"]}

    def list_objects_v2(
        self,
        *,
        Bucket: str,  # noqa: N803
        Prefix: str,  # noqa: N803
        Delimiter: str = "",  # noqa: N803
        ContinuationToken: str = "",  # noqa: N803
    ) -> dict[str, Any]:
        asked = {"restype": "container", "comp": "list", "prefix": Prefix}
        asked |= {"delimiter": Delimiter} if Delimiter else {}
        asked |= {"marker": ContinuationToken} if ContinuationToken else {}
        url = f"{self._url}/{Bucket}?{urlencode(asked, quote_via=quote)}"
        body = self._ask("GET", url, {"x-ms-version": AZURE_VERSION}).body
        if b"<!DOCTYPE" in body:
            raise ValueError("a listing with a document type is none of Azure's")
        try:
            root = ElementTree.fromstring(body)  # nosec B314
        except ElementTree.ParseError as error:
            raise ValueError(f"a listing that does not parse: {error}") from error
        blobs = [
            {"Key": blob.findtext("Name", ""), "Size": int(blob.findtext("Properties/Content-Length", "0"))}
            for blob in root.iterfind("Blobs/Blob")
        ]
        then = root.findtext("NextMarker") or None
        return {
            "Contents": blobs,
            "CommonPrefixes": [{"Prefix": each.findtext("Name", "")} for each in root.iterfind("Blobs/BlobPrefix")],
            "IsTruncated": bool(then),
            "NextContinuationToken": then,
        }

    def _blob(self, container: str, key: str) -> str:
        return f"{self._url}/{container}/{quote(key, safe='/-_.~')}"


def place_of(address: str) -> tuple[str, str]:
    """Where objects are: (`gs`, bucket) of `gs://bucket`, (account's URL, container) of an Azure container's URL."""
    parts = urlsplit(address)
    if parts.scheme == "gs":
        return "gs", parts.netloc
    return f"{parts.scheme}://{parts.netloc}", parts.path.strip("/")
