"""The part of AWS's stores that the orchestrator calls, with boto3's names and shapes.

boto3 costs 300 ms of a cold start and 0.8 ms of CPU a call; this is 0.15 ms and needs no import beyond the standard
library. Everything that is not on the request path uses boto3. Errors carry boto3's `response` shape.
docs/decisions/0001-own-signed-aws-calls.md
"""

import base64
import json
from collections.abc import Callable, Mapping
from io import BytesIO
from typing import Any
from urllib.parse import quote

from fiso_client.core.answers import HttpAnswer
from fiso_client.core.signing import SignedService

STORE_TIMEOUT_S = 1.0


class AwsError(Exception):
    """AWS answered with an error. `response` has the shape of botocore's `ClientError.response`."""

    def __init__(self, code: str, message: str, response: Mapping[str, Any]) -> None:
        super().__init__(f"{code}: {message}")
        self.response = {**response, "Error": {"Code": code, "Message": message}}


class JsonClient:
    """boto3's client of a service that speaks JSON, for any operation, in the same shapes: `get_parameter(…)` is the
    operation GetParameter of `target`."""

    def __init__(
        self, service: SignedService, target: str, *, version: str = "1.1", timeout_s: float = STORE_TIMEOUT_S
    ) -> None:
        self._service, self._target, self._version, self._timeout_s = service, target, version, timeout_s

    def __getattr__(self, name: str) -> Callable[..., dict[str, Any]]:
        operation = "".join(part.capitalize() for part in name.split("_"))

        def call(**parameters: Any) -> dict[str, Any]:
            return self._call(operation, parameters)

        # Kept, so that the operation is looked up once: this is on the request path.
        self.__dict__[name] = call
        return call

    def _call(self, operation: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
        answer = self._service.send(
            "POST",
            "/",
            headers={
                "content-type": f"application/x-amz-json-{self._version}",
                "x-amz-target": f"{self._target}.{operation}",
            },
            body=json.dumps(parameters, default=_base64).encode(),
            timeout_s=self._timeout_s,
        )
        document = _json_object(answer.body)
        if answer.status >= 300:
            document = document or {}
            code = str(document.get("__type", f"HTTP{answer.status}")).rpartition("#")[2]
            raise AwsError(code, str(document.get("message") or document.get("Message") or ""), document)
        if document is None:  # nor is a write done that nothing of the service's confirms; writes are safe to repeat
            raise AwsError("NotJson", f"{operation} was answered with no JSON object", {})
        return document


class DynamoDBClient(JsonClient):
    """boto3's DynamoDB client."""

    def __init__(self, service: SignedService, *, timeout_s: float = STORE_TIMEOUT_S) -> None:
        super().__init__(service, "DynamoDB_20120810", version="1.0", timeout_s=timeout_s)


class S3Client:
    """boto3's S3 client, for reading and writing an object (path style)."""

    def __init__(self, service: SignedService, *, timeout_s: float = 2 * STORE_TIMEOUT_S) -> None:
        self._service, self._timeout_s = service, timeout_s

    def get_object(self, *, Bucket: str, Key: str) -> dict[str, Any]:  # noqa: N803 - boto3's own names
        """`{"Body": file, "ETag": text}`; `AwsError` NoSuchKey when there is none."""
        path = f"/{Bucket}/{quote(Key, safe='/-_.~')}"
        answer = self._service.send("GET", path, headers={}, body=b"", timeout_s=self._timeout_s)
        if answer.status == 404:
            raise AwsError("NoSuchKey", f"no object {Key}", {})
        return {"Body": BytesIO(answer.body), "ETag": _etag(answer)}

    def put_object(
        self,
        *,
        Bucket: str,  # noqa: N803 - boto3's own names
        Key: str,  # noqa: N803
        Body: bytes,  # noqa: N803
        ContentType: str | None = None,  # noqa: N803
    ) -> dict[str, Any]:
        path, headers = f"/{Bucket}/{quote(Key, safe='/-_.~')}", {"content-type": ContentType} if ContentType else {}
        return {"ETag": _etag(self._service.send("PUT", path, headers=headers, body=Body, timeout_s=self._timeout_s))}


def binary(value: bytes | str) -> bytes:
    """A binary attribute that was read: bytes from boto3, base64 as it is on the wire from `DynamoDBClient`."""
    return base64.b64decode(value) if isinstance(value, str) else bytes(value)


def _base64(value: object) -> str:
    """A binary attribute as DynamoDB's protocol has it."""
    if isinstance(value, bytes):
        return base64.b64encode(value).decode("ascii")
    raise TypeError(f"{type(value).__name__} is no part of a request")


def _json_object(body: bytes) -> dict[str, Any] | None:
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return document if isinstance(document, dict) else None


def _etag(answer: HttpAnswer) -> str:
    """What S3 says of every object that it gave or took, and a proxy's page says not."""
    if answer.status >= 300:
        raise AwsError(f"HTTP{answer.status}", answer.body[:200].decode(errors="replace"), {})
    if "etag" not in answer.headers:
        raise AwsError("NoETag", "not S3's answer", {})
    return answer.headers["etag"]
