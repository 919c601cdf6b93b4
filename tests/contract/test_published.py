"""Published models and the catalog's copy: one battery over memory, boto3 and the orchestrator's own signed calls."""

from collections.abc import Iterator
from dataclasses import dataclass
from uuid import uuid4

import pytest

from fiso.adapters.aws.client import DynamoDBClient, S3Client
from fiso.adapters.aws.s3 import S3Snapshots
from fiso.adapters.aws.s3_models import S3ModelStore
from fiso.adapters.aws.snapshot_copy import CopiedSnapshots, DynamoDBSnapshotCopy
from fiso.domain.errors import WriteConflict
from fiso.domain.model import ModelPointer, SignedManifest
from fiso.ports import ModelFiles, ModelStore, Snapshots
from fiso.testing.memory import InMemoryModelStore, InMemorySnapshots
from fiso_client.core.transport import HttpTransport
from tests.builders import NOW, a_snapshot, an_entry
from tests.contract.test_stores import ReadThrough, create_tables
from tests.emulator import aws, signed


@dataclass(frozen=True)
class Stores:
    """One implementation of each."""

    models: ModelStore
    snapshots: Snapshots
    copy: Snapshots


class ReadCopy:
    """Reads by one client, writes by the other, as orchestrator and keeper do."""

    def __init__(self, reader: DynamoDBSnapshotCopy, writer: DynamoDBSnapshotCopy) -> None:
        self.current, self.publish = reader.current, writer.publish


@pytest.fixture(params=["memory", "boto3", "signed"])
def stores(request: pytest.FixtureRequest) -> Iterator[Stores]:
    if request.param == "memory":
        yield Stores(models=InMemoryModelStore(), snapshots=InMemorySnapshots(), copy=InMemorySnapshots())
        return
    url, name = request.getfixturevalue("emulator_url"), uuid4().hex[:8]
    dynamodb, s3, transport = aws("dynamodb", url), aws("s3", url), HttpTransport()
    create_tables(dynamodb, name)
    s3.create_bucket(Bucket=f"bucket-{name}")
    used = dynamodb if request.param == "boto3" else DynamoDBClient(signed("dynamodb", url, transport))
    read = s3 if request.param == "boto3" else ReadThrough(S3Client(signed("s3", url, transport)), s3)
    yield Stores(
        models=S3ModelStore(read, f"bucket-{name}"),
        snapshots=S3Snapshots(read, f"bucket-{name}"),
        copy=ReadCopy(DynamoDBSnapshotCopy(used, f"state-{name}"), DynamoDBSnapshotCopy(dynamodb, f"state-{name}")),
    )
    for client in (dynamodb, s3, transport):
        client.close()


def a_model(version: str, *, previous: ModelPointer | None = None) -> ModelFiles:
    signed = SignedManifest(text="{}", key_id="k", signature="AA==")
    pointer = ModelPointer(
        version=version,
        sha256=version[-1] * 64,
        trained_at=NOW,
        rows=5,
        is_synthetic=False,
        origin="store",
        manifest=signed,
        previous=previous,
    )
    return ModelFiles(pointer=pointer, artifact=version.encode(), card={})


def test_a_champion_remembers_the_one_before_it_and_the_signatures_of_both(stores: Stores) -> None:
    first = a_model("m-1")
    second = a_model("m-2", previous=first.pointer)
    stores.models.publish(first, replaces=None)
    stores.models.publish(second, replaces=first.pointer)
    assert stores.models.champion() == second.pointer
    assert stores.models.artifact(first.pointer) == b"m-1"


def test_of_two_that_were_compared_with_one_champion_the_second_is_refused(stores: Stores) -> None:
    first, second, third = (a_model(f"m-{number}") for number in (1, 2, 3))
    with pytest.raises(WriteConflict):
        stores.models.publish(second, replaces=first.pointer)
    stores.models.publish(first, replaces=None)
    with pytest.raises(WriteConflict):
        stores.models.publish(third, replaces=None)
    stores.models.publish(second, replaces=first.pointer)
    with pytest.raises(WriteConflict):
        stores.models.publish(third, replaces=first.pointer)
    assert stores.models.champion() == second.pointer


def test_the_copy_is_the_newest_snapshot_that_was_given(stores: Stores) -> None:
    assert stores.copy.current() is None
    second = a_snapshot(an_entry(version=2), version=2)
    stores.copy.publish(second)
    stores.copy.publish(a_snapshot())
    assert stores.copy.current() == second
    assert stores.copy.current(unless_version=2) is None


def test_a_copy_that_was_missed_is_published_again(stores: Stores) -> None:
    both = CopiedSnapshots(stores.snapshots, stores.copy)
    stores.snapshots.publish(a_snapshot())
    assert both.current() is None
    both.publish(a_snapshot())
    assert both.current() == stores.copy.current() == a_snapshot()
