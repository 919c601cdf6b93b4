"""Who tries to get in, and where: the doors of the API and the ways of not being who one says."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from fiso.testing.rig import http_event
from localcloud.issuer.tokens import Signer
from tests import tokens
from tests.builders import NOW, invocation_id

FUNCTION = "word-count"
Event = dict[str, Any]
ELSEWHERE = "https://attacker.example/keys"
MALLORY, ACCOUNT = "mallory", "999988887777"
_INVOKE = f"/v1/invoke/{FUNCTION}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Door:
    """One request that FISO would answer. `is_scoped`: it is a route, not a path or method that is none."""

    method: str
    path: str
    is_scoped: bool = True
    body: str = '{"text": "a b"}'

    def event(self, **headers: str) -> Event:
        """The request as the gateway passes it on, with nothing of a caller. Header names have underscores."""
        return http_event(self.method, self.path, self.body, **headers)


def _doors(method: str, *paths: str, is_scoped: bool = True) -> tuple[Door, ...]:
    return tuple(Door(method=method, path=path, is_scoped=is_scoped) for path in paths)


DOORS = (
    *_doors("POST", _INVOKE, f"{_INVOKE}/a", f"{_INVOKE}/a/b/c", f"{_INVOKE}/", f"{_INVOKE}/\n", "/v1/invoke/unknown"),
    *_doors("POST", "/v1/invoke/word%2Dcount", f"/prod/v1/invoke/{FUNCTION}", f"/v1/explain/{FUNCTION}"),
    *(Door(method=method, path=_INVOKE) for method in ("GET", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS")),
    *_doors("POST", f"/v1/decide/{FUNCTION}", "/v1/explain/unknown", "/v1/decide/unknown"),
    Door(method="POST", path="/v1/outcomes", body='{"leases": []}'),
    Door(method="POST", path=_INVOKE, body="not JSON"),
    *_doors("GET", "/v1/endpoints", f"/v1/invocations/{invocation_id(1)}", f"/v1/invocations/{invocation_id(2)}"),
    *_doors("GET", "/metrics", "/prod/metrics"),
    *_doors("GET", "/v1/outcomes", "/", "/v1", "/v1/", "/metrics/", "/healthz/", "//healthz", is_scoped=False),
    *_doors("GET", "/v1/../healthz", "/healthz/../v1/endpoints", "/console", "/api/policies", is_scoped=False),
    *_doors("GET", "/v1/invocations/1", "/v1/endpoints/x", is_scoped=False),
    *_doors("POST", "/healthz", "/v1/endpoints", "/v2/invoke/x", "/v1/invoke/", is_scoped=False),
    *_doors("PUT", "/v1/outcomes", is_scoped=False),
    *_doors("TRACE", _INVOKE, is_scoped=False),
    *_doors("DELETE", f"/v1/invocations/{invocation_id(1)}", is_scoped=False),
    *_doors("OPTIONS", "/v1/endpoints", is_scoped=False),
    *_doors("HEAD", "/v1/endpoints", is_scoped=False),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Attack:
    """One way in, and the status that turns it away: 401, or 403 for a known caller, which only a route asks for."""

    name: str
    event: Callable[[Door], Event]
    status: int = 401


RSA, CURVE = Signer.rsa("k1"), Signer.curve("k2")
"""The issuer's two keys."""
STRANGER = Signer.rsa("k1")
"""Somebody else's, under the first one's id."""
GENUINE = tokens.payload(NOW)


