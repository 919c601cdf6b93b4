"""The control plane as the host sees it: what is deployed under a name right now. Asks the emulator, in threads."""

import asyncio
import logging
import urllib.request
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit, urlunsplit

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from fiso_cli.access_key import AccessKey
from localcloud import signatures
from localcloud.lambda_host.function import LATEST, Deployment, FunctionReference, Package, deployment_of
from localcloud.lambda_host.interpreter import Archive, PackageCache
from localcloud.signatures import Request

log = logging.getLogger(__name__)
_TIMEOUT_S = 10


class UnknownFunctionError(Exception):
    """Nothing is deployed under this name and qualifier."""


class ControlPlaneError(Exception):
    """The control plane did not answer, or not as expected."""


class ControlPlane(Protocol):
    """Where deployments come from."""

    async def deployment(self, reference: FunctionReference) -> Deployment: ...
    async def package(self, deployment: Deployment) -> Package: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Emulator:
    """Where the emulator is, and the key it asks for."""

    url: str
    key: AccessKey
    region: str = "us-east-1"

    def client(self, service: str) -> object:
        """A boto3 client. Untyped: boto3 has no types of its own."""
        return boto3.client(
            service,
            endpoint_url=self.url,
            region_name=self.region,
            aws_access_key_id=self.key.id,
            aws_secret_access_key=self.key.secret,
            config=Config(connect_timeout=2, read_timeout=_TIMEOUT_S, retries={"total_max_attempts": 2}),
        )


class EmulatorControlPlane:
    """Deployments and packages read from the emulator."""

    def __init__(self, emulator: Emulator, cache: Path) -> None:
        self._emulator = emulator
        self._lambda = emulator.client("lambda")
        self._packages = PackageCache(cache, self._fetch)

    async def deployment(self, reference: FunctionReference) -> Deployment:
        return await asyncio.to_thread(self._deployment, reference)

    async def package(self, deployment: Deployment) -> Package:
        return await asyncio.to_thread(self._package, deployment)

    def prune(self) -> None:
        self._packages.prune()

    def _deployment(self, reference: FunctionReference) -> Deployment:
        qualifier = {} if reference.qualifier == LATEST else {"Qualifier": reference.qualifier}
        return deployment_of(self._call("get_function", FunctionName=reference.name, **qualifier))

    def _package(self, deployment: Deployment) -> Package:
        code = Archive(sha256=deployment.code_sha256, location=deployment.code_location)
        layers = [self._layer(arn) for arn in deployment.layer_arns]
        try:
            return Package(code=self._packages.code(code), layers=self._packages.layers(layers))
        except (OSError, zipfile.BadZipFile) as error:
            raise ControlPlaneError(f"the code of {deployment.name} cannot be unpacked: {error}") from error

    def _layer(self, arn: str) -> Archive:
        content = self._call("get_layer_version_by_arn", Arn=arn)["Content"]
        if not isinstance(content, Mapping):
            raise ControlPlaneError(f"layer {arn} has no content")
        return Archive(sha256=str(content["CodeSha256"]), location=str(content["Location"]))

    def _call(self, operation: str, **arguments: str) -> Mapping[str, object]:
        try:
            answer: Mapping[str, object] = getattr(self._lambda, operation)(**arguments)
        except ClientError as error:
            if error.response["Error"]["Code"] == "ResourceNotFoundException":
                raise UnknownFunctionError(str(error)) from error
            raise ControlPlaneError(str(error)) from error
        except BotoCoreError as error:
            raise ControlPlaneError(str(error)) from error
        return answer

    def _fetch(self, location: str) -> bytes:
        """Whatever host name the emulator gives itself in a link, it is asked where we know it to be, and as ourselves:
        the link's own signature is a dummy."""
        host = urlsplit(self._emulator.url)
        parts = urlsplit(location)._replace(scheme=host.scheme, netloc=host.netloc, query="")
        asked = Request(method="GET", path=parts.path, query="", headers={"host": parts.netloc})
        headers = signatures.signed(asked, self._emulator.key, "lambda", self._emulator.region, datetime.now(UTC))
        request = urllib.request.Request(urlunsplit(parts), headers=headers)
        with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as answer:  # nosec B310: scheme is ours
            content: bytes = answer.read()
        return content
