"""The copy of an issuer's keys in a front door's mirror: what it is good for, and what it is not believed."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from fiso.adapters.aws.s3 import Bucket
from fiso.adapters.objects.issuer_keys import IssuerKeysMirror, MirroredIssuerKeys
from fiso.domain.access import SigningKey
from fiso.domain.errors import StoreUnavailable
from fiso.testing.clock import ManualClock
from fiso_cli.training import keys
from localcloud.drill.object_store import Server
from tests.functional.test_foreign_door import BUCKET, client, storage

SIGNER = keys.new()


@dataclass(kw_only=True)
class Issuer:
    """The port `IssuerKeys`; `is_away` while it does not answer."""

    is_away: bool = False
    reads: int = 0
    key: str = "k1"

    def read(self) -> dict[str, SigningKey]:
        self.reads += 1
        if self.is_away:
            raise StoreUnavailable("away")
        row = {"kty": "EC", "crv": "P-256", "x": "x" * 43, "y": "y" * 43, "kid": self.key, "x5c": ["long" * 900]}
        return {self.key: SigningKey(id=self.key, algorithm="ES256", document=json.dumps(row))}


ISSUER, NOW = "https://issuer.example", datetime(2026, 11, 30, 12, tzinfo=UTC)


def mirroring(server: Server, issuer: Issuer, clock: ManualClock, **other: Any) -> IssuerKeysMirror:
    said: dict[str, Any] = {"name": ISSUER, "stage": "prod", "sign": SIGNER.sign} | other
    return IssuerKeysMirror(Bucket(client("azure", server), BUCKET), issuer, clock=clock, **said)


def mirrored(server: Server, issuer: Issuer, clock: ManualClock) -> MirroredIssuerKeys:
    trusted = {SIGNER.public.id: SIGNER.public}
    bucket = Bucket(client("azure", server), BUCKET)
    return MirroredIssuerKeys(issuer, bucket, name=ISSUER, stage="prod", trusted=trusted, clock=clock)


def test_callers_are_known_while_the_issuer_is_away() -> None:
    issuer, clock = Issuer(), ManualClock(NOW)
    with storage() as server:
        keeper, door_keys = mirroring(server, issuer, clock), mirrored(server, issuer, clock)
        issuer.is_away = True
        with pytest.raises(StoreUnavailable, match="no copy"):
            door_keys.read()
        issuer.is_away = False
        assert [keeper.renew(), keeper.renew()] == [True, False]
        issuer.key = "k2"
        assert set(door_keys.read()) == {"k2"}, "the issuer's own word comes first"
        issuer.is_away = True
        (kept,) = door_keys.read().values()
        assert (kept.id, "x5c" in kept.document) == ("k1", False)
        clock.now = NOW + timedelta(minutes=10)
        with pytest.raises(StoreUnavailable):
            keeper.renew()
        issuer.is_away = False
        assert keeper.renew()
        issuer.is_away = True
        assert set(door_keys.read()) == {"k2"}


@pytest.mark.parametrize(
    ("other", "after", "change"),
    [
        ({"sign": keys.new().sign}, 0, None),
        ({"stage": "dev"}, 0, None),
        ({"name": "https://other.example"}, 0, None),
        ({}, 24 * 60, None),
        ({}, -6, None),
        ({}, 0, ("k1", "k9")),
        ({}, 0, ('"said"', '"sayd"')),
        ({}, 0, ('"signature": "', '"signature": "A')),
    ],
)
def test_a_copy_of_keys_that_the_keeper_did_not_sign_lately_for_this_issuer_lets_nobody_in(
    other: dict[str, Any], after: int, change: tuple[str, str] | None
) -> None:
    issuer, clock = Issuer(), ManualClock(NOW)
    with storage() as server:
        mirroring(server, issuer, clock, **other).renew()
        place = (BUCKET, "issuer/keys.json")
        body, generation = server.objects.stored[place]
        if change:
            body = body.replace(change[0].encode(), change[1].encode())
        server.objects.stored[place] = (body, generation)
        issuer.is_away, clock.now = True, NOW + timedelta(minutes=after)
        with pytest.raises(StoreUnavailable, match="away; the mirror's copy of its keys is refused"):
            mirrored(server, issuer, clock).read()