def forged_tokens() -> dict[str, str]:
    """What stands in the `authorization` header, by what is wrong with it."""
    at, good = int(NOW.timestamp()), RSA.sign(GENUINE)
    forged = {
        "garbage": "garbage",
        "garbage of 20,000": "x" * 20_000,
        "three parts of garbage": "a.b.c",
        "expired": RSA.sign(tokens.payload(NOW, exp=at - 120)),
        "no expiry": RSA.sign(tokens.payload(NOW, exp=None)),
        "not yet valid": RSA.sign(tokens.payload(NOW, nbf=at + 300)),
        "issued in the future": RSA.sign(tokens.payload(NOW, iat=at + 300)),
        "another audience": RSA.sign(tokens.payload(NOW, aud="other")),
        "another issuer": RSA.sign(tokens.payload(NOW, iss="https://attacker.example")),
        "no subject": RSA.sign(tokens.payload(NOW, sub=None)),
        "alg none": tokens.unsigned(GENUINE, kid=RSA.id),
        "alg None": tokens.unsigned(GENUINE, kid=RSA.id, alg="None"),
        "alg none that says RS256": tokens.unsigned(GENUINE, kid=RSA.id, alg="RS256"),
        "two parts": good.rpartition(".")[0],
        "a part padded": good + "=",
        "no signature": good.rpartition(".")[0] + ".",
        "HS256 with the public key": tokens.with_shared_secret(GENUINE, RSA.public_pem, kid=RSA.id),
        "HS384 with the public key": tokens.with_shared_secret(GENUINE, RSA.public_pem, "HS384", kid=RSA.id),
        "HS512 with the public key": tokens.with_shared_secret(GENUINE, RSA.public_pem, "HS512", kid=RSA.id),
        "HS256 with the JWK": tokens.with_shared_secret(GENUINE, json.dumps(RSA.jwk).encode(), kid=RSA.id),
        "HS256 with nothing": tokens.with_shared_secret(GENUINE, b"", kid=RSA.id),
        "kid is a path": STRANGER.sign(GENUINE, kid="../../../../dev/null"),
        "kid is SQL": STRANGER.sign(GENUINE, kid="k1' UNION SELECT 'x' --"),
        "kid is a URL": STRANGER.sign(GENUINE, kid=ELSEWHERE),
        "kid of a newer key": STRANGER.sign(GENUINE, kid="k3"),
        "jku": STRANGER.sign(GENUINE, jku=ELSEWHERE),
        "x5u": STRANGER.sign(GENUINE, x5u=ELSEWHERE),
        "its GENUINE jwk": STRANGER.sign(GENUINE, jwk=STRANGER.jwk),
        "critical extension": RSA.sign(GENUINE, crit=["exp"]),
        "foreign key": STRANGER.sign(GENUINE),
        "another key's id": RSA.sign(GENUINE, kid=CURVE.id),
        "another key's id, curve": CURVE.sign(GENUINE, kid=RSA.id),
        "a key's id that nobody has": RSA.sign(GENUINE, kid="k3"),
        "tampered payload": tokens.with_payload(good, tokens.payload(NOW, MALLORY)),
        "tampered header": tokens.with_header(good, alg="RS256", kid=RSA.id, typ="x"),
        "tampered signature": tokens.with_flipped_signature(good),
        "tampered signature, curve": tokens.with_flipped_signature(CURVE.sign(GENUINE)),
    }
    return {name: f"Bearer {token}" for name, token in forged.items()} | {
        "no scheme": good,
        "another scheme": f"Basic {good}",
        "two tokens": f"Bearer {good},Bearer {good}",
        "empty": "Bearer ",
    }


def attacks_on_tokens() -> list[Attack]:
    """Every way in at a stage that asks for tokens."""
    good = RSA.sign(tokens.payload(NOW))
    poor = RSA.sign(tokens.payload(NOW, scope="openid profile fiso:other"))
    claims = tokens.payload(NOW)
    return [
        *(_with_header(name, authorization=value) for name, value in forged_tokens().items()),
        *_without_anything(),
        _with_header("a token in a cookie", cookie=f"authorization=Bearer {good}; token={good}"),
        _with_header("a token in another header", x_authorization=f"Bearer {good}", x_access_token=good),
        Attack(
            name="a token in the query",
            event=lambda door: {**door.event(), "rawQueryString": f"access_token={good}"},
        ),
        _with_context("claims the gateway never verified", {"jwt": {"claims": claims, "scopes": []}}),
        _with_context("a signature at a stage for tokens", {"iam": _iam()}),
        Attack(name="missing scope", event=_with_header("", authorization=f"Bearer {poor}").event, status=403),
    ]


