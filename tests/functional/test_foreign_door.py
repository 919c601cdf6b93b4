"""A front door on another cloud: its storage, its log, what it can call, and how the keeper merges what it did."""

import asyncio
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from inspect import isawaitable
from threading import Thread
from typing import Any

import pytest

from fiso.adapters.aws.models import S3ModelStore
from fiso.adapters.aws.s3 import Bucket, S3Snapshots
from fiso.adapters.objects.clients import AzureObjects, GoogleObjects
from fiso.adapters.objects.log import ObjectLines, name_of
from fiso.codecs.seal import CatalogSeals
from fiso.domain.endpoint import Authentication, Endpoint, EndpointId, FunctionName, Provider
from fiso.domain.errors import StoreUnavailable, WriteConflict
from fiso.domain.policy import Idempotent, OnKeyStoreLoss
from fiso.domain.record import InvocationRecord, OpenRecord, RecordStatus
from fiso.door_settings import DoorSettings
from fiso.services.log.reconcile import Reconciliation
from fiso.services.maintenance.keep import Keeper
from fiso.settings import BadSetting, KeeperSettings
from fiso.testing.memory import (
    InMemoryCatalogStore,
    InMemoryInvocationLog,
    InMemoryMetrics,
    InMemorySnapshots,
    InMemoryWatermark,
)
from fiso.testing.rig import SETTINGS, Rig
from fiso_cli.training import keys
from fiso_client import AsyncClient, Client, Options, Request
from fiso_client.core.transport import HttpTransport
from functions.server.door_ports import Door, door
from localcloud.drill.object_store import Objects, Server
from tests.builders import a_snapshot, an_endpoint, an_entry
from tests.contract.entra_services import IDENTITY as ENTRA
from tests.contract.google_services import IDENTITY as GOOGLE
from tests.edge import an_outcome, answered, counts, decide, report
from tests.functional.lease_servers import World, serving

HOSTS = ("", "https://f.azurewebsites.net", "https://f.a.run.app")
LEASE_KEYS = "k1:" + "a" * 32
UNSIGNED = CatalogSeals(stage="local", keys={}, accepts_unsigned=True)
BUCKET = "mirror"


@contextmanager
def storage(**changes: Any) -> Iterator[Server]:
    server = Server(objects=Objects(**changes))
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield server
    finally:
        TRANSPORT.close()
        server.shutdown()
        server.server_close()
        thread.join()


TRANSPORT = HttpTransport()


def client(cloud: str, server: Server) -> GoogleObjects | AzureObjects:
    kind = GoogleObjects if cloud == "google" else AzureObjects
    return kind(TRANSPORT, lambda: "local", url=server.url)


@pytest.mark.parametrize("cloud", ["google", "azure"])
def test_objects_keep_the_promises_that_the_stores_rely_on(cloud: str) -> None:
    with storage(page=2) as server:
        objects = Bucket(client(cloud, server), BUCKET)
        assert objects.read("a") is None
        assert objects.etag("a") is None
        first = objects.write("d/a b&c", b"1", "text/plain", IfNoneMatch="*")
        with pytest.raises(WriteConflict):
            objects.write("d/a b&c", b"2", "text/plain", IfNoneMatch="*")
        assert (objects.read("d/a b&c"), objects.etag("d/a b&c")) == (b"1", first)
        second = objects.write("d/a b&c", b"3", "text/plain", IfMatch=str(first))
        with pytest.raises(WriteConflict):
            objects.write("d/a b&c", b"4", "text/plain", IfMatch=str(first))
        assert (objects.read("d/a b&c"), objects.etag("d/a b&c")) == (b"3", second)
        for name in ("d/b", "d/c", "d/e", "x"):
            objects.write(name, b"12", "text/plain")
        assert [(entry.key, entry.size) for entry in objects.entries("d/")] == [
            ("d/a b&c", 1),
            ("d/b", 2),
            ("d/c", 2),
            ("d/e", 2),
        ]
        server.objects.is_away = True
        with pytest.raises(StoreUnavailable):
            objects.read("d/b")


@pytest.mark.parametrize("cloud", ["google", "azure"])
def test_what_is_published_is_read_there(cloud: str) -> None:
    with storage() as server:
        snapshots = S3Snapshots(client(cloud, server), BUCKET, UNSIGNED)
        assert snapshots.current() is None
        assert S3ModelStore(client(cloud, server), BUCKET).champion() is None


@dataclass(kw_only=True)
class Elsewhere:
    """A door over a rig's clouds, and its storage."""

    server: Server
    door: Door
    rig: Rig


