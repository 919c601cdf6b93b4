"""Catalogs that somebody put into the stores who may write there and cannot sign: they are never served, the last good
one is, and a fresh environment believes nothing older than either store attests (decision 22)."""

import gzip
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cache
from typing import Any

import pytest

from fiso.adapters.aws.client import AwsError
from fiso.adapters.aws.s3 import CURRENT, S3Snapshots
from fiso.adapters.aws.snapshots import CopiedSnapshots, DynamoDBSnapshotCopy
from fiso.adapters.http.signers import OpenKeySigner
from fiso.codecs import signature
from fiso.codecs.catalog import snapshot_to_json
from fiso.codecs.seal import FORMAT, CatalogSeals
from fiso.codecs.signature import PublicKeys
from fiso.domain.catalog import Snapshot
from fiso.domain.errors import InvalidCatalog, NothingAvailable, WriteConflict
from fiso.domain.signed import SignedText
from fiso.services.maintenance.publish import publish
from fiso.testing.memory import InMemoryCatalogStore
from fiso.testing.rig import READ_AGAIN_S, Rig, Stores
from fiso_cli.training import keys
from tests.builders import NOW, a_snapshot, an_entry
from tests.golden.recorded_clients import Objects
from tests.models import a_signer, an_artifact, files_of

KEEPER, STRANGER, NEXT = a_signer(), keys.new(), keys.new()
FUTURE = 2**62
Fields = Mapping[str, object]


def a_version(version: int, **changes: Any) -> Snapshot:
    return replace(a_snapshot(an_entry(name="word-count", version=version), version=version), **changes)


class OneItem:
    """DynamoDB's table with the one item of the copy. Conditions are left to the emulator's tests."""

    def __init__(self) -> None:
        self.item: dict[str, Any] | None = None
        self.is_away = False

    def get_item(self, **_: Any) -> dict[str, Any]:
        if self.is_away:
            raise AwsError("InternalServerError", "away", {})
        return {"Item": dict(self.item)} if self.item else {}

    def put_item(self, *, Item: dict[str, Any], **_: Any) -> None:  # noqa: N803 - boto3's own names
        self.item = Item


@dataclass(kw_only=True)
class Stage:
    """The two places where a stage's catalog is, and who reads and who publishes."""

    bucket: Objects = field(default_factory=Objects)
    table: OneItem = field(default_factory=OneItem)

    def publish(self, *versions: Snapshot, signer: OpenKeySigner = KEEPER, stage: str = "prod") -> None:
        for version in versions:
            self.publishing(keys.sealing(signer, stage)).publish(version)

    def publishing(self, seals: CatalogSeals) -> CopiedSnapshots:
        return CopiedSnapshots(S3Snapshots(self.bucket, "b", seals), DynamoDBSnapshotCopy(self.table, "t", seals))

    def environment(self, *trusted: OpenKeySigner, **trust: Any) -> Rig:
        """A fresh environment of stage prod."""
        public = {signer.public.id: signer.public for signer in trusted or (KEEPER,)}
        read = self.read_by(CatalogSeals(stage="prod", keys=public, **trust))
        return Rig(stores=Stores(), ports=lambda ports: replace(ports, **read))

    def read_by(self, seals: CatalogSeals) -> dict[str, Any]:
        return {
            "snapshots": S3Snapshots(self.bucket, "b", seals),
            "copy": DynamoDBSnapshotCopy(self.table, "t", seals),
        }

    def put(self, pointer: Fields, body: bytes = b"", version: int = 3) -> None:
        """What whoever may write the bucket can do."""
        self.bucket.bodies[CURRENT] = json.dumps(pointer).encode()
        if body:
            self.bucket.bodies[f"policies/{version}.json"] = body

    def put_copy(self, pointer: Fields, body: bytes) -> None:
        """The same for whoever may write the copy."""
        version, *names = pointer.get("version"), "seal", "key_id", "signature"
        texts = {name: {"S": str(pointer[name])} for name in names if name in pointer}
        self.table.item = {"version": {"N": str(version)}, "body": {"B": gzip.compress(body)}, **texts}


def pointer_to(version: int, body: bytes, signer: OpenKeySigner = KEEPER, stage: str = "prod") -> Fields:
    return pointing(version, keys.sealing(signer, stage).seal(version, body))


def pointing(version: object, seal: SignedText) -> Fields:
    return {"version": version, "seal": seal.text, "key_id": seal.key_id, "signature": seal.signature}


