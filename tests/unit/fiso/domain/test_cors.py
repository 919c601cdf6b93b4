"""The rule for pages of other origins, by the Fetch standard."""

from typing import Any

import pytest

from fiso.domain.cors import Cors
from fiso.domain.fields import Impossible

APP = "https://app.example.com"


def rule(*origins: str, **fields: Any) -> Cors:
    return Cors(allow_origins=frozenset(origins or {APP}), **fields)


@pytest.mark.parametrize(
    ("allowed", "origin"),
    [
        (APP, APP),
        ("*", "https://anywhere.example"),
        ("*", "null"),
        ("https://*.example.com", APP),
        ("https://*.example.com", "https://a.b.example.com"),
        ("http://localhost:3000", "http://localhost:3000"),
        ("https://*.example.com:8443", "https://a.example.com:8443"),
        ("capacitor://localhost", "capacitor://localhost"),
    ],
)
def test_a_page_that_is_named_may_read(allowed: str, origin: str) -> None:
    expected = "*" if allowed == "*" else origin
    assert rule(allowed).granted(origin)["access-control-allow-origin"] == expected


@pytest.mark.parametrize(
    ("allowed", "origin"),
    [
        (APP, "https://app.example.com.evil.example"),
        (APP, "http://app.example.com"),
        (APP, "https://app.example.com:444"),
        (APP, "null"),
        (APP, ""),
        ("https://*.example.com", "https://example.com"),
        ("https://*.example.com", "https://.example.com"),
        ("https://*.example.com", "https://evilexample.com"),
        ("https://*.example.com", "https://evil.example/.example.com"),
        ("https://*.example.com", "https://evil.example#.example.com"),
        ("https://*.example.com", "https://a.example.com:8443"),
        ("https://*.example.com", "https://a.example.com\r\nx: y"),
    ],
)
def test_any_other_page_may_not(allowed: str, origin: str) -> None:
    assert rule(allowed).granted(origin) == {}
    assert rule(allowed).preflight(origin) == {}


def test_credentials_and_exposed_headers_are_told() -> None:
    told = rule(allow_credentials=True, expose_headers=frozenset({"etag", "x-fiso-provider"})).granted(APP)
    assert told == {
        "access-control-allow-origin": APP,
        "access-control-allow-credentials": "true",
        "access-control-expose-headers": "etag, x-fiso-provider",
    }


def test_a_preflight_is_told_methods_headers_and_how_long_that_holds() -> None:
    assert rule(allow_methods=frozenset({"PUT", "DELETE"}), max_age_s=5).preflight(APP) == {
        "access-control-allow-origin": APP,
        "access-control-allow-methods": "DELETE, PUT",
        "access-control-allow-headers": "content-type",
        "access-control-max-age": "5",
    }


def test_all_headers_are_authorization_too() -> None:
    told = rule(allow_headers=frozenset({"*"})).preflight(APP)
    assert told["access-control-allow-headers"] == "*, authorization"


@pytest.mark.parametrize(
    "fields",
    [
        {"allow_origins": frozenset()},
        {"allow_origins": frozenset({"app.example.com"})},
        {"allow_origins": frozenset({"https://app.example.com/"})},
        {"allow_origins": frozenset({"https://App.example.com"})},
        {"allow_origins": frozenset({"https://*.com"})},
        {"allow_origins": frozenset({"https://*"})},
        {"allow_origins": frozenset({"https://a.*.example.com"})},
        {"allow_origins": frozenset({"https://a.example.com\n"})},
        {"allow_methods": frozenset({"get"})},
        {"allow_headers": frozenset({"x: y"})},
        {"expose_headers": frozenset({"X-Upper"})},
        {"max_age_s": -1},
        {"max_age_s": 90_000},
        {"allow_origins": frozenset({"*"}), "allow_credentials": True},
        {"allow_headers": frozenset({"*"}), "allow_credentials": True},
        {"allow_methods": frozenset({"*"}), "allow_credentials": True},
        {"expose_headers": frozenset({"*"}), "allow_credentials": True},
    ],
)
def test_a_rule_that_says_nothing_or_contradicts_itself_cannot_be(fields: dict[str, Any]) -> None:
    with pytest.raises(Impossible):
        Cors(**({"allow_origins": frozenset({APP})} | fields))
