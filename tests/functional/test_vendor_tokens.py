"""Access tokens as issuers make them, in the shapes that their documentation shows, against the settings that it takes.

Amazon Cognito: "Understanding the access token" (developer guide); Microsoft: "Access token claims reference"; Auth0:
"Access Token Profiles", with "Add Permissions in the Access Token".
"""

from datetime import timedelta
from typing import Any

import pytest

from fiso.adapters.identity.jwt_tokens import JwtVerifier
from fiso.domain.access import Claims, Scope
from fiso.domain.errors import NotAuthenticated
from fiso.settings import AccessSettings, BadSetting
from fiso.testing.clock import ManualClock
from tests.builders import NOW
from tests.security.attacks import RSA
from tests.tokens import FixedKeys

AT = int(NOW.timestamp())
TIMES = {"iat": AT, "exp": AT + 3600}
COGNITO = {
    "FISO_JWT_ISSUER": "https://cognito-idp.us-west-2.amazonaws.com/us-west-2_example",
    "FISO_JWT_AUDIENCE": "57cbishk4j24pabc1234567890",
    "FISO_JWT_SCOPES": "invoke=fiso/invoke read=fiso/read admin=fiso/admin",
}
OF_A_MACHINE = {
    "sub": "57cbishk4j24pabc1234567890",
    "token_use": "access",
    "scope": "fiso/invoke fiso/read",
    "auth_time": AT,
    "iss": COGNITO["FISO_JWT_ISSUER"],
    "version": 2,
    "jti": "aaaaaaaa-1111-2222-3333-eeeeeeeeeeee",
    "client_id": "57cbishk4j24pabc1234567890",
    **TIMES,
}
OF_A_PERSON = {
    **OF_A_MACHINE,
    "sub": "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee",
    "cognito:groups": ["fiso/admin"],
    "scope": "aws.cognito.signin.user.admin openid fiso/invoke",
    "username": "janedoe@example.com",
}
ENTRA = {
    "FISO_JWT_ISSUER": "https://login.microsoftonline.com/aaaabbbb-0000-cccc-1111-dddd2222eeee/v2.0",
    "FISO_JWT_AUDIENCE": "00001111-aaaa-2222-bbbb-3333cccc4444",
    "FISO_JWT_SCOPE_CLAIMS": "roles scp",
    "FISO_JWT_SCOPES": "invoke=Fiso.Invoke, read=Fiso.Read, admin=Fiso.Admin",
    "FISO_JWT_TENANT_CLAIM": "azp",
}
OF_AN_APPLICATION = {
    "aud": "00001111-aaaa-2222-bbbb-3333cccc4444",
    "iss": ENTRA["FISO_JWT_ISSUER"],
    "nbf": AT,
    "aio": "E2ZgYLh1aP",
    "azp": "11112222-bbbb-3333-cccc-4444dddd5555",
    "azpacr": "1",
    "oid": "aaaaaaaa-0000-1111-2222-bbbbbbbbbbbb",
    "rh": "0.ARwA",
    "roles": ["Fiso.Invoke", "Fiso.Read"],
    "sub": "aaaaaaaa-0000-1111-2222-bbbbbbbbbbbb",
    "tid": "aaaabbbb-0000-cccc-1111-dddd2222eeee",
    "uti": "abc",
    "ver": "2.0",
    **TIMES,
}
DELEGATED = {key: value for key, value in OF_AN_APPLICATION.items() if key != "roles"} | {"scp": "Fiso.Invoke"}
AUTH0 = {
    "FISO_JWT_ISSUER": "https://dev-example.us.auth0.com/",
    "FISO_JWT_AUDIENCE": "https://fiso.example/",
    "FISO_JWT_SCOPE_CLAIMS": "permissions",
}
WITH_PERMISSIONS = {
    "iss": AUTH0["FISO_JWT_ISSUER"],
    "sub": "auth0|5f7c8ec7c33c6c004bbafe82",
    "aud": ["https://fiso.example/", "https://dev-example.us.auth0.com/userinfo"],
    "azp": "my_client_id",
    "scope": "openid profile fiso:admin",
    "permissions": ["fiso:invoke", "fiso:read"],
    **TIMES,
}
OURS = {Scope.INVOKE, Scope.READ, Scope.ADMIN}


def verified(settings: dict[str, str], payload: dict[str, Any]) -> Claims:
    access = AccessSettings.from_environ({"FISO_STAGE": "prod", "FISO_AUTH": "jwt", **settings})
    verifier = JwtVerifier(
        FixedKeys.of(RSA),
        issuer=access.issuer,
        audiences=access.audiences,
        clock=ManualClock(),
        tenant_claim=access.tenant_claim,
        scopes=access.scopes,
    )
    return verifier.verify(RSA.sign(payload))