def said(**changes: object) -> Fields:
    """A pointer whose seal says something else, signed by the keeper's own key."""
    body = snapshot_to_json(a_version(4))
    document = json.loads(keys.sealing(KEEPER, "prod").seal(4, body).text) | changes
    return pointing(4, signature.signed(json.dumps(document), KEEPER.sign))


def in_force(rig: Rig) -> int:
    rig.app.sources.begun()
    return rig.app.sources.snapshot().version


OLD, NOW_IN_FORCE, FORGED = (snapshot_to_json(a_version(number)) for number in (1, 3, 4))
OTHER_CONTENT = snapshot_to_json(a_version(3, functions={}))
MANIFEST = files_of(an_artifact()).pointer.manifest or SignedText(text="")
ATTACKS: Mapping[str, tuple[Fields, bytes]] = {
    "an older signed one": (pointer_to(1, OLD), OLD),
    "an older signed one under the present number": ({**pointer_to(1, OLD), "version": 3}, OLD),
    "an older signed one under a future number": ({**pointer_to(1, OLD), "version": FUTURE}, OLD),
    "signed by another key": (pointer_to(4, FORGED, STRANGER), FORGED),
    "signed by another key under the trusted one's id": (
        {**pointer_to(4, FORGED, STRANGER), "key_id": KEEPER.public.id},
        FORGED,
    ),
    "of another stage, signed rightly there": (pointer_to(4, FORGED, KEEPER, "dev"), FORGED),
    "of no stage": (said(stage=""), FORGED),
    "a model's manifest": (pointing(4, MANIFEST), FORGED),
    "of another kind, signed by the keeper's key": (said(format="fiso-manifest/1"), FORGED),
    "not signed": ({"version": 4}, FORGED),
    "with a seal and no signature": ({**pointer_to(4, FORGED), "signature": ""}, FORGED),
    "a signature cut short": (
        {**pointer_to(4, FORGED), "signature": str(pointer_to(4, FORGED)["signature"])[:-8]},
        FORGED,
    ),
    "a seal changed by one digit": (
        {**pointer_to(4, FORGED), "seal": str(pointer_to(4, FORGED)["seal"]).replace('"version":4', '"version":5')},
        FORGED,
    ),
    "truncated": (pointer_to(3, NOW_IN_FORCE), NOW_IN_FORCE[:-30]),
    "longer than signed": (pointer_to(3, NOW_IN_FORCE), NOW_IN_FORCE + b" "),
    "the present number with other content": (pointer_to(3, NOW_IN_FORCE), OTHER_CONTENT),
    "the present number with other content, by another key": (pointer_to(3, OTHER_CONTENT, STRANGER), OTHER_CONTENT),
    "far in the future, by another key": (pointer_to(FUTURE, FORGED, STRANGER), FORGED),
    **{f"version {version!r}": (said(version=version), FORGED) for version in (0, -1, "4", True, 4.5, None, 2**64)},
    "a size that is none": (said(size_bytes=-1), FORGED),
    "a digest that is none": (said(sha256=["ab"]), FORGED),
}
each_attack = pytest.mark.parametrize(("pointer", "body"), ATTACKS.values(), ids=ATTACKS.keys())


@cache
def at_version_3() -> Stage:
    made = Stage()
    made.publish(a_version(1), a_version(2), a_version(3))
    return made


@pytest.fixture
def stage() -> Stage:
    """One where three versions were published."""
    made = Stage()
    made.bucket.bodies, made.table.item = dict(at_version_3().bucket.bodies), at_version_3().table.item
    return made


def put_everywhere(stage: Stage, pointer: Fields, body: bytes) -> None:
    for version in (1, 3, 4, FUTURE):
        stage.put(pointer, body, version=version)


@each_attack
def test_what_stands_in_the_bucket_moves_nobody(stage: Stage, pointer: Fields, body: bytes) -> None:
    warm = stage.environment()
    assert in_force(warm) == 3
    put_everywhere(stage, pointer, body)
    assert in_force(stage.environment()) == 3, "the copy is the newest"
    warm.advance(READ_AGAIN_S)
    assert in_force(warm) == 3
    assert set(warm.app.sources.snapshot().functions) == {"word-count"}


@each_attack
def test_what_stands_in_the_copy_moves_nobody(stage: Stage, pointer: Fields, body: bytes) -> None:
    stage.put_copy(pointer, body)
    assert in_force(stage.environment()) == 3
    stage.bucket.bodies.clear()
    if str(pointer.get("seal", "")) != pointer_to(1, OLD)["seal"]:
        with pytest.raises(NothingAvailable):
            in_force(stage.environment())


