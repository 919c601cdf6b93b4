"""Which settings make a login, and which are refused before anybody could be let in."""

import pytest

from fiso.console_settings import ConsoleSettings
from fiso.settings import BadSetting, MissingSetting

STAGE = {
    "FISO_STAGE": "prod",
    "FISO_LOG_TABLE": "l",
    "FISO_STATE_TABLE": "s",
    "FISO_BUCKET": "b",
    "FISO_GATEWAY_HASHES": "a" * 64,
    "FISO_AUTH": "jwt",
    "FISO_JWT_ISSUER": "https://issuer.example",
    "FISO_JWT_AUDIENCE": "fiso",
    "FISO_CONSOLE_URL": "https://fiso.example/console",
    "FISO_LOGIN_CLIENT_ID": "console",
    "FISO_LOGIN_KEYS_PARAMETER": "/fiso/prod/login-keys",
}


def test_a_client_an_address_and_keys_make_a_login() -> None:
    settings = ConsoleSettings.from_environ(STAGE)
    assert settings.login is not None
    assert settings.login.redirect_uri == "https://fiso.example/console/callback"
    assert settings.login.scope == "openid profile fiso:read"
    assert settings.login.secret_parameter is None


def test_without_a_client_there_is_none() -> None:
    assert ConsoleSettings.from_environ(STAGE | {"FISO_LOGIN_CLIENT_ID": " "}).login is None


@pytest.mark.parametrize("name", ["FISO_CONSOLE_URL", "FISO_LOGIN_KEYS_PARAMETER"])
def test_half_a_login_is_refused(name: str) -> None:
    with pytest.raises(MissingSetting, match=name):
        ConsoleSettings.from_environ(STAGE | {name: ""})


@pytest.mark.parametrize("auth", ["iam", ""])
def test_a_login_needs_an_issuer(auth: str) -> None:
    with pytest.raises(BadSetting, match="FISO_AUTH=jwt"):
        ConsoleSettings.from_environ(STAGE | {"FISO_AUTH": auth})


@pytest.mark.parametrize(
    "url",
    [
        "http://fiso.example/console",
        "https://fiso.example/",
        "https://fiso.example/console/",
        "https://fiso.example/console?x=/console",
        "https://fiso.example/#/console",
        "https://a@fiso.example/console",
        "https:///console",
        "//fiso.example/console",
        "javascript:/console",
    ],
)
def test_the_consoles_address_must_be_one(url: str) -> None:
    with pytest.raises(BadSetting, match="FISO_CONSOLE_URL"):
        ConsoleSettings.from_environ(STAGE | {"FISO_CONSOLE_URL": url})


def test_plain_http_is_for_the_local_stage() -> None:
    local = STAGE | {"FISO_STAGE": "local", "FISO_CONSOLE_URL": "http://127.0.0.1:4566/x/console"}
    assert ConsoleSettings.from_environ(local).console_url == "http://127.0.0.1:4566/x/console"
