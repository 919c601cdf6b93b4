"""A genuine emulator of AWS for tests, on a free port, gone with the context, and the two kinds of clients of it."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import boto3

from fiso.testing.clock import ManualClock
from fiso_cli.access_key import AccessKey
from fiso_client.core.signing import AwsEndpoint, Credentials, SignedService
from fiso_client.core.transport import HttpTransport
from tests.lab.chaos import emulator
from tests.lab.chaos.rig.wire import free_port

__all__ = ["KEY", "aws", "clients", "free_port", "running_emulator", "signed"]

KEY = AccessKey(id="test", secret="test")
"""What tests sign with."""


@contextmanager
def running_emulator(home: Path) -> Iterator[str]:
    """Start the emulator with its state under `home`; gives its URL."""
    with emulator.running(home) as running:
        yield running.url


def aws(service: str, url: str, region: str = "us-east-1") -> Any:
    """A client of the SDK."""
    return boto3.client(
        service,
        endpoint_url=url,
        region_name=region,
        aws_access_key_id="test",
        aws_secret_access_key="test",
    )


@contextmanager
def clients(url: str, region: str = "us-east-1") -> Iterator[Callable[[str], Any]]:
    """The SDK's clients by service, one each, closed with the context."""
    with ExitStack() as made:
        yield cache(lambda service: made.enter_context(closing(aws(service, url, region))))


def signed(service: str, url: str, transport: HttpTransport, clock: ManualClock | None = None) -> SignedService:
    """What the orchestrator's own clients sign with."""
    return SignedService(
        endpoint=AwsEndpoint(service=service, region="us-east-1", url=url),
        credentials=Credentials(access_key="test", secret_key="test"),
        transport=transport,
        clock=clock or ManualClock(),
    )
