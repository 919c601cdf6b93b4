"""Whoever may invoke a function directly is nobody: what an event says of its caller counts with the gateway's word."""

import json
import logging
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from typing import Any

import pytest

from fiso.domain.access import AuthMode
from fiso.services.identity.access import GATEWAY_WORD, Access
from fiso.settings import AccessSettings
from fiso.testing.rig import SETTINGS, Rig, http_event, word_count
from fiso_cli import gateway_key
from functions.console import app, handler
from functions.console.access import Entrance
from localcloud.emulator_launch import handed_on as mapped
from tests.edge import BY_IAM, BY_SIGNATURE, WORD, signed
from tests.functional.console_world import busy_world
from tests.golden.log_lines import lines_of

HASH = sha256(WORD.encode()).hexdigest()
Event = dict[str, Any]


def shown(value: object, name: str = GATEWAY_WORD) -> Event:
    """The event of a caller of one's own choice, and in the word's place this."""
    event = signed(http_event())
    headers = {each: text for each, text in event["headers"].items() if each != GATEWAY_WORD}
    return {**event, "headers": headers | {name: value}}


def without() -> Event:
    event = shown("")
    del event["headers"][GATEWAY_WORD]
    return event


FORGED: dict[str, Callable[[], Event]] = {
    "nothing": without,
    "empty": lambda: shown(""),
    "another word": lambda: shown("the gateway"),
    "the hash, which whoever reads the function's settings knows": lambda: shown(HASH),
    "upper case": lambda: shown(WORD.upper()),
    "a space behind": lambda: shown(f"{WORD} "),
    "twice": lambda: shown(f"{WORD},{WORD}"),
    "a list": lambda: shown([WORD]),
    "null": lambda: shown(None),
    "true": lambda: shown(True),
    "a lone surrogate": lambda: shown(f"{WORD}\ud800"),
    "under another spelling": lambda: shown(WORD, "X-Fiso-Gateway"),
    "with a low line": lambda: shown(WORD, "x_fiso_gateway"),
    "in the path": lambda: {**without(), "rawPath": f"/v1/invoke/word-count/{WORD}"},
    "in the query": lambda: {**without(), "rawQueryString": f"{GATEWAY_WORD}={WORD}"},
    "in the context": lambda: {
        **without(),
        "requestContext": {**signed(http_event())["requestContext"], GATEWAY_WORD: WORD},
    },
    "among stage variables": lambda: {**without(), "stageVariables": {GATEWAY_WORD: WORD}},
    "among cookies": lambda: {**without(), "cookies": [f"{GATEWAY_WORD}={WORD}"]},
    "among multi-value headers": lambda: {**without(), "multiValueHeaders": {GATEWAY_WORD: [WORD]}},
}


@pytest.mark.parametrize("forged", FORGED.values(), ids=FORGED)
@pytest.mark.parametrize("path", ["/v1/invoke/word-count", "/v1/decide/word-count", "/v1/endpoints", "/nowhere"])
def test_a_direct_invoker_is_no_caller_that_it_names(path: str, forged: Callable[[], Event]) -> None:
    rig, event = Rig(word_count(), settings=BY_IAM), forged()
    response = rig.send(event if event["rawPath"].endswith(WORD) else {**event, "rawPath": path})
    assert response["statusCode"] == 401
    assert "gateway" not in response["body"]
    assert (rig.calls, rig.stores.log.records) == ([], {})


def test_what_asks_nobody_answers_a_direct_invocation_too() -> None:
    assert Rig(word_count(), settings=BY_IAM).send(http_event("GET", "/healthz"))["statusCode"] in (200, 503)


@pytest.mark.parametrize("forged", FORGED.values(), ids=FORGED)
def test_nor_does_the_console_believe_it(forged: Callable[[], Event]) -> None:
    entrance = Entrance(access=Access(mode=AuthMode.IAM, gateway_hashes=BY_SIGNATURE.gateway_hashes))
    console = app.create(busy_world(3).sources, stage="prod", entrance=entrance)
    event = forged()
    event["requestContext"]["http"] |= {"method": "GET", "sourceIp": "192.0.2.1"}
    answer = handler.answer_event(console, {**event, "rawPath": "/api/invocations"}, None)
    assert answer["statusCode"] in (400, 401)


def test_the_word_reaches_no_function_no_record_no_answer_and_no_log() -> None:
    with lines_of(logging.getLogger()) as lines:
        rig = Rig(word_count(), settings=BY_IAM)
        responses = [
            rig.send(signed(http_event("POST", path, idempotency_key=key)))
            for path in ("/v1/invoke/word-count", "/v1/explain/word-count", "/v1/decide/word-count", "/v1/invoke/no")
            for key in ("a", "b")
        ]
        told = json.dumps([responses, lines()], default=str)
    assert [response["statusCode"] for response in responses] == [200] * 6 + [404] * 2
    seen = [request for _, request in rig.caller.calls]
    assert seen
    assert not [text for text in (told, repr(seen), repr(rig.records)) if WORD in text or GATEWAY_WORD in text]


def test_a_stage_that_asks_for_the_word_asks_whatever_else_it_knows_callers_by() -> None:
    """The local cloud's own stage does, so that what is deployed to AWS is what was tried."""
    access = AccessSettings(mode=AuthMode.NONE, gateway_hashes=BY_SIGNATURE.gateway_hashes)
    rig = Rig(word_count(), settings=replace(SETTINGS, access=access))
    assert rig.send(without())["statusCode"] == 401
    assert rig.send(shown(WORD))["statusCode"] == 200


def test_a_rotation_refuses_nobody_whichever_side_is_updated_first() -> None:
    stored, deployed = gateway_key.first(), 1
    for _ in range(4):
        following = gateway_key.rotated(stored)
        assert gateway_key.newest(following) == deployed + 1
        for word, hashes in (
            (stored[f"word-{deployed}"], following[f"hashes-{deployed + 1}"]),  # functions first
            (following[f"word-{deployed + 1}"], stored[f"hashes-{deployed}"]),  # the gateway first
            (following[f"word-{deployed + 1}"], following[f"hashes-{deployed + 1}"]),
        ):
            assert sha256(word.encode()).hexdigest() in hashes.split()
        assert following[f"hashes-{deployed}"] == stored[f"hashes-{deployed}"], "what is deployed can be deployed again"
        stored, deployed = following, deployed + 1
    assert len([name for name in stored if name.startswith("word-")]) == 3, "a word that was withdrawn is gone"


@pytest.mark.parametrize("name", ["x-fiso-gateway", "X-Fiso-Gateway"])
def test_the_local_gateway_writes_over_what_a_caller_sent(name: str) -> None:
    given = mapped({name: "mine", "Accept": "*/*"}, {"overwrite:header.x-fiso-gateway": "its own"})
    assert given == {"x-fiso-gateway": "its own", "accept": "*/*"}
    assert mapped({"a": "b"}, {}) == {"a": "b"}
