"""Header for header through the whole orchestrator, to a genuine server and back: what passes is what the table of
docs/http.md says, and nothing else."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fiso.domain.endpoint import Provider
from fiso.domain.policy import Idempotent
from fiso.testing.rig import Rig, http_event
from tests.builders import an_entry
from tests.functional.lease_servers import serving
from tests.security.genuine_clouds import at, rig_over

PAGE = (Path(__file__).parents[2] / "docs" / "http.md").read_text(encoding="utf-8")
TOKEN = "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz"


def stays(heading: str) -> frozenset[str]:
    """The names in the first column of the table under a heading."""
    part = PAGE.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    rows = [line.split("|")[1] for line in part.splitlines() if line.startswith("| `")]
    return frozenset(name for row in rows for name in re.findall(r"`([a-z0-9*-]+)`", row))


REQUEST, ANSWER = stays("Request headers that stay"), stays("Answer headers that stay")
SPECIAL = {"connection", "cookie", "traceparent", "tracestate", "x-fiso-forward-authorization", "idempotency-key"}
"""Tested by themselves: they depend on one another or on their values."""
names = st.one_of(
    st.sampled_from(sorted(REQUEST | ANSWER)).map(lambda name: name.replace("*", "any")),
    st.text(TOKEN, min_size=1, max_size=12),
    st.sampled_from(
        ["accept", "authorization", "range", "if-none-match", "link", "etag", "x-custom", "www-authenticate"]
    ),
).filter(lambda name: name not in SPECIAL and not name.startswith("access-control-request"))
values = st.text([chr(number) for number in range(0x21, 0x7F)], min_size=1, max_size=12)
headers = st.dictionaries(names, values, max_size=12)


def is_named(name: str, listed: frozenset[str]) -> bool:
    """Whether a table has a name, by itself or by its beginning (`x-fiso-*`), spelled with _ as well."""
    plain = name.replace("_", "-")
    return any(plain == each or (each.endswith("*") and plain.startswith(each[:-1])) for each in listed)


class Echo:
    """A server that keeps what it was sent and answers as it is told to."""

    def __init__(self) -> None:
        self.seen: dict[str, str] = {}
        self.says: dict[str, str] = {}

    def respond(self, path: str, headers: dict[str, str], body: bytes) -> tuple[int, dict[str, str], bytes]:
        """One answer."""
        self.seen = headers
        return 200, {"content-type": "text/plain", **self.says}, b"ok"


@pytest.fixture(scope="module")
def echo() -> Any:
    told = Echo()
    with serving(told.respond) as server:
        entry = an_entry(at(server.url, Provider.GCP), name="echo", idempotent=Idempotent.NO)
        with rig_over(server.url, entry) as rig:
            yield told, rig


def own(seen: Mapping[str, str]) -> dict[str, str]:
    """What came of the caller: without what FISO and HTTP itself have added."""
    added = {"host", "x-method", "content-length", "x-forwarded-for", "x-forwarded-proto", "x-forwarded-host"}
    added |= {"idempotency-key"}  # FISO's own derivation of it
    return {name: value for name, value in seen.items() if name not in added and not name.startswith("x-fiso-")}


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(given_headers=headers)
def test_of_a_request_exactly_what_the_table_says_passes(echo: tuple[Echo, Rig], given_headers: dict[str, str]) -> None:
    told, rig = echo
    told.says = {}
    event = http_event(path="/v1/invoke/echo") | {"headers": given_headers}
    assert rig.send(event)["statusCode"] == 200
    expected = {name: value for name, value in given_headers.items() if not is_named(name, REQUEST)}
    assert own(told.seen) == expected


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(said=headers)
def test_of_an_answer_exactly_what_the_table_says_passes(echo: tuple[Echo, Rig], said: dict[str, str]) -> None:
    told, rig = echo
    framing = {"content-length", "transfer-encoding", "content-type", "content-encoding", "upgrade"}
    told.says = {name: value for name, value in said.items() if name not in framing}
    response = rig.send(http_event(path="/v1/invoke/echo"))
    assert response["statusCode"] == 200
    came = {name: value for name, value in response["headers"].items() if not name.startswith("x-fiso-")}
    came.pop("server-timing")
    assert came.pop("x-content-type-options") == "nosniff"
    expected = {name: value for name, value in told.says.items() if not is_named_exactly(name, ANSWER)}
    for added in ("server-timing", "x-content-type-options"):
        expected.pop(added, None)
    assert came == {"content-type": "text/plain", **expected}


def is_named_exactly(name: str, listed: frozenset[str]) -> bool:
    return any(name == each or (each.endswith("*") and name.startswith(each[:-1])) for each in listed)