@pytest.mark.parametrize(
    ("settings", "payload", "may"),
    [
        (COGNITO, OF_A_MACHINE, {Scope.INVOKE, Scope.READ}),
        (COGNITO, OF_A_PERSON, {Scope.INVOKE}),
        (ENTRA, OF_AN_APPLICATION, {Scope.INVOKE, Scope.READ}),
        (ENTRA, DELEGATED, {Scope.INVOKE}),
        (AUTH0, WITH_PERMISSIONS, {Scope.INVOKE, Scope.READ}),
    ],
    ids=["cognito machine", "cognito person", "entra application", "entra delegated", "auth0 permissions"],
)
def test_a_genuine_token_may_what_its_issuer_says(
    settings: dict[str, str], payload: dict[str, Any], may: set[Scope]
) -> None:
    claims = verified(settings, payload)
    assert {scope for scope in OURS if claims.may(scope)} == may
    assert claims.subject == payload["sub"]
    assert claims.expires_at == NOW + timedelta(hours=1)


def test_the_tenant_may_be_the_application_that_calls() -> None:
    assert verified(ENTRA, OF_AN_APPLICATION).tenant == OF_AN_APPLICATION["azp"]


@pytest.mark.parametrize(
    ("settings", "payload"),
    [
        (COGNITO, OF_A_MACHINE | {"client_id": "another"}),
        (COGNITO, OF_A_MACHINE | {"client_id": ["57cbishk4j24pabc1234567890"]}),
        (COGNITO, {key: value for key, value in OF_A_MACHINE.items() if key != "client_id"}),
        (COGNITO, OF_A_MACHINE | {"aud": "another"}),  # where there is an `aud`, it alone counts
        (COGNITO, OF_A_MACHINE | {"aud": []}),
        (COGNITO, OF_A_MACHINE | {"aud": None}),
        (COGNITO, OF_A_MACHINE | {"aud": [COGNITO["FISO_JWT_AUDIENCE"], 1]}),
        (COGNITO, OF_A_MACHINE | {"iss": "https://cognito-idp.us-west-2.amazonaws.com/us-west-2_other"}),
        (ENTRA, OF_AN_APPLICATION | {"aud": "00000003-0000-0000-c000-000000000000"}),  # for Microsoft Graph
        (ENTRA, OF_AN_APPLICATION | {"iss": "https://sts.windows.net/aaaabbbb-0000-cccc-1111-dddd2222eeee/"}),
        (AUTH0, WITH_PERMISSIONS | {"aud": "https://dev-example.us.auth0.com/userinfo"}),
    ],
)
def test_a_token_for_somebody_else_is_refused(settings: dict[str, str], payload: dict[str, Any]) -> None:
    with pytest.raises(NotAuthenticated):
        verified(settings, payload)


@pytest.mark.parametrize(
    ("settings", "payload"),
    [
        (COGNITO, OF_A_MACHINE | {"scope": "fiso:invoke fiso:admin openid"}),  # not its words
        (COGNITO, OF_A_MACHINE | {"scope": "other/invoke"}),
        (COGNITO, OF_A_MACHINE | {"scope": None, "roles": ["fiso/admin"]}),  # not its claim
        (ENTRA, OF_AN_APPLICATION | {"roles": "Fiso.Invoked"}),
        (ENTRA, OF_AN_APPLICATION | {"roles": {"Fiso.Invoke": True}}),
        (AUTH0, WITH_PERMISSIONS | {"permissions": []}),  # what was asked for is not what was granted
    ],
)
def test_words_and_claims_that_are_not_the_settings_own_grant_nothing(
    settings: dict[str, str], payload: dict[str, Any]
) -> None:
    claims = verified(settings, payload)
    assert not any(claims.may(scope) for scope in OURS)


@pytest.mark.parametrize("words", ["invoke", "invoke=", "write=x", "fiso:invoke=x", "invoke=x read=x", "=x"])
def test_scopes_that_cannot_be_meant_start_no_stage(words: str) -> None:
    with pytest.raises(BadSetting):
        AccessSettings.from_environ({"FISO_STAGE": "prod", "FISO_AUTH": "jwt", **COGNITO, "FISO_JWT_SCOPES": words})


def test_without_settings_the_usual_claims_and_our_own_words_count() -> None:
    settings = {key: AUTH0[key] for key in ("FISO_JWT_ISSUER", "FISO_JWT_AUDIENCE")}
    assert verified(settings, WITH_PERMISSIONS).may(Scope.ADMIN)
    assert not verified(settings, WITH_PERMISSIONS | {"scope": "openid"}).may(Scope.READ)