@contextmanager
def elsewhere(*endpoints: Endpoint, lease_keys: str = LEASE_KEYS, **policy: Any) -> Iterator[Elsewhere]:
    with storage() as server:
        own = DoorSettings(mirror=f"{server.url}/{BUCKET}", door="azure", lease_keys=lease_keys)
        environ = {"IDENTITY_ENDPOINT": f"{server.url}/token", "IDENTITY_HEADER": "h"}
        settings = replace(SETTINGS, allow_loopback=True)
        made = door(settings, own, environ, InMemoryMetrics())
        published = S3Snapshots(client("azure", server), BUCKET, replace_sealing())
        published.publish(a_snapshot(an_entry(*(endpoints or copies()), **policy)))
        rig = Rig(settings=settings, ports=lambda outside: replace(made.ports, caller=outside.caller))
        try:
            with made.also_kept():
                yield Elsewhere(server=server, door=made, rig=rig)
        finally:
            made.log.drain(within_s=5)
            made.ports.rest()


def copies() -> tuple[Endpoint, ...]:
    places = [
        ("aws", Provider.AWS, "us-east-1", "arn:aws:lambda:us-east-1:111122223333:function:f"),
        ("azure", Provider.AZURE, "eastus", "https://f.azurewebsites.net"),
        ("gcp", Provider.GCP, "us-east4", "https://f.a.run.app"),
    ]
    return tuple(
        Endpoint(id=EndpointId(id), provider=provider, region=region, memory_mb=512, address=address)
        for id, provider, region, address in places
    )


def replace_sealing() -> CatalogSeals:
    return keys.sealing(keys.new())


class Clock:
    """The time of day, some minutes ahead, so that all that was written is past."""

    def __call__(self) -> datetime:
        return datetime.now(UTC) + timedelta(seconds=1)


def keeper_of(server: Server, log: InMemoryInvocationLog, *, watermark: InMemoryWatermark) -> Reconciliation:
    executor = ThreadPoolExecutor(max_workers=4)
    from fiso.codecs.lease_token import Keyring

    return Reconciliation(
        spilled=ObjectLines(Bucket(client("azure", server), BUCKET), "azure", executor=executor),
        keys=lambda: Keyring.parsed(LEASE_KEYS),
        watermark=watermark,
        log=log,
        clock=Clock(),
        executor=executor,
    )


def merged(there: Elsewhere, log: InMemoryInvocationLog, watermark: InMemoryWatermark | None = None) -> tuple[int, int]:
    """How many records one round of a keeper that just started writes, and how many lines it does not believe."""
    keeper = keeper_of(there.server, log, watermark=watermark or InMemoryWatermark())
    found = keeper.reconcile(until=Clock()() + timedelta(seconds=30))
    assert found.is_complete
    return found.written, found.unmarked


def test_requests_are_served_without_aws_and_merged_once_when_it_is_back() -> None:
    with elsewhere() as there:
        answers = [there.rig.invoke("word-count", body=b"{}") for _ in range(5)]
        assert [answer.status for answer in answers] == [200] * 5
        assert {answer.headers["x-fiso-provider"] for answer in answers} <= {"azure", "gcp"}
        log, watermark = InMemoryInvocationLog(), InMemoryWatermark()
        assert merged(there, log, watermark) == (5, 0)
        assert {record.status for record in log.records.values() if isinstance(record, InvocationRecord)} == {
            RecordStatus.FINAL
        }
        assert set(log.records) == {answer.headers["x-fiso-invocation-id"] for answer in answers}
        assert merged(there, log, watermark) == (0, 0)
        assert merged(there, log) == (0, 0)  # of a keeper that lost its watermark


def test_what_a_killed_container_had_begun_is_known_to_the_log() -> None:
    with elsewhere(idempotent=Idempotent.NO) as there:
        there.rig.invoke("word-count", body=b"{}")
        stored, log = there.server.objects.stored, InMemoryInvocationLog()
        for place, (body, generation) in list(stored.items()):
            if place[1].startswith("doors/"):
                intents = b"".join(line for line in body.splitlines(keepends=True) if b"deadline_at" in line)
                stored[place] = (intents, generation)
        assert merged(there, log) == (1, 0)
        (left,) = log.records.values()
        assert isinstance(left, OpenRecord)
        keeper = Keeper(
            log=log,
            reconciliation=keeper_of(there.server, log, watermark=InMemoryWatermark()),
            catalog=InMemoryCatalogStore(),
            snapshots=InMemorySnapshots(),
            clock=lambda: datetime.now(UTC) + timedelta(minutes=5),
            sleep=time.sleep,
            executor=ThreadPoolExecutor(max_workers=2),
        )
        assert keeper.keep().swept.closed_as_unknown == 1


