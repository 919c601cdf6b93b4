"""The local clouds' tokens: who is trusted gets one, and each thing that is wrong is refused as its vendor does."""

from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
import pytest

from fiso.adapters.identity.entra_identity import FOR_ENTRA, of_aws
from fiso.domain.identity import GoogleIdentity, entra_of, flaws_of
from fiso_cli.clouds.trust import entra
from fiso_cli.local_stage import ACCOUNT, AZURE_TENANT, GOOGLE_PROJECT
from fiso_client.core.failures import Failure, ProviderError
from localcloud.entra.login import issuer_of
from tests.functional.clouds.identity_rig import (
    FUNCTION,
    HOST,
    ROLE,
    RUN,
    Clouds,
    bearer,
    clouds,
    on_azure,
    on_google,
)

POOL = f"iam/projects/{GOOGLE_PROJECT}/locations/global/workloadIdentityPools/fiso-local"
OWN_ACCOUNT = f"iam/projects/{GOOGLE_PROJECT}/serviceAccounts/fiso-local@{GOOGLE_PROJECT}.iam.gserviceaccount.com"
Change = Callable[[Clouds], object]


@pytest.fixture(scope="module")
def trusted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clouds]:
    with clouds(tmp_path_factory.mktemp("clouds")) as made:
        made.trusted()
        yield made


@pytest.fixture
def here(trusted: Clouds) -> Iterator[Clouds]:
    """As it was set up; what a test changes is put back."""
    parts = (trusted, trusted.login, trusted.login.faults, trusted.directory, trusted.word, trusted.google.world)
    kept = [(part, {name: copied(value) for name, value in vars(part).items()}) for part in parts]
    trusted.login._kept.clear()
    yield trusted
    for part, before in kept:
        vars(part).update(before)
    trusted.stopwatch.now = 0.0
    (trusted.word._folder / "web-identity.on").touch()


def copied(value: Any) -> Any:
    return deepcopy(value) if isinstance(value, dict | list | set) else value


def test_entra_gives_a_token_for_the_host_on_awss_word(here: Clouds) -> None:
    token = bearer(here.entra_tokens().headers(on_azure(), timeout_s=5))
    (key,) = here.login.keys["keys"]
    claims = jwt.decode(
        token,
        jwt.PyJWK(key).key,
        algorithms=["RS256"],
        audience=f"api://{AZURE_TENANT}/{HOST}",
        issuer=issuer_of(AZURE_TENANT),
    )
    assert (claims["appid"], claims["roles"]) == (here.entra_identity.client, ["fiso.invoke"])


def test_google_gives_a_token_for_the_service_on_awss_word(here: Clouds) -> None:
    token = bearer(here.google_tokens().headers(on_google(), timeout_s=5))
    claims = jwt.decode(token, options={"verify_signature": False})
    assert (claims["aud"], claims["email"]) == (RUN, here.google_identity.service_account)


def _application(here: Clouds, name: str) -> Any:
    return next(each for each in here.directory.applications.values() if each["displayName"] == name)


def _credential(here: Clouds) -> Any:
    return here.directory.credentials[_application(here, "fiso-local")["id"]]["aws-us-east-1"]


def _principal(here: Clouds, name: str) -> Any:
    id = _application(here, name)["appId"]
    return next(each for each in here.directory.principals.values() if each["appId"] == id)


def _rotate(here: Clouds) -> None:
    """AWS signs with another key than it publishes."""
    from cryptography.hazmat.primitives.asymmetric import rsa

    here.word._key = rsa.generate_private_key(65537, 2048)


def _by_root(here: Clouds) -> None:
    here.function = "nobody"