def attacks_on_signatures() -> list[Attack]:
    """Every way in at a stage that asks for IAM's signature."""
    good = RSA.sign(tokens.payload(NOW))
    iam = _iam()
    wrong: dict[str, object] = {
        "an authorizer without iam": {},
        "iam is empty": {"iam": {}},
        "iam is null": {"iam": None},
        "iam is text": {"iam": ACCOUNT},
        "no account": {"iam": {**iam, "accountId": None}},
        "an account that is none": {"iam": {**iam, "accountId": "mallory"}},
        "an account in a list": {"iam": {**iam, "accountId": [ACCOUNT]}},
        "no principal": {"iam": {"accountId": ACCOUNT}},
        "a principal that is none": {"iam": {**iam, "userArn": "root"}},
        "claims instead": {"jwt": {"claims": tokens.payload(NOW)}},
        "a lambda authorizer's": {"lambda": {"iam": iam}},
        "an authorizer that is text": json.dumps({"iam": iam}),
    }
    return [
        *(_with_context(name, authorizer) for name, authorizer in wrong.items()),
        *_without_anything(),
        _with_header("a token at a stage for signatures", authorization=f"Bearer {good}"),
        _with_header("a signature nobody verified", authorization="AWS4-HMAC-SHA256 Credential=AKIA/x, Signature=0"),
    ]


def genuine() -> dict[str, Callable[[Door], Event]]:
    """Tokens that must pass."""
    both = {"RS256": RSA.sign(GENUINE), "ES256": CURVE.sign(GENUINE)}
    return {name: _with_header(name, authorization=f"Bearer {token}").event for name, token in both.items()}


def claiming_to_be_mallory(token: str) -> dict[str, Event]:
    """A genuine token of another caller beside every place where a tenant could be named."""
    door = Door(method="POST", path=_INVOKE)
    body = json.dumps({"tenant": MALLORY, "tenant_id": MALLORY, "sub": MALLORY, "accountId": ACCOUNT})
    bearer = f"Bearer {token}"
    return {
        "header": door.event(authorization=bearer, **_names_of_a_tenant()),
        "body": Door(method="POST", path=_INVOKE, body=body).event(authorization=bearer),
        "path": Door(method="POST", path=f"{_INVOKE}/tenants/{MALLORY}").event(authorization=bearer),
        "query": {**door.event(authorization=bearer), "rawQueryString": f"tenant={MALLORY}"},
        "context": _in_context(door.event(authorization=bearer), {"iam": _iam(), "jwt": {"claims": {"sub": MALLORY}}}),
    }


def _without_anything() -> list[Attack]:
    """Callers who show nothing, and direct invocations that no gateway made."""
    context = json.dumps({"authorizer": {"iam": _iam(), "jwt": {"claims": {"sub": MALLORY}}}})
    return [
        _with_header("nothing"),
        _with_header("a tenant in headers", **_names_of_a_tenant()),
        _with_header("a context in headers", requestcontext=context, x_amzn_request_context=context),
        _with_header("forwarded by nobody", x_forwarded_for="127.0.0.1", x_forwarded_user="admin", forwarded="for=::1"),
        Attack(
            name="a tenant in the body",
            event=lambda door: {**door.event(), "body": json.dumps({"tenant": MALLORY, "requestContext": context})},
        ),
        Attack(name="an event without context", event=lambda door: _without(door.event(), "requestContext")),
        Attack(name="an event with context null", event=lambda door: {**door.event(), "requestContext": None}),
        Attack(name="an event whose context is text", event=lambda door: {**door.event(), "requestContext": context}),
        Attack(name="an event whose headers are text", event=lambda door: {**door.event(), "headers": "x"}),
        Attack(
            name="an event of API Gateway's first version",
            event=lambda door: {**_without(door.event(), "version"), "identity": {"accountId": ACCOUNT}},
        ),
    ]


def _with_header(name: str, **headers: str) -> Attack:
    return Attack(name=name, event=lambda door: door.event(**headers))


def _with_context(name: str, authorizer: object) -> Attack:
    return Attack(name=name, event=lambda door: _in_context(door.event(), authorizer))


def _in_context(event: Event, authorizer: object) -> Event:
    return {**event, "requestContext": {**event["requestContext"], "authorizer": authorizer}}


def _without(event: Mapping[str, Any], name: str) -> Event:
    return {key: value for key, value in event.items() if key != name}


def _names_of_a_tenant() -> dict[str, str]:
    names = ("x_tenant", "x_tenant_id", "x_fiso_tenant", "x_amzn_oidc_identity", "x_user")
    return dict.fromkeys(names, MALLORY)


def _iam() -> dict[str, str]:
    return {"accountId": ACCOUNT, "userArn": f"arn:aws:iam::{ACCOUNT}:user/{MALLORY}"}
