"""The login's steps with an issuer that can be told to lie."""

from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from cryptography.fernet import Fernet

from fiso.domain.errors import LoginRefused, NotAllowed, StoreUnavailable
from tests.builders import NOW
from tests.functional.login_flow import STRANGER, Flow, the_console


def test_a_login_that_is_right_in_everything_gives_a_session_for_an_hour() -> None:
    flow = Flow()
    finished = flow.login.finish(flow.callback(flow.login.begin("/console/models")))
    assert finished.return_to == "/console/models"
    session = flow.login.session(finished.sealed_session)
    assert session == finished.session
    assert (session.subject, session.tenant) == ("alice", "alice")
    assert session.scopes == {"fiso:invoke", "fiso:read", "fiso:admin"}
    flow.clock.advance(3_599)
    assert flow.login.session(finished.sealed_session) is not None
    flow.clock.advance(1)
    assert flow.login.session(finished.sealed_session) is None


def test_a_rotation_reaches_an_environment_that_is_up_within_a_minute() -> None:
    words = [Fernet.generate_key().decode()]
    flow = Flow(words)
    before = flow.login.finish(flow.callback(flow.login.begin(None))).sealed_session
    words[:] = [Fernet.generate_key().decode()]
    flow.clock.advance(59)
    assert flow.login.session(before) is not None
    flow.clock.advance(1)
    assert flow.login.session(before) is None


@pytest.mark.parametrize("words_then", [[], ["short"]])
def test_who_is_logged_in_stays_so_while_the_keys_cannot_be_read(words_then: list[str]) -> None:
    words = [Fernet.generate_key().decode()]
    flow = Flow(words)
    sealed = flow.login.finish(flow.callback(flow.login.begin(None))).sealed_session
    words[:] = words_then
    flow.clock.advance(120)
    assert flow.login.session(sealed) is not None


def test_the_issuers_own_query_survives() -> None:
    assert parse_qs(urlsplit(Flow().login.begin(None).address).query)["tenant"] == ["t1"]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"state": None}, "another attempt"),
        ({"state": "é"}, "another attempt"),
        ({"code": None}, "no code"),
        ({"code": "x" * 3000}, "no code"),
        ({"code": "stolen"}, "invalid_grant"),
        ({"error": "access_denied"}, "access_denied"),
        ({"issuer": "https://other.example"}, "another issuer's"),
        ({"sealed_attempt": None}, "began no login"),
        ({"sealed_attempt": "x"}, "began no login"),
    ],
)
def test_an_answer_that_is_wrong_in_one_thing_is_refused(changes: dict[str, str | None], reason: str) -> None:
    assert reason in Flow().reason(**changes)


@pytest.mark.parametrize(
    "identity",
    [
        {"nonce": "n" * 43},
        {"nonce": None},
        {"nonce": 7},
        {"nonce": "\ud800"},
        {"azp": "another-client"},
        {"exp": int(NOW.timestamp()) - 61},
        {"iss": "https://other.example"},
        {"sub": None},
    ],
)
def test_an_identity_token_that_is_not_for_this_login_is_refused(identity: dict[str, Any]) -> None:
    flow = Flow()
    flow.issuer.identity = identity
    assert flow.reason()


def test_tokens_that_another_key_signed_are_refused() -> None:
    flow = Flow()
    flow.issuer.signer = STRANGER
    assert "identity token" in flow.reason()


def test_an_access_token_does_not_pass_as_an_identity_token_nor_the_other_way_round() -> None:
    flow = Flow()
    flow.issuer.is_swapped = True
    assert "identity token" in flow.reason()


def test_an_access_token_for_another_api_is_refused() -> None:
    flow = Flow()
    flow.issuer.access = {"aud": "another-api"}
    assert "access token" in flow.reason()


def test_who_may_not_read_gets_no_session() -> None:
    flow = Flow()
    flow.issuer.access = {"scope": "fiso:invoke openid"}
    with pytest.raises(NotAllowed):
        flow.login.finish(flow.callback(flow.login.begin(None)))


def test_an_attempt_is_no_session_and_a_session_is_no_attempt() -> None:
    flow = Flow()
    begun = flow.login.begin(None)
    assert flow.login.session(begun.sealed_attempt) is None
    session = flow.login.finish(flow.callback(begun)).sealed_session
    assert "began no login" in flow.reason(sealed_attempt=session)


@pytest.mark.parametrize("keys", [[], ["short"]])
def test_without_usable_keys_nobody_logs_in_and_nobody_is_logged_in(keys: list[str]) -> None:
    flow = Flow(keys)
    with pytest.raises(StoreUnavailable):
        flow.login.begin(None)
    with pytest.raises(StoreUnavailable):
        flow.login.session("x")


def test_a_long_name_and_many_scopes_still_fit_a_cookie() -> None:
    flow = Flow()
    flow.issuer.identity = {"name": "é" * 500}
    flow.issuer.access = {"scope": " ".join(["fiso:read", *(f"other:{n}" for n in range(300))])}
    finished = flow.login.finish(flow.callback(flow.login.begin(None)))
    assert len(finished.sealed_session) < 3_000
    assert flow.login.session(finished.sealed_session) == finished.session


@pytest.mark.parametrize(
    ("name", "shown"), [("Ada\r\n\x1b[1m", "Ada[1m"), ("\ud800", "alice"), ("", "alice"), (7, "7"), ("<b>", "<b>")]
)
def test_what_an_issuer_calls_a_person_can_be_shown(name: object, shown: str) -> None:
    flow = Flow()
    flow.issuer.identity = {"name": name}
    finished = flow.login.finish(flow.callback(flow.login.begin(None)))
    assert finished.session.name == shown
    cookies = [f"__Host-fiso-session={finished.sealed_session}"]
    page = the_console(flow).get("/console", headers={"host": "fiso.example"}, cookies=cookies)
    assert page.status == 200
    assert "<b>" not in page.body


def test_an_attempt_ends_after_ten_minutes() -> None:
    flow = Flow()
    begun = flow.login.begin(None)
    flow.clock.now += timedelta(seconds=600)
    with pytest.raises(LoginRefused, match="begin again"):
        flow.login.finish(flow.callback(begun))