AZURE_FAULTS: dict[str, tuple[Change, str]] = {
    "another issuer": (lambda h: _credential(h).update(issuer="https://x.tokens.sts.global.api.aws"), "AADSTS700211"),
    "the same with a slash": (lambda h: _credential(h).update(issuer=f"{h.word.issuer}/"), "AADSTS700211"),
    "another role": (lambda h: _credential(h).update(subject=f"{ROLE}-eu-west-1"), "AADSTS700213"),
    "letters of another case": (lambda h: _credential(h).update(subject=ROLE.upper()), "AADSTS7002138"),
    "who calls is another": (lambda h: setattr(h, "function", "fiso-local-keeper"), "AADSTS700213"),
    "another audience": (
        lambda h: _credential(h).update(audiences=["api://AzureADTokenExchangeUSGov"]),
        "AADSTS700212",
    ),
    "no credential": (lambda h: h.directory.credentials.clear(), "AADSTS700211"),
    "another key": (_rotate, "AADSTS700027"),
    "the issuer is away": (lambda h: setattr(h.login, "issuer_keys", _away), "AADSTS50166"),
    "an old word": (lambda h: setattr(h.login, "clock", lambda: datetime.now(UTC).timestamp() + 900), "AADSTS700024"),
    "a word of tomorrow": (
        lambda h: setattr(h.login, "clock", lambda: datetime.now(UTC).timestamp() - 900),
        "AADSTS700024",
    ),
    "no principal": (lambda h: h.directory.principals.clear(), "AADSTS7000229"),
    "switched off": (lambda h: _principal(h, "fiso-local").update(accountEnabled=False), "AADSTS7000112"),
    "not assigned": (lambda h: h.directory.assignments.clear(), "AADSTS501051"),
    "host not entered": (lambda h: _application(h, "fiso-local-functions").update(identifierUris=[]), "AADSTS500011"),
    "no application": (
        lambda h: _application(h, "fiso-local").update(appId="00000000-0000-4000-8000-000000000001"),
        "AADSTS700016",
    ),
    "another tenant": (lambda h: setattr(h.directory, "tenant", "another"), "AADSTS90002"),
    "tokens of version 2": (
        lambda h: _application(h, "fiso-local-functions").update(api={"requestedAccessTokenVersion": 2}),
        "not for api://",
    ),
    "federation is off": (lambda h: (h.word._folder / "web-identity.on").unlink(), "FederationDisabledException: run"),
}


def _away(_: str) -> Any:
    raise OSError


@pytest.mark.parametrize("name", AZURE_FAULTS)
def test_what_is_wrong_for_entra_has_its_number(here: Clouds, name: str) -> None:
    change, said = AZURE_FAULTS[name]
    identity = here.entra_identity
    change(here)
    with pytest.raises(ProviderError) as raised:
        here.entra_tokens(identity=identity).headers(on_azure(), timeout_s=5)
    assert said in str(raised.value)


def test_azures_other_clouds_have_a_login_and_an_audience_of_their_own(here: Clouds) -> None:
    own = here.entra_identity
    for cloud, login in (
        ("usgov", "https://login.microsoftonline.us"),
        ("china", "https://login.partner.microsoftonline.cn"),
    ):
        identity = replace(own, cloud=cloud)
        assert identity.login == login
        with pytest.raises(ProviderError, match="AADSTS700212"):
            here.entra_tokens(identity).headers(on_azure(), timeout_s=5)
        _credential(here).update(audiences=[entra.Wanted(stage="x", tenant="", roles={}, cloud=cloud).audience])
        assert bearer(here.entra_tokens(identity).headers(on_azure(), timeout_s=5))
        _credential(here).update(audiences=[own.exchange])
    assert identity == entra_of({"azure_tenant": own.tenant, "azure_client": own.client, "azure_cloud": "china"})
    assert "azure_tenant" in flaws_of({"azure_tenant": own.tenant, "azure_client": own.client, "azure_cloud": "mars"})


def _provider(here: Clouds, **changed: Any) -> None:
    here.google.world.things[f"{POOL}/providers/fiso-local"].update(changed)


def _bound(here: Clouds, *members: str) -> None:
    policy = here.google.world.policies[OWN_ACCOUNT]
    policy["bindings"] = [{"role": "roles/iam.workloadIdentityUser", "members": [*members]}] if members else []


NUMBER = "123456789012"
ELSEWHERE = f"principalSet://iam.googleapis.com/projects/{NUMBER}/locations/global/workloadIdentityPools/other/*"
GOOGLE_FAULTS: dict[str, tuple[Change, str]] = {
    "another account": (lambda h: _provider(h, aws={"accountId": "9" * 12}), "invalid_grant"),
    "another role": (
        lambda h: _provider(h, attributeCondition="attribute.aws_role in ['other']"),
        "unauthorized_client",
    ),
    "who calls is another": (lambda h: setattr(h, "function", "fiso-local-keeper"), "unauthorized_client"),
    "nobody of AWS's": (_by_root, "invalid_grant"),
    "the pool is off": (lambda h: h.google.world.things[POOL].update(disabled=True), "invalid_target"),
    "the pool is deleted": (lambda h: h.google.world.things[POOL].update(state="DELETED"), "invalid_target"),
    "the provider is off": (lambda h: _provider(h, disabled=True), "invalid_target"),
    "no provider": (lambda h: h.google.world.things.pop(f"{POOL}/providers/fiso-local"), "invalid_target"),
    "an expression": (lambda h: _provider(h, attributeCondition="true || false"), "invalid_grant"),
    "a subject of 128 bytes": (
        lambda h: _provider(h, attributeMapping={"google.subject": "assertion.userid"}),
        "invalid_request",
    ),
    "AWS is away": (lambda h: setattr(h.google.world, "aws_url", "http://127.0.0.1:1"), "invalid_grant"),
    "not bound": (_bound, "PERMISSION_DENIED"),
    "another pool bound": (lambda h: _bound(h, ELSEWHERE), "PERMISSION_DENIED"),
    "no account": (lambda h: h.google.world.things.pop(OWN_ACCOUNT), "PERMISSION_DENIED"),
    "the account is off": (lambda h: h.google.world.things[OWN_ACCOUNT].update(disabled=True), "FAILED_PRECONDITION"),
}


