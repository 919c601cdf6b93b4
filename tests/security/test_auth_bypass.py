"""Does anybody get in without a token or signature that authenticates them, or learn why not? (Docs: decision 10.)"""

import json
import logging
from collections.abc import Iterator, Mapping
from dataclasses import replace
from random import Random
from typing import Any

import pytest

from fiso.domain.access import AuthMode
from fiso.ports import IssuerKeys
from fiso.settings import AccessSettings
from fiso.testing.endpoints import OK
from fiso.testing.rig import SETTINGS, Rig
from tests import tokens
from tests.builders import NOW, failing
from tests.edge import BY_SIGNATURE, handed_on
from tests.security.attacks import (
    CURVE,
    DOORS,
    RSA,
    Attack,
    Door,
    attacks_on_signatures,
    attacks_on_tokens,
    claiming_to_be_mallory,
    genuine,
)
from tests.tokens import AUDIENCE, ISSUER, FixedKeys

BY_TOKEN = AccessSettings(mode=AuthMode.JWT, issuer=ISSUER, audiences=(AUDIENCE,))
UNASKED = AccessSettings(mode=AuthMode.NONE)
OWN_HEADERS = ("x-fiso-invocation-id", "x-fiso-overhead-ms")
KEYS = FixedKeys.of(RSA, CURVE)


class Stage:
    """One execution environment of the orchestrator, and what happened behind it."""

    def __init__(self, access: AccessSettings, issuer_keys: IssuerKeys | None = None) -> None:
        self.rig = Rig(
            respond=failing(OK),
            settings=replace(SETTINGS, access=access),
            ports=lambda ports: replace(ports, issuer_keys=issuer_keys),
        )

    @property
    def side_effects(self) -> int:
        """Calls of functions, touches of the log, reads of the catalog so far."""
        stores = self.rig.stores
        return len(self.rig.caller.calls) + stores.log.operations.total() + stores.snapshots.operations["current"]

    def status(self, event: Mapping[str, Any]) -> int:
        """What is answered to one event."""
        return int(self.rig.send(event)["statusCode"])

    def told(self, event: Mapping[str, Any]) -> str:
        """All that a caller could learn from: what differs between any two requests is left out."""
        response = self.rig.send(event)
        headers = {name: value for name, value in response["headers"].items() if name not in OWN_HEADERS}
        is_json = "json" in headers["content-type"] and not response.get("isBase64Encoded")
        document = json.loads(response["body"]) | {"invocation_id": ""} if is_json else response["body"]
        return json.dumps([response["statusCode"], headers, document], sort_keys=True)


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Thousands of refusals are as many lines."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    yield
    logging.disable(before)


def handed_on_by_the_gateway(attack: Attack) -> Attack:
    return replace(attack, event=lambda door: handed_on(attack.event(door)))


STAGES = {
    "jwt": (Stage(BY_TOKEN, KEYS), attacks_on_tokens()),
    "iam": (Stage(BY_SIGNATURE), [handed_on_by_the_gateway(each) for each in attacks_on_signatures()]),
}
ATTACKS = [(stage, attack) for stage, known in STAGES.values() for attack in known]


@pytest.mark.parametrize(("stage", "attack"), ATTACKS, ids=[attack.name for _, attack in ATTACKS])
def test_nobody_gets_in_at_any_door_causes_anything_or_learns_why_not(stage: Stage, attack: Attack) -> None:
    doors = [door for door in DOORS if attack.status == 401 or door.is_scoped]
    told = {stage.told(attack.event(door)) for door in doors}
    if attack.status == 401:
        assert told == {stage.told(DOORS[0].event())}, "every refusal is the same"
    assert {json.loads(text)[0] for text in told} == {attack.status}
    assert stage.side_effects == 0


def test_the_attacks_are_many() -> None:
    doors = {(door.method, door.path) for door in DOORS}
    tries = sum(attack.status == 401 or door.is_scoped for _, attack in ATTACKS for door in DOORS)
    assert len(doors) >= 30
    assert tries >= 3_000


def test_the_same_attack_at_a_stage_that_asks_nobody_gets_in_and_is_noticed() -> None:
    stage, attack = Stage(UNASKED), ATTACKS[0][1]
    assert stage.status(attack.event(DOORS[0])) == 200
    assert stage.side_effects > 0


@pytest.mark.parametrize("name", ["RS256", "ES256"])
def test_a_genuine_token_passes_every_door_as_if_nobody_was_asked(name: str) -> None:
    stage, unasked, event = Stage(BY_TOKEN, KEYS), Stage(UNASKED), genuine()[name]
    seen = [(stage.status(event(door)), unasked.status(door.event())) for door in DOORS]
    assert [pair for pair in seen if pair[0] != pair[1]] == []
    assert {status for status, _ in seen} == {200, 400, 404, 405}


def test_no_place_of_a_request_but_the_token_names_its_tenant() -> None:
    stage = Stage(BY_TOKEN, KEYS)
    for event in claiming_to_be_mallory(RSA.sign(tokens.payload(NOW))).values():
        stage.status(event)
    assert [request.tenant for _, request in stage.rig.caller.calls] == ["alice"] * 5


@pytest.mark.parametrize("count", [3_000, pytest.param(50_000, marks=pytest.mark.slow)])
def test_no_token_with_a_flipped_bit_is_let_in(count: int) -> None:
    stage, rng = Stage(BY_TOKEN, KEYS), Random(1)
    good = [signer.sign(tokens.payload(NOW)) for signer in (RSA, CURVE)]
    for _ in range(count):
        token = tokens.with_flipped_bit(rng.choice(good), rng)
        assert stage.status(DOORS[0].event(authorization=f"Bearer {token}")) == 401, token
        stage.rig.metrics.values.clear()
    assert stage.side_effects == 0


@pytest.mark.parametrize(("scope", "allowed"), [("fiso:invoke", 1), ("fiso:read", 2), ("fiso:admin", 3), ("other", 0)])
def test_each_route_asks_for_its_scope_and_admin_has_all(scope: str, allowed: int) -> None:
    stage, token = Stage(BY_TOKEN, KEYS), RSA.sign(tokens.payload(NOW, scope=scope))
    wanted = [("POST", "/v1/invoke/word-count"), ("POST", "/v1/explain/word-count"), ("GET", "/v1/endpoints")]
    statuses = [
        stage.status(Door(method=method, path=path).event(authorization=f"Bearer {token}")) for method, path in wanted
    ]
    assert statuses.count(200) == allowed
    assert set(statuses) <= {200, 403}
