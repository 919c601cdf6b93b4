"""Who tries to get in, and where: the doors of the API and the ways of not being who one says."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from localcloud.issuer.keys import Signer
from tests import tokens
from tests.lab.chaos.access.stage import FUNCTION, an_id

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
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        return {
            "version": "2.0",
            "rawPath": self.path,
            "rawQueryString": "",
            "headers": {"content-type": "application/json"} | given,
            "requestContext": {"http": {"method": self.method, "path": self.path}, "stage": "$default"},
            "body": self.body,
            "isBase64Encoded": False,
        }


def _doors(method: str, *paths: str, is_scoped: bool = True) -> tuple[Door, ...]:
    return tuple(Door(method=method, path=path, is_scoped=is_scoped) for path in paths)


DOORS = (
    *_doors("POST", _INVOKE, f"{_INVOKE}/a", f"{_INVOKE}/a/b/c", f"{_INVOKE}/", f"{_INVOKE}/%0A", "/v1/invoke/unknown"),
    *_doors("POST", "/v1/invoke/word%2Dcount", f"/%76%31/invoke/{FUNCTION}", f"/v1/explain/{FUNCTION}"),
    *_doors("POST", f"/v1/decide/{FUNCTION}", "/v1/explain/unknown", "/v1/decide/unknown"),
    Door(method="POST", path="/v1/outcomes", body='{"leases": []}'),
    Door(method="POST", path=_INVOKE, body="not JSON"),
    *_doors("GET", "/v1/endpoints", f"/v1/invocations/{an_id(1)}", f"/v1/invocations/{an_id(2)}"),
    *_doors("GET", _INVOKE, "/v1/outcomes", "/", "/v1", "/v1/", "/metrics", "/healthz/", "//healthz", is_scoped=False),
    *_doors("GET", "/v1/../healthz", "/healthz/../v1/endpoints", "/console", "/api/policies", is_scoped=False),
    *_doors("GET", "/v1/invocations/1", "/v1/endpoints/x", is_scoped=False),
    *_doors("POST", "/healthz", "/v1/endpoints", "/v2/invoke/x", "/v1/invoke/", is_scoped=False),
    *_doors("PUT", _INVOKE, "/v1/outcomes", is_scoped=False),
    *_doors("DELETE", _INVOKE, f"/v1/invocations/{an_id(1)}", is_scoped=False),
    *_doors("OPTIONS", _INVOKE, is_scoped=False),
    *_doors("HEAD", "/v1/endpoints", is_scoped=False),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Attack:
    """One way in, and the status that turns it away: 401, or 403 for a known caller, which only a route asks for."""

    name: str
    event: Callable[[Door], Event]
    status: int = 401


@dataclass(frozen=True, slots=True, kw_only=True)
class Issuers:
    """The issuer's two keys, and a stranger's with the first one's id."""

    rsa: Signer
    curve: Signer
    stranger: Signer

    @classmethod
    def fresh(cls) -> "Issuers":
        """New keys."""
        return cls(rsa=Signer.rsa("k1"), curve=Signer.curve("k2"), stranger=Signer.rsa("k1"))


def forged_tokens(issuers: Issuers, now: datetime) -> dict[str, str]:
    """What stands in the `authorization` header, by what is wrong with it."""
    at, own = int(now.timestamp()), tokens.payload(now)
    rsa, curve, stranger = issuers.rsa, issuers.curve, issuers.stranger
    good, jwk_text = rsa.sign(own), json.dumps(rsa.jwk).encode()
    forged = {
        "garbage": "garbage",
        "three parts of garbage": "a.b.c",
        "expired": rsa.sign(tokens.payload(now, exp=at - 120)),
        "no expiry": rsa.sign(tokens.payload(now, exp=None)),
        "not yet valid": rsa.sign(tokens.payload(now, nbf=at + 300)),
        "issued in the future": rsa.sign(tokens.payload(now, iat=at + 300)),
        "another audience": rsa.sign(tokens.payload(now, aud="other")),
        "another issuer": rsa.sign(tokens.payload(now, iss="https://attacker.example")),
        "no subject": rsa.sign(tokens.payload(now, sub=None)),
        "alg none": tokens.unsigned(own, kid=rsa.id),
        "alg None": tokens.unsigned(own, kid=rsa.id, alg="None"),
        "no signature": good.rpartition(".")[0] + ".",
        "HS256 with the public key": tokens.with_shared_secret(own, rsa.public_pem, kid=rsa.id),
        "HS512 with the public key": tokens.with_shared_secret(own, rsa.public_pem, "HS512", kid=rsa.id),
        "HS256 with the JWK": tokens.with_shared_secret(own, jwk_text, kid=rsa.id),
        "HS256 with nothing": tokens.with_shared_secret(own, b"", kid=rsa.id),
        "kid is a path": stranger.sign(own, kid="../../../../dev/null"),
        "kid is SQL": stranger.sign(own, kid="k1' UNION SELECT 'x' --"),
        "kid is a URL": stranger.sign(own, kid=ELSEWHERE),
        "kid of a newer key": stranger.sign(own, kid="k3"),
        "jku": stranger.sign(own, jku=ELSEWHERE),
        "x5u": stranger.sign(own, x5u=ELSEWHERE),
        "its own jwk": stranger.sign(own, jwk=stranger.jwk),
        "critical extension": rsa.sign(own, crit=["exp"]),
        "foreign key": stranger.sign(own),
        "another key's id": rsa.sign(own, kid=curve.id),
        "tampered payload": tokens.with_payload(good, tokens.payload(now, MALLORY)),
        "tampered header": tokens.with_header(good, alg="RS256", kid=rsa.id, typ="x"),
        "tampered signature": tokens.with_flipped_signature(good),
        "tampered signature, curve": tokens.with_flipped_signature(curve.sign(own)),
    }
    return {name: f"Bearer {token}" for name, token in forged.items()} | {
        "no scheme": good,
        "another scheme": f"Basic {good}",
        "two tokens": f"Bearer {good},Bearer {good}",
        "empty": "Bearer ",
    }


def attacks_on_tokens(issuers: Issuers, now: datetime) -> list[Attack]:
    """Every way in at a stage that asks for tokens."""
    good = issuers.rsa.sign(tokens.payload(now))
    poor = issuers.rsa.sign(tokens.payload(now, scope="openid profile fiso:other"))
    claims = tokens.payload(now)
    return [
        *(_with_header(name, authorization=value) for name, value in forged_tokens(issuers, now).items()),
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


def attacks_on_signatures(issuers: Issuers, now: datetime) -> list[Attack]:
    """Every way in at a stage that asks for IAM's signature."""
    good = issuers.rsa.sign(tokens.payload(now))
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
        "claims instead": {"jwt": {"claims": tokens.payload(now)}},
        "a lambda authorizer's": {"lambda": {"iam": iam}},
        "an authorizer that is text": json.dumps({"iam": iam}),
    }
    return [
        *(_with_context(name, authorizer) for name, authorizer in wrong.items()),
        *_without_anything(),
        _with_header("a token at a stage for signatures", authorization=f"Bearer {good}"),
        _with_header("a signature nobody verified", authorization="AWS4-HMAC-SHA256 Credential=AKIA/x, Signature=0"),
    ]


def genuine(issuers: Issuers, now: datetime, subject: str = "alice") -> dict[str, Callable[[Door], Event]]:
    """Tokens that must pass."""
    alice = tokens.payload(now, subject)
    both = {"RS256": issuers.rsa.sign(alice), "ES256": issuers.curve.sign(alice)}
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
