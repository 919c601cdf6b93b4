"""The emulator alone, for experiments: on a free port, with FISO's tables and bucket, gone with the context."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config

from fiso.adapters.aws.client import DynamoDBClient
from fiso_client.core.signing import AwsEndpoint, Credentials, SignedService
from fiso_client.core.transport import HttpTransport
from tests.lab.chaos.emulator import running
from tests.lab.chaos.rig.stores import BUCKET, LOG_TABLE, REGION, create_tables

LOG_GROUP = "/fiso/rig/api"
_CONFIG = Config(
    connect_timeout=1,
    read_timeout=5,
    retries={"total_max_attempts": 2},
    max_pool_connections=16,
    s3={"addressing_style": "path"},
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Emulator:
    """A running one. What is opened for it is closed with it: `ending` takes it."""

    url: str
    ending: ExitStack

    @property
    def port(self) -> int:
        """Where it listens on loopback."""
        return int(self.url.rpartition(":")[2])

    def client(self, service: str, *, url: str = "") -> Any:
        """A boto3 client: few tries, no long waits. At another address, for one that stands before it."""
        made = boto3.client(
            service,
            endpoint_url=url or self.url,
            region_name=REGION,
            aws_access_key_id="rig",
            aws_secret_access_key="rig",  # nosec B106 # the emulator takes any
            config=_CONFIG,
        )
        self.ending.callback(made.close)
        return made

    def dynamodb(self, *, url: str = "", timeout_s: float = 5.0) -> DynamoDBClient:
        """FISO's own client."""
        transport = HttpTransport()
        self.ending.callback(transport.close)
        service = SignedService(
            endpoint=AwsEndpoint(service="dynamodb", region=REGION, url=url or self.url),
            credentials=Credentials(access_key="rig", secret_key="rig"),  # nosec B106 # the emulator takes any
            transport=transport,
            clock=lambda: datetime.now(UTC),
        )
        return DynamoDBClient(service, timeout_s=timeout_s)


@contextmanager
def running_emulator(home: Path) -> Iterator["Emulator"]:
    """Start it with its state under `home`, with FISO's tables, bucket and log group."""
    with running(home) as process, ExitStack() as ending:
        emulator = Emulator(url=process.url, ending=ending)
        prepare(emulator)
        yield emulator


def prepare(emulator: Emulator) -> None:
    """Make the rig's tables, with the log's stream, the bucket and the log group."""
    dynamodb = emulator.client("dynamodb")
    create_tables(dynamodb)
    stream = {"StreamEnabled": True, "StreamViewType": "NEW_IMAGE"}
    dynamodb.update_table(TableName=LOG_TABLE, StreamSpecification=stream)
    emulator.client("s3").create_bucket(Bucket=BUCKET)
    emulator.client("logs").create_log_group(logGroupName=LOG_GROUP)
