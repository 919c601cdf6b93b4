import json
import random

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from fiso.codecs.record import to_document
from fiso.domain.record import InvocationRecord
from fiso_client.core.failures import Failure, ProviderError
from fiso_client.core.redaction import GONE, is_secret_name, redact, redact_document
from tests.security.canaries import Canaries
from tests.strategies import records


def test_a_secret_of_every_form_is_taken_out() -> None:
    canaries = Canaries(random.Random(5))
    for text in canaries.in_forms():
        assert canaries.found_in(redact(text)) == [], text
        assert canaries.found_in(redact(f"before {text} after")) == [], text


@pytest.mark.parametrize(
    "text",
    [
        "status 503",
        "KeyError: 'endpoints'",
        "no key to sign leases with: set parameter /fiso/prod/lease-keys (`fiso lease-key`)",
        "arn:aws:secretsmanager:us-east-1:000000000000:secret:fiso/prod/database",
        "https://orders.azurewebsites.net/api/orders?x=1",
        "no function 'word-count' in catalog version 3",
        "ümläute and 漢字",
    ],
)
def test_a_text_without_secrets_stays_as_it_is(text: str) -> None:
    assert redact(text) == text


def test_what_commands_a_terminal_or_begins_a_line_is_spelled_out() -> None:
    assert redact("a\r\nlevel=ERROR \x1b[31mred\x9b31m \u202e \ud800 \x00") == (
        r"a\r\nlevel=ERROR \x1b[31mred\x9b31m \u202e \ud800 \x00"
    )
    assert redact("a\n\tb\x1b", keep_lines=True) == "a\n\\tb\\x1b"


def test_a_text_has_a_limit_and_a_secret_that_it_cuts_is_still_one() -> None:
    assert redact("x" * 1000, limit=10) == "x" * 10
    assert "hunter2" not in redact("password='hunter2 and more", limit=22)


@given(st.text(max_size=400))
def test_what_is_shown_is_always_one_line_that_can_be_encoded(text: str) -> None:
    found = redact(text)
    assert not any(ord(character) < 32 or 127 <= ord(character) < 160 for character in found)
    found.encode()


def test_values_under_a_secrets_name_are_gone_whole() -> None:
    document = {
        "headers": {"Authorization": ["a", "b"], "host": "h", "X-Functions-Key": "k"},
        "notes": ("token=abc", 5, None, True, b"raw"),
    }
    assert redact_document(document) == {
        "headers": {"Authorization": GONE, "host": "h", "X-Functions-Key": GONE},
        "notes": [f"token={GONE}", 5, None, True, GONE],
    }


@pytest.mark.parametrize("name", ["authorization", "Set-Cookie", "refresh_token", "client-secret", "api_key", "code"])
def test_names_of_secrets(name: str) -> None:
    assert is_secret_name(name)


@given(records())
def test_a_record_that_is_spilled_to_the_log_keeps_every_figure(record: InvocationRecord) -> None:
    document = to_document(record)
    assume("\\" not in json.dumps(document))  # a text with control characters or beyond ASCII is spelled out
    assert redact_document(document) == document


def test_what_a_provider_said_is_redacted_where_the_error_is_made() -> None:
    error = ProviderError(Failure.BROKEN, "Bearer abcdefgh\r\nx")
    assert error.detail == str(error) == rf"Bearer {GONE}\r\nx"
