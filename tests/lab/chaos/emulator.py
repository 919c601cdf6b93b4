"""The emulator of AWS as a process of its own: on a free port, stopped, continued and killed as an experiment wants."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

from fiso.adapters.aws.client import DynamoDBClient
from fiso_client.core.signing import AwsEndpoint, Credentials, SignedService
from fiso_client.core.transport import HttpTransport
from localcloud.layout import LocalCloud
from tests.lab.bound_process import bound
from tests.lab.chaos.rig.children import READY_WITHIN_S, ChildFailed
from tests.lab.chaos.rig.wire import HOST, free_port

LOG, REGION = "emulator.log", "us-east-1"


@dataclass(frozen=True, slots=True, kw_only=True)
class EmulatorProcess:
    """A running emulator. Its tables are in memory: they are gone with it. `ending` closes what was opened for it."""

    url: str
    process: "subprocess.Popen[bytes]"
    ending: ExitStack = field(default_factory=ExitStack)

    @property
    def port(self) -> int:
        """Where it listens on loopback."""
        return int(self.url.rpartition(":")[2])

    def client(self, service: str) -> Any:
        """A boto3 client: few tries, no long waits."""
        import boto3  # a third of a second that only those pay who need it
        from botocore.config import Config

        config = Config(
            connect_timeout=1,
            read_timeout=5,
            retries={"total_max_attempts": 2},
            max_pool_connections=16,
            s3={"addressing_style": "path"},
        )
        login = {"aws_access_key_id": "rig", "aws_secret_access_key": "rig"}  # nosec B105 # the emulator takes any
        made = boto3.client(service, endpoint_url=self.url, region_name=REGION, config=config, **login)
        self.ending.callback(made.close)
        return made

    def dynamodb(self, *, url: str = "", timeout_s: float = 5.0) -> DynamoDBClient:
        """FISO's own client. At another address, for one that stands before the emulator."""
        transport = HttpTransport()
        self.ending.callback(transport.close)
        service = SignedService(
            endpoint=AwsEndpoint(service="dynamodb", region=REGION, url=url or self.url),
            credentials=Credentials(access_key="rig", secret_key="rig"),  # nosec B106 # the emulator takes any
            transport=transport,
            clock=lambda: datetime.now(UTC),
        )
        return DynamoDBClient(service, timeout_s=timeout_s)

    def stop(self) -> None:
        """Freeze it: whoever speaks to it waits, as before a black hole."""
        self.process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """Let it go on where it was stopped."""
        self.process.send_signal(signal.SIGCONT)

    def await_answer(self) -> None:
        """Wait until it answers: what was sent to it meanwhile is done by then."""
        ends_at = time.monotonic() + READY_WITHIN_S
        while self.process.poll() is None and time.monotonic() < ends_at:
            try:
                with urlopen(f"{self.url}/_ministack/health", timeout=1):  # nosec B310 # our own process on loopback
                    return
            except (URLError, OSError):
                time.sleep(0.05)
        raise ChildFailed(f"the emulator does not answer: see {LOG} in its folder")

    def kill(self) -> None:
        """End it at once; its port is closed."""
        self.ending.close()
        self.process.kill()
        self.process.wait(timeout=10)


def start(home: Path) -> EmulatorProcess:
    """Start one with its state under `home`, and wait until it answers."""
    python, port = LocalCloud.from_environ({}).emulator_environment / "bin" / "python", free_port()
    if not python.exists():
        raise ChildFailed(f"no emulator at {python}: run `make setup`")
    home.mkdir(exist_ok=True)
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "GATEWAY_PORT": str(port),
        "BIND_HOST": HOST,
        "IOT_MTLS_ENABLED": "0",
        "SFTP_ENABLED": "0",
        "LOG_LEVEL": "WARNING",
        "S3_DATA_DIR": str(home / "s3"),
    }
    with (home / LOG).open("wb") as log:
        process = subprocess.Popen(
            bound([str(python), "-m", "ministack"]),
            env=environment,
            cwd=home,
            stdout=log,
            stderr=log,
            start_new_session=True,  # Ctrl-C is for the experiment, which then ends it
        )
    emulator = EmulatorProcess(url=f"http://{HOST}:{port}", process=process)
    try:
        emulator.await_answer()
    except ChildFailed:
        emulator.kill()
        raise
    return emulator


@contextmanager
def running(home: Path) -> Iterator[EmulatorProcess]:
    """A running one, gone with the context."""
    emulator = start(home)
    try:
        yield emulator
    finally:
        emulator.kill()
