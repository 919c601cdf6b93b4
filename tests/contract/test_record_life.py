"""How a record may change, and what is read of that, in memory and on DynamoDB and S3 as the emulator speaks them."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta

import pytest

from fiso.adapters.aws.dynamodb import DynamoDBInvocationLog
from fiso.adapters.aws.s3 import S3Archive, S3Watermark
from fiso.domain.errors import WriteConflict
from fiso.domain.record import RecordStatus
from fiso.ports import Archive, InvocationLog, Watermark
from fiso.services.maintenance.keep import unknown
from fiso.testing.clock import ManualClock
from fiso.testing.memory import InMemoryArchive, InMemoryInvocationLog, InMemoryWatermark
from tests.builders import NOW, a_record, an_open_record, invocation_id
from tests.lab.chaos.log.emulator import running_emulator
from tests.lab.chaos.rig.stores import BUCKET, LOG_TABLE


@dataclass(frozen=True)
class Stores:
    """One implementation of each."""

    log: InvocationLog
    archive: Archive
    watermark: Watermark


@pytest.fixture(params=["memory", "emulator"])
def stores(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stores]:
    if request.param == "memory":
        yield Stores(log=InMemoryInvocationLog(), archive=InMemoryArchive(), watermark=InMemoryWatermark())
        return
    with running_emulator(tmp_path_factory.mktemp("emulator")) as cloud:
        yield Stores(
            log=DynamoDBInvocationLog(cloud.dynamodb(), LOG_TABLE, clock=ManualClock()),
            archive=S3Archive(cloud.client("s3"), BUCKET, clock=ManualClock()),
            watermark=S3Watermark(cloud.client("s3"), BUCKET),
        )


def test_a_final_record_corrects_an_unknown_one_and_never_the_other_way(stores: Stores) -> None:
    stores.log.open(an_open_record(1))
    assert stores.log.close(unknown(an_open_record(1))) is True
    assert stores.log.close(unknown(an_open_record(1))) is False
    closed = a_record(1, timestamp=NOW)
    assert stores.log.close(closed) is True
    assert stores.log.close(closed) is False
    with pytest.raises(WriteConflict):
        stores.log.close(unknown(an_open_record(1)))
    stores.log.open(an_open_record(1))
    assert stores.log.find(invocation_id(1)) == closed


def test_as_many_overdue_records_are_given_as_asked_for(stores: Stores) -> None:
    for number in range(30):
        stores.log.open(an_open_record(number))
    late = NOW + timedelta(hours=1)
    assert len(stores.log.overdue(late, 20)) == 20
    assert {record.invocation_id for record in stores.log.overdue(late, 99)} == {invocation_id(n) for n in range(30)}


def test_the_archive_prefers_a_final_record_to_the_unknown_one_it_corrects(stores: Stores) -> None:
    stores.archive.append([a_record(1)], batch_id="b")
    stores.archive.append([unknown(an_open_record(number)) for number in (1, 2)], batch_id="a")
    found = {record.invocation_id: record.status for record in stores.archive.since(NOW.date())}
    assert found == {invocation_id(1): RecordStatus.FINAL, invocation_id(2): RecordStatus.UNKNOWN}


def test_the_watermark_is_where_it_was_moved_to(stores: Stores) -> None:
    assert stores.watermark.read() is None
    stores.watermark.move(NOW)
    stores.watermark.move(NOW + timedelta(seconds=1.5))
    assert stores.watermark.read() == NOW + timedelta(seconds=1.5)
