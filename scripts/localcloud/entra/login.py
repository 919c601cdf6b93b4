"""Login: the token endpoint of the tenant for client credentials that another issuer's token proves (a federated
credential), and the keys by which what it gives is checked.

Errors are Entra's by their numbers (learn.microsoft.com, "Microsoft Entra authentication and authorization error
codes"; "Microsoft identity platform and the OAuth 2.0 client credentials flow", third case).
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

import httpx
import jwt
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm

from fiso_cli.local_stage import ISSUERS_AT
from localcloud.entra.graph import Directory, Document

JWT_BEARER = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
LIFETIME_S = 3_599
KEYS_FOR_S = 300.0
"""How long an issuer's keys are kept; Entra keeps them for hours."""
IssuerKeys = Callable[[str], list[Document]]
"""An issuer's JWKS, by its URL; `OSError` where it cannot be had."""


class LoginError(Exception):
    """A refusal, in OAuth's form, with Entra's number."""

    def __init__(self, error: str, number: int, said: str, status: int = 400) -> None:
        super().__init__(said)
        self.error, self.number, self.status = error, number, status

    @property
    def document(self) -> Document:
        said = f"AADSTS{self.number}: {self} Trace ID: {uuid4()}"
        return {"error": self.error, "error_description": said, "error_codes": [self.number], "trace_id": str(uuid4())}


@dataclass(kw_only=True)
class Faults:
    """What goes wrong on purpose: tokens live shorter; the endpoint is away."""

    lifetime_s: int = LIFETIME_S
    away: int = 0


