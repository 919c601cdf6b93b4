"""Laws of a login: what is sealed comes back as it was, and no wish leads a person away from the console."""

from datetime import UTC, datetime
from urllib.parse import urljoin, urlsplit

import pytest
from cryptography.fernet import Fernet
from hypothesis import given
from hypothesis import strategies as st

from fiso.adapters.identity.sealing import FernetSeal
from fiso.domain.login import LoginAttempt, Session
from fiso.domain.request import TenantId
from fiso.services.identity.login import return_path
from fiso.testing.clock import ManualClock

words = st.text(min_size=1, max_size=60)
instants = st.integers(0, 4_000_000_000).map(lambda seconds: datetime.fromtimestamp(seconds, UTC))
attempts = st.builds(LoginAttempt, state=words, nonce=words, code_verifier=words, return_to=words, expires_at=instants)
sessions = st.builds(
    Session,
    subject=words,
    name=words,
    tenant=words.map(TenantId),
    scopes=st.frozensets(words, max_size=5),
    form_token=words,
    expires_at=instants,
)
SEAL = FernetSeal(lambda: [Fernet.generate_key().decode()], clock=ManualClock())


@given(attempts)
def test_an_attempt_comes_back_as_it_was(attempt: LoginAttempt) -> None:
    assert LoginAttempt.parsed(attempt.text()) == attempt


@given(sessions)
def test_a_session_comes_back_as_it_was(session: Session) -> None:
    assert Session.parsed(session.text()) == session


@given(sessions, attempts)
def test_neither_is_read_as_the_other(session: Session, attempt: LoginAttempt) -> None:
    for parse, text in ((Session.parsed, attempt.text()), (LoginAttempt.parsed, session.text())):
        with pytest.raises(ValueError, match="this is not a"):
            parse(text)


@given(st.text(max_size=300))
def test_a_text_comes_out_of_its_seal_and_out_of_no_other(text: str) -> None:
    text = text.encode(errors="replace").decode()
    sealed = SEAL.close(text)
    other = FernetSeal(lambda: [Fernet.generate_key().decode()], clock=ManualClock())
    assert SEAL.open(sealed) == text
    assert other.open(sealed) is None


@given(st.text(max_size=5_000))
def test_nothing_that_was_not_sealed_opens(text: str) -> None:
    assert SEAL.open(text) is None


pieces = st.sampled_from(
    ["/", "//", "\\", "/console", "..", "%2f", "@", ":", "?", "#", "\r\n", "\t", "evil.example", "a"]
)


@given(st.one_of(st.text(max_size=80), st.lists(pieces, max_size=8).map("".join), st.none()))
def test_a_login_ends_under_the_console_whatever_was_wished_for(wanted: str | None) -> None:
    path = return_path(wanted)
    site = "https://fiso.example"
    for address in (site + path, urljoin(f"{site}/console/login", path)):
        parts = urlsplit(address)
        assert parts.netloc == "fiso.example"
        assert parts.path == "/console" or parts.path.startswith("/console/")
        assert address.isprintable()
        assert ".." not in parts.path.split("/")
