"""A genuine emulator and a Lambda host beside it, as processes on free ports, and functions to deploy to them."""

import base64
import io
import json
import os
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

from localcloud import emulator_launch
from localcloud.layout import LocalCloud
from tests.emulator import KEY, free_port
from tests.lab.bound_process import bound

SCRIPTS = Path(emulator_launch.__file__).parents[1]
TRIES = 400


def archive(files: Mapping[str, str]) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as zipped:
        for name, text in files.items():
            zipped.writestr(name, text)
    return content.getvalue()


def eventually(holds: Callable[[], bool]) -> bool:
    """Whether it comes to hold while we look."""
    for _ in range(TRIES):
        if holds():
            return True
        time.sleep(0.05)
    return False


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """An Invoke API answer, read."""

    payload: Any
    error: str | None
    log: str
    version: str


@dataclass(slots=True, kw_only=True)
class LambdaHostWorld:
    """Deploys to the emulator, invokes through the host."""

    emulator_url: str
    host_url: str
    host: subprocess.Popen[bytes]
    directory: Path

    def aws(self, service: str, url: str | None = None) -> Any:
        return boto3.client(
            service,
            endpoint_url=url or self.emulator_url,
            region_name="us-east-1",
            aws_access_key_id="test",
            aws_secret_access_key="test",
            config=Config(retries={"total_max_attempts": 1}, read_timeout=60),
        )

    def deploy(self, name: str, code: str, **configuration: Any) -> None:
        settings = {"Runtime": "python3.11", "Role": "arn:aws:iam::000000000000:role/any", "Timeout": 10}
        settings |= {"Handler": "handler.handle"} | configuration
        self.aws("lambda").create_function(
            FunctionName=name, Code={"ZipFile": archive({"handler.py": code})}, **settings
        )

    def update(self, name: str, code: str) -> None:
        self.aws("lambda").update_function_code(FunctionName=name, ZipFile=archive({"handler.py": code}))

    def layer(self, name: str, files: Mapping[str, str]) -> str:
        published = self.aws("lambda").publish_layer_version(LayerName=name, Content={"ZipFile": archive(files)})
        return str(published["LayerVersionArn"])

    def invoke(self, name: str, event: object = None, **options: str) -> Answer:
        arguments = {"LogType": "Tail"} | options
        answer = self.aws("lambda", self.host_url).invoke(
            FunctionName=name, Payload=json.dumps(event or {}), **arguments
        )
        payload = answer["Payload"].read()
        return Answer(
            payload=json.loads(payload) if payload else None,
            error=answer.get("FunctionError"),
            log=base64.b64decode(answer.get("LogResult", "")).decode(),
            version=answer.get("ExecutedVersion", ""),
        )

    def refusal(self, name: str, **arguments: Any) -> Any:
        """The error document of an invocation that Lambda refuses."""
        try:
            self.aws("lambda", self.host_url).invoke(FunctionName=name, **arguments)
        except ClientError as error:
            return error.response
        raise AssertionError("the invocation was not refused")

    def get(self, path: str) -> Any:
        with urlopen(self.host_url + path) as answer:
            return json.load(answer)

    def status(self, name: str) -> Any:
        return next(f for f in self.get("/status")["functions"] if f["function"] == name)


@contextmanager
def running_world(directory: Path, cache: Path, *host_options: str) -> Iterator[LambdaHostWorld]:
    """An emulator whose functions go to a host, and that host."""
    directory.mkdir(parents=True, exist_ok=True)
    emulator_url, host_url = (f"http://127.0.0.1:{free_port()}" for _ in range(2))
    with (
        running_emulator_at(directory, emulator_url, host_url) as emulator,
        running_host(directory, cache, emulator_url, host_url, *host_options) as host,
    ):
        await_answer(f"{emulator_url}/_ministack/health", emulator)
        yield LambdaHostWorld(emulator_url=emulator_url, host_url=host_url, host=host, directory=directory)


@contextmanager
def running_emulator_at(directory: Path, url: str, host_url: str) -> Iterator[subprocess.Popen[bytes]]:
    """The emulator at an address, its functions run by the host at another."""
    emulator = _emulator(directory, url, host_url)
    try:
        yield emulator
    finally:
        emulator.terminate()
        emulator.wait(timeout=10)


@contextmanager
def running_host(
    directory: Path, cache: Path, emulator_url: str, host_url: str, *options: str
) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-m", "localcloud.lambda_host", "--port", host_url.rpartition(":")[2]]
    command += ["--emulator-url", emulator_url, "--cache", str(cache), "--access-key", _key_file(directory), *options]
    with (directory / "host.log").open("ab") as log:
        host = subprocess.Popen(bound(command), env=os.environ | {"PYTHONPATH": str(SCRIPTS)}, stdout=log, stderr=log)
        try:
            await_answer(f"{host_url}/healthz", host)
            yield host
        finally:
            host.terminate()
            host.wait(timeout=10)


def _emulator(directory: Path, url: str, host_url: str) -> subprocess.Popen[bytes]:
    python = LocalCloud.from_environ({}).emulator_environment / "bin" / "python"
    command = [str(python), str(Path(emulator_launch.__file__)), "--port", url.rpartition(":")[2]]
    command += ["--lambda-host-url", host_url, "--access-key", _key_file(directory)]
    environment = {"PATH": os.environ["PATH"], "HOME": str(directory), "LOG_LEVEL": "WARNING"}
    with (directory / "emulator.log").open("ab") as log:
        return subprocess.Popen(bound(command), env=environment, cwd=directory, stdout=log, stderr=log)


def _key_file(directory: Path) -> str:
    file = directory / "access-key"
    KEY.write(file)
    return str(file)


def await_answer(url: str, process: subprocess.Popen[bytes]) -> None:
    def answers() -> bool:
        if process.poll() is not None:
            raise RuntimeError(f"the process ended before {url} answered")
        try:
            with urlopen(url, timeout=1):
                return True
        except (URLError, OSError):
            return False

    if not eventually(answers):
        raise RuntimeError(f"{url} did not answer")