@dataclass
class Login:
    """One tenant's. `issuer_keys` gets what assertions are checked with; `clock` gives seconds since 1970."""

    directory: Directory
    issuer_keys: IssuerKeys
    clock: Callable[[], float] = time.time
    faults: Faults = field(default_factory=Faults)
    asked: int = 0
    revoked: set[str] = field(default_factory=set)
    _private: rsa.RSAPrivateKey = field(default_factory=lambda: rsa.generate_private_key(65537, 2048))
    _kept: dict[str, tuple[float, list[Document]]] = field(default_factory=dict)

    @property
    def keys(self) -> Document:
        """The tenant's own JWKS."""
        row = RSAAlgorithm.to_jwk(self._private.public_key(), as_dict=True)
        return {"keys": [{**row, "kid": "local", "use": "sig", "alg": "RS256"}]}

    def answer(self, method: str, target: str, body: bytes) -> tuple[int, Document] | None:
        """None for a path that is not the endpoint's."""
        tenant, _, rest = urlsplit(target).path.strip("/").partition("/")
        if method == "GET" and rest == "discovery/v2.0/keys":
            return 200, self.keys
        if method != "POST" or rest != "oauth2/v2.0/token":
            return None
        form = {name: values[0] for name, values in parse_qs(body.decode("latin-1")).items()}
        try:
            with self.directory.lock:
                self.asked += 1
                return 200, self._token(tenant, form)
        except LoginError as refused:
            return refused.status, refused.document

    def _token(self, tenant: str, form: Mapping[str, str]) -> Document:
        if self.faults.away:
            self.faults.away -= 1
            raise LoginError("temporarily_unavailable", 90033, "A transient error has occurred.", 503)
        if tenant != self.directory.tenant:
            raise LoginError("invalid_request", 90002, f"Tenant '{tenant}' not found.")
        if form.get("grant_type") != "client_credentials":
            raise LoginError("unsupported_grant_type", 70003, "The grant type is not supported.")
        application = _by(self.directory.applications, "appId", form.get("client_id", ""))
        if application is None:
            said = f"Application with identifier '{form.get('client_id')}' was not found in the directory."
            raise LoginError("unauthorized_client", 700016, said)
        if form.get("client_assertion_type") != JWT_BEARER or "client_assertion" not in form:
            said = "The request body must contain the following parameter: 'client_assertion' or 'client_secret'."
            raise LoginError("invalid_client", 7000218, said, 401)
        self._check(application, form["client_assertion"])
        return self._given(application, form.get("scope", ""))

    def _check(self, application: Document, assertion: str) -> None:
        """Whether one of the application's federated credentials is for this issuer, subject and audience, by exact
        and case-sensitive comparison, and the issuer did sign it, for now."""
        try:
            claims = jwt.decode(assertion, options={"verify_signature": False})
            kid = str(jwt.get_unverified_header(assertion).get("kid"))
        except jwt.PyJWTError:
            raise LoginError("invalid_client", 50027, "JWT token is invalid or malformed.", 401) from None
        candidates = list(self.directory.credentials.get(application["id"], {}).values())
        for name, number in (("issuer", 700211), ("subject", 700213)):
            claim = claims.get(name[:3])
            nearly = [each for each in candidates if str(each[name]).lower() == str(claim).lower()]
            candidates = [each for each in nearly if each[name] == claim]
            if not candidates:
                _unmatched(name, 7002138 if nearly and name == "subject" else number, claim)
        audiences = claims.get("aud")
        audiences = audiences if isinstance(audiences, list) else [audiences]
        if not any(wanted in audiences for each in candidates for wanted in each["audiences"]):
            _unmatched("audience", 700212, claims.get("aud"))
        self._check_signature(assertion, str(claims["iss"]), kid)
        now = self.clock()
        if not float(claims.get("nbf", claims.get("iat", now))) - 300 <= now <= float(claims.get("exp", 0)) + 300:
            said = "Client assertion is not within its valid time range."
            raise LoginError("invalid_client", 700024, said, 401)

    def _check_signature(self, assertion: str, issuer: str, kid: str) -> None:
        key = next((each for each in self._keys_of(issuer) if each.get("kid") == kid), None)
        if key is None:
            said = f"Client assertion contains an invalid signature. [Reason - The key was not found., kid: '{kid}']"
            raise LoginError("invalid_client", 7000272, said, 401)
        times: Any = {"verify_aud": False, "verify_exp": False, "verify_nbf": False, "verify_iat": False}
        try:
            jwt.decode(assertion, jwt.PyJWK(key, algorithm="RS256").key, algorithms=["RS256"], options=times)
        except jwt.PyJWTError:
            said = "Client assertion contains an invalid signature. [Reason - The key was found, but use of the key "
            raise LoginError("invalid_client", 700027, f"{said}to verify the signature failed.]", 401) from None

    def _keys_of(self, issuer: str) -> list[Document]:
        until, known = self._kept.get(issuer, (0.0, []))
        if self.clock() < until:
            return known
        try:
            known = self.issuer_keys(issuer)
        except (OSError, ValueError, KeyError, httpx.HTTPError):
            raise LoginError("invalid_request", 50166, "Request to External OIDC endpoint failed.") from None
        self._kept[issuer] = (self.clock() + KEYS_FOR_S, known)
        return known

    def _given(self, application: Document, scope: str) -> Document:
        directory, uri = self.directory, scope.removesuffix("/.default")
        caller = _by(directory.principals, "appId", application["appId"])
        if caller is None:
            said = f"The client application {application['appId']} is missing service principal in the tenant."
            raise LoginError("unauthorized_client", 7000229, said)
        if not caller.get("accountEnabled", True):
            said = f"Application '{application['appId']}'({application['displayName']}) is disabled."
            raise LoginError("unauthorized_client", 7000112, said)
        if not scope.endswith("/.default"):
            raise LoginError("invalid_scope", 1002012, "The provided value for scope is not valid: name it /.default.")
        called = next((one for one in directory.applications.values() if uri in one.get("identifierUris", [])), None)
        resource = _by(directory.principals, "appId", called["appId"]) if called else None
        if called is None or resource is None:
            said = f"The resource principal named {uri} was not found in the tenant."
            raise LoginError("invalid_resource", 500011, said)
        given = directory.assignments.get(resource["id"], [])
        roles = {each["appRoleId"] for each in given if each["principalId"] == caller["id"]}
        if resource.get("appRoleAssignmentRequired") and not roles:
            said = f"Application '{application['appId']}' is not assigned to a role for the application '{uri}'."
            raise LoginError("invalid_grant", 501051, said)
        is_first = called.get("api", {}).get("requestedAccessTokenVersion") in (None, 1)
        now = int(self.clock())
        claims = {
            "aud": uri if is_first else called["appId"],
            "iss": issuer_of(directory.tenant)
            if is_first
            else f"https://login.microsoftonline.com/{directory.tenant}/v2.0",
            "iat": now,
            "nbf": now,
            "exp": now + self.faults.lifetime_s,
            "appid" if is_first else "azp": application["appId"],
            "oid": caller["id"],
            "sub": caller["id"],
            "tid": directory.tenant,
            "roles": [each["value"] for each in called.get("appRoles", []) if each["id"] in roles],
            "uti": str(uuid4()),
            "ver": "1.0" if is_first else "2.0",
        }
        token = jwt.encode(claims, self._private, algorithm="RS256", headers={"kid": "local"})
        lives = {"expires_in": self.faults.lifetime_s, "ext_expires_in": self.faults.lifetime_s}
        return {"token_type": "Bearer", **lives, "access_token": token}  # nosec B105


def issuer_of(tenant: str) -> str:
    """Who signs the tenant's tokens of version 1."""
    return f"https://sts.windows.net/{tenant}/"


def keys_of_aws(url: str) -> IssuerKeys:
    """AWS's issuers where the local AWS publishes them; as Entra, by discovery and over https alone."""

    def read(address: str) -> Document:
        parts = urlsplit(address)
        if parts.scheme != "https" or not (parts.hostname or "").endswith(".tokens.sts.global.api.aws"):
            raise ValueError("not an issuer of AWS's")
        answer = httpx.get(f"{url}{ISSUERS_AT}/{parts.hostname}{parts.path}", timeout=5, trust_env=False)
        answer.raise_for_status()
        found: Document = answer.json()
        return found

    def keys(issuer: str) -> list[Document]:
        configuration = read(f"{issuer}/.well-known/openid-configuration")
        if configuration["issuer"] != issuer:
            raise ValueError("another issuer's configuration")
        return list(read(configuration["jwks_uri"])["keys"])

    return keys


def _unmatched(what: str, number: int, claim: object) -> NoReturn:
    said = f"No matching federated identity record found for presented assertion {what} '{claim}'."
    raise LoginError("invalid_client", number, said, 401)


def _by(things: Mapping[str, Document], key: str, value: str) -> Document | None:
    return next((each for each in things.values() if each.get(key) == value), None)