@pytest.mark.parametrize("name", GOOGLE_FAULTS)
def test_what_is_wrong_for_google_is_refused_as_google_says_it(here: Clouds, name: str) -> None:
    change, said = GOOGLE_FAULTS[name]
    change(here)
    with pytest.raises(ProviderError) as raised:
        here.google_tokens().headers(on_google(), timeout_s=5)
    assert said in str(raised.value)


def test_the_subject_fits_into_googles_127_bytes_for_the_longest_stage_and_region(here: Clouds) -> None:
    mapping = here.google.world.things[f"{POOL}/providers/fiso-local"]["attributeMapping"]
    assert mapping["google.subject"] == mapping["attribute.aws_role"]
    role = f"fiso-{'s' * 20}-orchestrator-ap-southeast-2"
    assert len(f"arn:aws:sts::{ACCOUNT}:assumed-role/{role}/fiso-{'s' * 20}-orchestrator") > 127 > len(role)


def test_a_word_for_one_provider_is_of_no_use_at_another(here: Clouds) -> None:
    here.google.world.things[f"{POOL}/providers/other"] = here.google.world.things[f"{POOL}/providers/fiso-local"]
    own = here.google_identity
    other = GoogleIdentity(
        provider=own.provider.replace("providers/fiso-local", "providers/other"), service_account=own.service_account
    )
    with pytest.raises(ProviderError, match="invalid_grant"):
        here.google_tokens(identity=other).headers(on_google(), timeout_s=5)


def test_tokens_end_and_are_renewed_before_without_a_request_that_fails(here: Clouds) -> None:
    """Two hours of a call every ten seconds, of tokens that live five minutes: after the first call none waits for an
    exchange, and none shows a token that has ended."""
    here.login.faults.lifetime_s = here.google.world.lives_s = 300
    began = datetime.now(UTC).timestamp()
    here.login.clock = here.word.clock = here.google.world.clock = lambda: began + here.stopwatch.now
    for tokens, endpoint in ((here.entra_tokens(), on_azure()), (here.google_tokens(), on_google())):
        here.stopwatch.now = 0.0
        tokens.headers(endpoint, timeout_s=5)
        shown: dict[str, float] = {}
        for second in range(10, 7_200, 10):
            here.stopwatch.now = float(second)
            for fetch in tokens.due([endpoint]):  # beside the request's first reads
                fetch()
            exchanges = here.login.asked, here.google.world.requests
            token = bearer(tokens.headers(endpoint, timeout_s=5))
            assert exchanges == (here.login.asked, here.google.world.requests)
            assert second - shown.setdefault(token, float(second)) < 300
        assert 24 <= len(shown) <= 72


def test_a_bearer_of_google_that_is_no_longer_taken_is_replaced_once(here: Clouds) -> None:
    tokens = here.google_tokens()
    tokens.headers(on_google(), timeout_s=5)
    here.google.world.bearers.clear()
    here.stopwatch.now = 3_590.0
    assert bearer(tokens.headers(on_google(), timeout_s=5))
    assert len(here.google.world.bearers) == 1


def test_a_token_service_that_is_away_fails_as_unreachable_and_is_asked_again(here: Clouds) -> None:
    tokens, here.login.faults.away = here.entra_tokens(), 1
    with pytest.raises(ProviderError) as raised:
        tokens.headers(on_azure(), timeout_s=5)
    assert raised.value.failure is Failure.UNREACHABLE
    here.stopwatch.now += 2
    assert bearer(tokens.headers(on_azure(), timeout_s=5))


def test_the_words_of_aws_are_for_roles_alone_and_of_its_form(here: Clouds) -> None:
    assertion = of_aws(here.sts())(10.0).value
    claims = jwt.decode(assertion, options={"verify_signature": False})
    lives = timedelta(seconds=claims["exp"] - claims["iat"])
    assert (claims["sub"], claims["aud"], lives) == (ROLE, FOR_ENTRA, timedelta(minutes=5))
    assert claims["https://sts.amazonaws.com/"]["aws_account"] == ACCOUNT
    assert FUNCTION in claims["sub"]
    _by_root(here)
    with pytest.raises(ProviderError, match="AccessDenied"):
        of_aws(here.sts())(10.0)
