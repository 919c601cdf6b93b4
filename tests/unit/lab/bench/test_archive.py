"""The stand-in of a month of archive, spoken to by boto3; the figures of a whole month are the bench's."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from threading import Thread

import boto3
import pytest
from botocore.config import Config

from fiso.adapters.aws.archive import S3Archive
from fiso.adapters.aws.archive_compaction import Compaction
from fiso.domain.archive import Extent
from tests.lab.bench.archive_server import Month, Server

END = datetime(2026, 11, 30, 12, 30, tzinfo=UTC)


@contextmanager
def month(rate: float, form: str) -> Iterator[tuple[S3Archive, Compaction, Server]]:
    server = Server(Month(rate, form, END), is_slow=False)
    Thread(target=server.serve_forever, daemon=True).start()
    keys = {"aws_access_key_id": "t", "aws_secret_access_key": "t", "region_name": "us-east-1"}
    s3 = boto3.client(
        "s3",
        endpoint_url=f"http://127.0.0.1:{server.server_port}",
        config=Config(max_pool_connections=32),
        **keys,
    )
    try:
        yield S3Archive(s3, "b", clock=lambda: END), Compaction(s3, "b", clock=lambda: END), server
    finally:
        s3.close()
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize(("rate", "form"), [(100.0, "compact"), (1.0, "small"), (0.5, "small-older")])
def test_a_sample_of_two_days_takes_few_requests_whatever_stands_there(rate: float, form: str) -> None:
    extent, start = Extent(), END - timedelta(days=1, hours=12, minutes=30)
    with month(rate, form) as (archive, _, server):
        found = list(archive.since(start, most=300, extent=extent))
    assert 290 <= len(found) <= 300
    assert len({record.invocation_id for record in found}) == len(found)
    assert len({(record.timestamp.day, record.timestamp.hour) for record in found}) >= 36
    assert 0.5 < extent.standing / (rate * 36.5 * 3600) < 2
    assert server.calls["list"] <= 110
    assert server.calls["get"] <= 300 + 37 * 32
    assert extent.left_out == 0


def test_a_compaction_of_it_takes_whole_hours_in() -> None:
    with month(0.01, "small") as (_, compaction, server):
        done = compaction.compact(ends_at=END + timedelta(hours=1))
    assert done.problem is None
    assert done.records == done.objects
    assert done.made == len([key for key in server.puts if "/compact/" in key]) == 36