def test_lines_that_the_door_did_not_mark_are_nobodys() -> None:
    with elsewhere() as there, elsewhere(lease_keys="k1:" + "b" * 32) as foreign:
        foreign.rig.invoke("word-count", body=b"{}")
        forged = {key: value for key, value in foreign.server.objects.stored.items() if key[1].startswith("doors/")}
        there.server.objects.stored.update(forged)
        there.server.objects.stored[BUCKET, name_of("azure", datetime.now(UTC))] = (b'{"log_spill": "x"}\n{', 1)
        log = InMemoryInvocationLog()
        assert merged(there, log) == (0, 3)
        assert log.records == {}


def test_a_storage_that_is_away_costs_no_answer_and_no_record() -> None:
    with elsewhere() as there:
        assert there.rig.invoke("word-count", body=b"{}").status == 200
        there.server.objects.is_away = True
        answers = [there.rig.invoke("word-count", body=b"{}") for _ in range(3)]
        assert [answer.status for answer in answers] == [200] * 3
        there.server.objects.is_away = False
        assert there.door.log.drain(within_s=10)
        log = InMemoryInvocationLog()
        assert merged(there, log) == (4, 0)
        assert all(isinstance(record, InvocationRecord) for record in log.records.values())


def test_an_object_whose_answer_was_lost_is_merged_once_although_it_stands_twice() -> None:
    with elsewhere() as there:
        there.server.objects.lost_answers = 3
        answers = [there.rig.invoke("word-count", body=b"{}") for _ in range(3)]
        assert [answer.status for answer in answers] == [200] * 3
        assert there.door.log.drain(within_s=10)
        lines = [
            line
            for (_, key), (body, _) in there.server.objects.stored.items()
            if key.startswith("doors/")
            for line in body.splitlines()
        ]
        assert len(set(lines)) < len(lines)
        log = InMemoryInvocationLog()
        assert merged(there, log) == (3, 0)


@pytest.mark.parametrize("cloud", ["google", "azure"])
def test_a_write_under_a_condition_that_failed_is_never_called_done(cloud: str) -> None:
    with storage() as server:
        objects = Bucket(client(cloud, server), BUCKET)
        server.objects.is_away = True
        for condition in ({"IfNoneMatch": "*"}, {"IfMatch": "1"}):
            with pytest.raises(StoreUnavailable):
                objects.write("a", b"1", "text/plain", **condition)


@pytest.mark.parametrize(("on_loss", "status"), [(OnKeyStoreLoss.REFUSE, 503), (OnKeyStoreLoss.RUN_ONCE_UNKEYED, 200)])
def test_a_key_means_what_the_policy_says_while_the_tables_are_away(on_loss: OnKeyStoreLoss, status: int) -> None:
    with elsewhere(on_key_store_loss=on_loss) as there:
        answer = there.rig.invoke("word-count", body=b"{}", idempotency_key="k")
        assert answer.status == status
        assert answer.headers.get("idempotent-unprotected") == ("true" if status == 200 else None)


def test_a_lease_of_one_door_is_reported_at_the_other() -> None:
    with elsewhere() as one, elsewhere() as other, elsewhere(lease_keys="k1:" + "b" * 32) as stranger:
        lease = decide(one.rig)
        endpoint = str(lease["endpoints"][0]["id"])
        outcome = an_outcome(1, answered(endpoint))
        assert counts(report(other.rig, lease["token"], outcome)) == (1, 0, 0)
        assert counts(report(stranger.rig, lease["token"], outcome)) == (0, 0, 1)
        counts(report(one.rig, lease["token"], outcome))
        log = InMemoryInvocationLog()
        assert merged(one, log) == (1, 0)
        assert merged(other, log) == (0, 0)


@contextmanager
def two_doors() -> Iterator[tuple[World, str, list[str]]]:
    """A front door on AWS, the address of one elsewhere, and what that one was asked; the same copies at both."""
    world, asked = World(), list[str]()
    copies = [an_endpoint(each, id=EndpointId(each), address=f"{world.functions.url}/{each}") for each in Provider]
    with elsewhere(*copies, idempotent=Idempotent.YES) as there:

        def respond(path: str, headers: dict[str, str], body: bytes) -> tuple[int, dict[str, str], bytes]:
            asked.append(path)
            method = {"http": {"method": headers["x-method"]}}
            event = {"rawPath": path, "headers": headers, "requestContext": method, "body": body.decode()}
            answer = there.rig.send(event)
            return answer["statusCode"], answer["headers"], answer["body"].encode()

        with serving(respond) as server:
            try:
                yield world, server.url, asked
            finally:
                world.close()


