"""Clients of AWS in the adapters' eyes: they keep what they are asked, and answer what they were told."""

import io
from collections.abc import Callable, Mapping
from typing import Any

from botocore.exceptions import ClientError


class RecordingClient:
    """Any service. `answers` by operation; an empty one where none is given."""

    def __init__(self, **answers: Mapping[str, Any]) -> None:
        self._answers = answers
        self.requests: list[dict[str, Any]] = []

    def __getattr__(self, operation: str) -> Callable[..., Mapping[str, Any]]:
        def call(**parameters: Any) -> Mapping[str, Any]:
            self.requests.append({operation: parameters})
            return self._answers.get(operation, {})

        return call

    @property
    def only_request(self) -> dict[str, Any]:
        """The one request there was."""
        (request,) = self.requests
        return request


class Objects:
    """S3: the objects of one bucket by key, and the requests that wrote them."""

    def __init__(self) -> None:
        self.bodies: dict[str, bytes] = {}
        self.puts: list[dict[str, Any]] = []

    def put_object(self, **parameters: Any) -> None:
        self.puts.append(parameters)
        self.bodies[parameters["Key"]] = parameters["Body"]

    def get_object(self, **parameters: Any) -> dict[str, Any]:
        if parameters["Key"] not in self.bodies:
            raise ClientError({"Error": {"Code": "NoSuchKey"}}, "GetObject")
        return {"Body": io.BytesIO(self.bodies[parameters["Key"]]), "ETag": '"e"'}

    def list_objects_v2(self, **parameters: Any) -> dict[str, Any]:
        found = [key for key in sorted(self.bodies) if key.startswith(parameters["Prefix"])]
        return {"Contents": [{"Key": key, "Size": len(self.bodies[key])} for key in found]}

    def texts(self) -> list[dict[str, Any]]:
        """What was written, with bodies as text."""
        return [put | {"Body": put["Body"].decode()} for put in self.puts]
