import pytest

from fiso.domain.access import AuthMode
from fiso.settings import AccessSettings, BadSetting, MissingSetting

JWT = {"FISO_AUTH": "jwt", "FISO_JWT_ISSUER": "https://issuer.example/x", "FISO_JWT_AUDIENCE": "fiso"}


@pytest.mark.parametrize(("stage", "mode"), [("local", AuthMode.NONE), ("prod", AuthMode.IAM), ("dev", AuthMode.IAM)])
def test_callers_are_asked_everywhere_but_on_the_local_stage(stage: str, mode: AuthMode) -> None:
    environ = {"FISO_STAGE": stage, "FISO_GATEWAY_HASHES": "a b"}
    for settings in (AccessSettings.from_environ(environ), AccessSettings.from_environ(environ | {"FISO_AUTH": " "})):
        assert (settings.mode, settings.gateway_hashes) == (mode, frozenset({"a", "b"}))


def test_a_stage_for_tokens_names_issuer_and_audiences() -> None:
    settings = AccessSettings.from_environ({"FISO_STAGE": "prod", **JWT, "FISO_JWT_AUDIENCE": "fiso, console"})
    assert (settings.issuer, settings.audiences) == ("https://issuer.example/x", ("fiso", "console"))
    assert (settings.tenant_claim, settings.allow_loopback) == ("sub", False)


@pytest.mark.parametrize(
    "changes",
    [
        {"FISO_AUTH": "none"},
        {"FISO_AUTH": "IAM"},
        {"FISO_AUTH": "iam"},
        {"FISO_AUTH": "iam", "FISO_GATEWAY_HASHES": " "},
        {"FISO_AUTH": "off"},
        {"FISO_JWT_ISSUER": "http://issuer.example"},
        {"FISO_JWT_ISSUER": "http://127.0.0.1:8000"},
        {"FISO_JWT_ISSUER": "issuer.example"},
        {"FISO_JWT_ISSUER": "https://issuer.example?x=1"},
        {"FISO_JWT_ISSUER": ""},
        {"FISO_JWT_AUDIENCE": ""},
    ],
    ids=str,
)
def test_a_stage_that_would_let_anybody_in_does_not_start(changes: dict[str, str]) -> None:
    with pytest.raises((BadSetting, MissingSetting)):
        AccessSettings.from_environ({"FISO_STAGE": "prod", **JWT, **changes})


def test_the_local_stage_may_have_an_issuer_on_loopback() -> None:
    settings = AccessSettings.from_environ({"FISO_STAGE": "local", **JWT, "FISO_JWT_ISSUER": "http://127.0.0.1:8000"})
    assert settings.allow_loopback