@pytest.mark.parametrize("kind", [Client, AsyncClient])
def test_clients_go_to_the_other_door_and_back_by_themselves(kind: type[Client] | type[AsyncClient]) -> None:
    request, passed = Request(body=b"one", content_type="text/plain"), [0.0]
    with two_doors() as (world, elsewhere_url, asked):
        client = kind(
            [world.url, elsewhere_url],
            options=Options(background=False),
            stopwatch=lambda: time.monotonic() + passed[0],
        )

        async def used(what: Callable[..., Any], *given: Any) -> Any:
            found = what(*given)
            return await found if isawaitable(found) else found

        async def a_few() -> None:
            answers = [await used(client.invoke, "word-count", request) for _ in range(3)]
            answers.append(await used(client.call, "word-count", request))
            assert {answer.status for answer in answers} == {200}

        async def through_an_outage() -> None:
            await a_few()
            assert (len(world.asked), asked) == (4, [])
            world.stop_fiso()
            await a_few()
            assert len(asked) == 3  # the lease of the door that is away goes on
            passed[0] += 60.0
            await a_few()
            assert len(asked) == 7  # and then one of the other's
            world.start_fiso()
            passed[0] += 60.0
            await a_few()
            assert (len(world.asked) >= 7, len(asked)) == (True, 7)
            assert await used(client.flush)
            await used(client.close)

        asyncio.run(through_an_outage())
        assert client.tally.accepted == 4


def test_a_door_learns_from_what_it_serves() -> None:
    with elsewhere() as there:
        for _ in range(3):
            there.rig.invoke("word-count", body=b"{}")
        states = there.door.ports.states.of_function(FunctionName("word-count"))
        assert states
        with pytest.raises(StoreUnavailable):
            there.door.ports.states.commit(FunctionName("word-count"), [], [])


@pytest.mark.parametrize(
    ("door_on", "settings", "called"),
    [
        ("azure", {}, "azure gcp"),
        ("azure", {"entra": ENTRA}, "azure entra gcp"),
        ("azure", {"google": GOOGLE}, "azure gcp id_token"),
        ("azure", {"aws_role": "arn:aws:iam::111122223333:role/door"}, "aws azure gcp"),
        ("google", {}, "azure gcp id_token"),
        ("google", {"entra": ENTRA}, "azure entra gcp id_token"),
    ],
)
def test_copies_are_candidates_that_this_door_can_show_who_it_is(
    door_on: str, settings: dict[str, Any], called: str
) -> None:
    endpoints = (
        *copies(),
        an_endpoint(Provider.AZURE, id="entra", address=HOSTS[1], authentication=Authentication.ENTRA),
        an_endpoint(Provider.GCP, id="id_token", address=HOSTS[2], authentication=Authentication.ID_TOKEN),
        an_endpoint(
            Provider.AZURE,
            id="function_key",
            address=HOSTS[1],
            authentication=Authentication.FUNCTION_KEY,
            secret_ref="fiso/azure/key",
        ),
    )
    with storage() as server:
        role = settings.pop("aws_role", "")
        mirror = f"{server.url}/{BUCKET}" if door_on == "azure" else f"gs://{BUCKET}"
        own = DoorSettings(mirror=mirror, door=door_on, audience="api://fiso-door", aws_role=role)
        given = {
            "IDENTITY_ENDPOINT": f"{server.url}/token",
            "IDENTITY_HEADER": "h",
            "STORAGE_EMULATOR_HOST": server.url,
        }
        given["GCE_METADATA_HOST"] = server.url.removeprefix("http://")
        made = door(replace(SETTINGS, allow_loopback=True, **settings), own, given, InMemoryMetrics())
        S3Snapshots(client(door_on, server), BUCKET, replace_sealing()).publish(a_snapshot(an_entry(*endpoints)))
        snapshot = made.ports.snapshots.current()
        assert snapshot is not None
        (entry,) = snapshot.functions.values()
        assert {each.id for each in entry.endpoints} - set(entry.refused) == set(called.split())
        made.ports.rest()


@pytest.mark.parametrize(
    "place", ["s3://bucket", "gs://", "gs://a/b", "http://127.0.0.1:80/a", "https://evil.example/c", "gs://a gs://bbb"]
)
def test_a_place_that_no_mirror_can_have_is_refused(place: str) -> None:
    with pytest.raises(BadSetting):
        DoorSettings.from_environ({"FISO_STAGE": "prod", "FISO_MIRROR": place})


def test_the_keeper_names_its_mirrors() -> None:
    given = {"FISO_LOG_TABLE": "l", "FISO_BUCKET": "b", "FISO_SPILL_LOG_GROUP": "g", "FISO_LEASE_KEYS_PARAMETER": "p"}
    places = "gs://one-bucket https://two.blob.core.windows.net/mirror"
    settings = KeeperSettings.from_environ(given | {"FISO_STAGE": "prod", "FISO_MIRRORS": places})
    assert settings.mirrors == tuple(places.split())