@each_attack
def test_no_attack_keeps_the_next_version_out(stage: Stage, pointer: Fields, body: bytes) -> None:
    put_everywhere(stage, pointer, body)
    stage.put_copy(pointer, body)
    stage.publish(a_version(4))
    assert in_force(stage.environment()) == 4
    stage.bucket.bodies.clear()
    assert in_force(stage.environment()) == 4, "from the copy"


def test_what_is_refused_is_counted_and_said(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    stage.put(*ATTACKS["of another stage, signed rightly there"])
    rig = stage.environment()
    in_force(rig)
    assert rig.metrics.total("SnapshotRefused") == 1
    assert "signed for stage 'dev'" in caplog.text


def test_an_environment_goes_never_back_whoever_writes_both_stores(stage: Stage) -> None:
    warm = stage.environment()
    assert in_force(warm) == 3
    stage.put(pointer_to(1, OLD), OLD, version=1)
    stage.put_copy(pointer_to(1, OLD), OLD)
    for _ in range(3):
        warm.advance(READ_AGAIN_S)
        assert in_force(warm) == 3


def test_a_fresh_environment_believes_nothing_older_than_the_deployment_knows_of(stage: Stage) -> None:
    """What remains: whoever may write both stores can put back any version from the floor on."""
    stage.put(pointer_to(1, OLD), OLD, version=1)
    stage.put_copy(pointer_to(1, OLD), OLD)
    assert in_force(stage.environment()) == 1
    assert in_force(stage.environment(least=1)) == 1
    with pytest.raises(NothingAvailable):
        in_force(stage.environment(least=2))


def test_who_holds_the_bucket_at_an_old_version_is_found_out_within_a_minute(stage: Stage) -> None:
    warm, held = stage.environment(), dict(stage.bucket.bodies)
    assert in_force(warm) == 3
    stage.publish(a_version(4))
    stage.bucket.bodies = held
    warm.advance(READ_AGAIN_S)
    warm.app.sources.refresh_in_background(next(iter(a_version(3).functions)))
    warm.app.sources.await_pending()
    assert in_force(warm) == 4


def test_a_witness_that_does_not_answer_stops_nobody_and_what_was_put_back_goes_when_it_answers(stage: Stage) -> None:
    stage.put(pointer_to(1, OLD), OLD, version=1)
    stage.table.is_away = True
    rig = stage.environment()
    assert in_force(rig) == 1
    stage.table.is_away = False
    rig.advance(READ_AGAIN_S)
    rig.app.sources.refresh_in_background(next(iter(a_version(3).functions)))
    rig.app.sources.await_pending()
    assert in_force(rig) == 3


@pytest.mark.parametrize("at", [datetime(1970, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC)])
def test_no_clock_has_a_say(stage: Stage, at: datetime) -> None:
    stage.publish(a_version(4, published_at=at))
    rig = stage.environment()
    assert in_force(rig) == 4
    rig.clock.advance(-86_400)
    stage.publish(a_version(5, published_at=NOW))
    rig.clock.advance(86_400 + READ_AGAIN_S)
    assert in_force(rig) == 5


def test_a_signed_version_far_in_the_future_is_got_rid_of_by_another_key(stage: Stage) -> None:
    """Only the keeper can have signed it, from a database that was wrong. The floor is the key's, and goes with it."""
    stage.publish(a_version(FUTURE))
    assert in_force(stage.environment()) == FUTURE
    stage.publish(a_version(4))
    assert in_force(stage.environment()) == FUTURE, "no lower number replaces it"
    store = InMemoryCatalogStore()
    store.replace([an_entry()], based_on=0, author="ada")
    with pytest.raises(InvalidCatalog, match="right database, or restored"):
        publish(store, stage.publishing(keys.sealing(KEEPER, "prod")))
    assert publish(store, stage.publishing(keys.sealing(NEXT, "prod"))) is not None
    assert in_force(stage.environment(NEXT)) == 1


def test_keys_change_under_traffic(stage: Stage) -> None:
    overlapping = stage.environment(KEEPER, NEXT)
    assert in_force(overlapping) == 3
    store = InMemoryCatalogStore()
    for based_on in range(3):
        store.replace([an_entry(timeout_ms=5_000 + based_on)], based_on=based_on, author="ada")
    assert publish(store, stage.publishing(keys.sealing(NEXT, "prod"))) is not None, "signed again by the new key"
    overlapping.advance(READ_AGAIN_S)
    assert in_force(overlapping) == in_force(stage.environment(NEXT)) == 3
    with pytest.raises(NothingAvailable):
        in_force(stage.environment(STRANGER))


def test_a_stage_without_keys_trusts_no_catalog(stage: Stage) -> None:
    seals = CatalogSeals(stage="prod", keys={})
    with pytest.raises(InvalidCatalog, match="a key that is not trusted here"):
        S3Snapshots(stage.bucket, "b", seals).current()
    with pytest.raises(InvalidCatalog, match="only the publisher signs"):
        S3Snapshots(stage.bucket, "b", seals).publish(a_version(4))


def test_what_code_from_before_published_counts_only_where_the_stage_says_so_and_until_the_first_seal() -> None:
    stage = Stage()
    stage.put({"version": 3}, NOW_IN_FORCE)
    with pytest.raises(NothingAvailable):
        in_force(stage.environment())
    with pytest.raises(NothingAvailable):
        in_force(stage.environment(accepts_unsigned=True, least=2))
    updated = stage.environment(accepts_unsigned=True)
    assert in_force(updated) == 3
    stage.publish(a_version(4))
    updated.advance(READ_AGAIN_S)
    assert in_force(updated) == 4
    stage.put({"version": 5}, snapshot_to_json(a_version(5)), version=5)
    updated.advance(READ_AGAIN_S)
    assert in_force(updated) == 4


def test_a_stage_of_before_serves_all_the_while_it_is_updated() -> None:
    """Deployed without keys, then the keeper signs, then with its public half, then as a new stage is."""
    stage = Stage()
    stage.put({"version": 3}, NOW_IN_FORCE)
    updating = Rig(stores=Stores(), ports=lambda ports: replace(ports, **stage.read_by(CatalogSeals(**WITHOUT_KEYS))))
    assert in_force(updating) == 3
    stage.publish(a_version(3))
    updating.advance(READ_AGAIN_S)
    fresh = Rig(stores=Stores(), ports=lambda ports: replace(ports, **stage.read_by(CatalogSeals(**WITHOUT_KEYS))))
    assert in_force(updating) == in_force(fresh) == 3
    assert in_force(stage.environment(accepts_unsigned=True)) == in_force(stage.environment()) == 3


WITHOUT_KEYS: dict[str, Any] = {"stage": "prod", "keys": {}, "accepts_unsigned": True}


def test_the_keeper_signs_what_code_from_before_published() -> None:
    stage, store = Stage(), InMemoryCatalogStore()
    store.replace([an_entry()], based_on=0, author="ada")
    stage.put({"version": 1}, snapshot_to_json(a_version(1)), version=1)
    publish(store, stage.publishing(keys.sealing(KEEPER, "prod")))
    assert in_force(stage.environment()) == 1


def test_another_catalog_under_a_published_number_is_told_and_not_signed(stage: Stage) -> None:
    store = InMemoryCatalogStore()
    for based_on in range(3):
        store.replace([an_entry(name="other")], based_on=based_on, author="ada")
    with pytest.raises(InvalidCatalog, match="published with other content"):
        publish(store, stage.publishing(keys.sealing(KEEPER, "prod")))


def test_a_version_is_verified_once(stage: Stage) -> None:
    verified = list[PublicKeys]()

    def trusted() -> PublicKeys:
        verified.append({KEEPER.public.id: KEEPER.public})
        return verified[-1]

    seals = CatalogSeals(stage="prod", keys=trusted)
    for _ in range(3):
        assert (
            S3Snapshots(stage.bucket, "b", seals).current() == DynamoDBSnapshotCopy(stage.table, "t", seals).current()
        )
        assert DynamoDBSnapshotCopy(stage.table, "t", seals).attested() == 3
    assert len(verified) == 1


def test_a_copy_that_would_unpack_to_more_than_was_signed_is_not_unpacked(stage: Stage) -> None:
    stage.put_copy(pointer_to(3, NOW_IN_FORCE), bytes(50_000_000))
    with pytest.raises(InvalidCatalog, match="not what was signed"):
        DynamoDBSnapshotCopy(stage.table, "t", keys.sealing(KEEPER, "prod")).current()


def test_two_who_publish_at_once_leave_the_newer_one() -> None:
    """The pointer moves by a conditional write from what was read."""

    class Overtaken(Objects):
        def put_object(self, **parameters: Any) -> None:
            if parameters["Key"] == CURRENT and "IfMatch" in parameters:
                raise WriteConflict("somebody else was faster")
            super().put_object(**parameters)

    stage = Stage(bucket=Overtaken())
    stage.publish(a_version(1))
    with pytest.raises(WriteConflict):
        stage.publish(a_version(2))
    assert FORMAT in stage.bucket.bodies[CURRENT].decode()
