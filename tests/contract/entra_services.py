"""AWS's token service, Entra's token endpoint and an Azure function behind App Service authentication, as far as their
documentation says what they check."""

import json
import secrets
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs

import jwt
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as BotocoreCredentials
from cryptography.hazmat.primitives.asymmetric import rsa

from fiso.domain.identity import EntraIdentity, entra_audience
from tests.contract.google_services import CREDENTIALS, REGION
from tests.functional.lease_servers import serving

Answer = tuple[int, dict[str, str], bytes]

IDENTITY = EntraIdentity(tenant="72f988bf-86f1-41af-91ab-2d7cd011db47", client="5a1d1bb9-2b06-4e2c-8f5d-0a8f6f1c2b3d")
ISSUER = "https://3a6b5c7d-0000-4000-8000-1a2b3c4d5e6f.tokens.sts.global.api.aws"
ROLE = "arn:aws:iam::123456789012:role/fiso-prod-orchestrator"
XMLNS = "https://sts.amazonaws.com/doc/2011-06-15/"


def _key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


@dataclass
class Azure:
    """What was asked, and what comes next: `sts_refusal` and `entra_refusal` are answered in place of tokens.
    `hosts` are those that are entered as identifier URIs; tokens of version 2 name the application instead."""

    sts_url: str = ""
    login_url: str = ""
    aws_key: rsa.RSAPrivateKey = field(default_factory=_key)
    entra_key: rsa.RSAPrivateKey = field(default_factory=_key)
    assertions: list[dict[str, str]] = field(default_factory=list)
    exchanges: list[dict[str, str]] = field(default_factory=list)
    called_by: list[str] = field(default_factory=list)
    revoked: set[str] = field(default_factory=set)
    knows_every_host: bool = True
    token_version: int = 1
    lifetime_s: float = 3_599.0
    issuer: str = ISSUER
    subject: str = ROLE
    """Whom the federated credential trusts, by `aws_key`."""
    sts_refusal: Answer | None = None
    entra_refusal: Answer | None = None

    def sts(self, path: str, headers: dict[str, str], body: bytes) -> Answer:
        """GetWebIdentityToken, with the query protocol."""
        if self.sts_refusal is not None:
            return self.sts_refusal
        asked = {name: values[0] for name, values in parse_qs(body.decode()).items()}
        self.assertions.append(asked)
        if path != "/" or not _is_signed(headers, body, self.sts_url):
            return aws_error(403, "SignatureDoesNotMatch")
        now = datetime.now(UTC)
        ends = now + timedelta(seconds=int(asked["DurationSeconds"]))
        claims = {"iss": ISSUER, "sub": ROLE, "aud": asked["Audience.member.1"], "iat": now, "exp": ends}
        token = jwt.encode({**claims, "jti": secrets.token_hex(8)}, self.aws_key, algorithm=asked["SigningAlgorithm"])
        answer = (
            f'<GetWebIdentityTokenResponse xmlns="{XMLNS}"><GetWebIdentityTokenResult>'
            f"<WebIdentityToken>{token}</WebIdentityToken><Expiration>{ends.isoformat()}</Expiration>"
            "</GetWebIdentityTokenResult><ResponseMetadata><RequestId>x</RequestId></ResponseMetadata>"
            "</GetWebIdentityTokenResponse>"
        )
        return 200, {"content-type": "text/xml"}, answer.encode()

    def login(self, path: str, headers: dict[str, str], body: bytes) -> Answer:
        """The token endpoint of the tenant, for one application with one federated credential."""
        if self.entra_refusal is not None:
            return self.entra_refusal
        asked = {name: values[0] for name, values in parse_qs(body.decode()).items()}
        self.exchanges.append(asked)
        if path != f"/{IDENTITY.tenant}/oauth2/v2.0/token":
            return entra_error("invalid_request", 90002)
        if asked["client_id"] != IDENTITY.client:
            return entra_error("unauthorized_client", 700016)
        try:
            self._checked(asked["client_assertion"])
        except jwt.InvalidIssuerError:
            return entra_error("invalid_client", 700211)
        except jwt.InvalidTokenError:
            return entra_error("invalid_client", 700213)
        audience = asked["scope"].removesuffix("/.default")
        if not self.knows_every_host:
            return entra_error("invalid_resource", 500011)
        return _json(
            200,
            {
                "token_type": "Bearer",
                "expires_in": int(self.lifetime_s),
                "ext_expires_in": int(self.lifetime_s),
                "access_token": self.access_token(audience),
            },
        )

    def access_token(self, audience: str) -> str:
        now = datetime.now(UTC)
        claims = {
            "iss": f"https://sts.windows.net/{IDENTITY.tenant}/",
            "aud": audience if self.token_version == 1 else "9b0c1d2e-aaaa-4bbb-8ccc-ddddeeeeffff",
            "appid": IDENTITY.client,
            "roles": ["fiso.invoke"],
            "exp": now + timedelta(seconds=self.lifetime_s),
            "jti": secrets.token_hex(8),
        }
        return jwt.encode(claims, self.entra_key, algorithm="RS256")

    def run(self, address: str, headers: dict[str, str]) -> Answer:
        """A function app whose authentication takes tokens for its own host, from FISO's application alone."""
        token = headers.get("authorization", "").removeprefix("Bearer ")
        try:
            if token in self.revoked:
                raise jwt.InvalidTokenError
            claims = jwt.decode(
                token,
                self.entra_key.public_key(),
                algorithms=["RS256"],
                audience=entra_audience(IDENTITY.tenant, address),
            )
        except jwt.InvalidTokenError:
            return (
                401,
                {
                    "www-authenticate": 'Bearer realm="word-count.azurewebsites.net" authorization_uri="https://x"',
                    "x-ms-middleware-request-id": "a2e2bf7d-9d3f-4b2f-8d43-6c4c1f0f2a11",
                },
                b"",
            )
        self.called_by.append(claims["appid"])
        return 200, {"content-type": "text/plain"}, b"ok"

    def _checked(self, assertion: str) -> None:
        """As a federated credential names issuer, subject and audience."""
        options: Any = {"require": ["exp", "sub"]}
        claims = jwt.decode(
            assertion,
            self.aws_key.public_key(),
            algorithms=["RS256"],
            issuer=self.issuer,
            audience="api://AzureADTokenExchange",
            options=options,
        )
        if claims["sub"] != self.subject:
            raise jwt.InvalidTokenError


@contextmanager
def azure() -> Iterator[Azure]:
    """Both token services, on loopback."""
    services = Azure()
    with ExitStack() as stack:
        services.sts_url = stack.enter_context(serving(services.sts)).url
        services.login_url = stack.enter_context(serving(services.login)).url
        yield services


def aws_error(status: int, code: str) -> Answer:
    error = f"<Error><Type>Sender</Type><Code>{code}</Code><Message>SECRET</Message></Error>"
    return status, {"content-type": "text/xml"}, f'<ErrorResponse xmlns="{XMLNS}">{error}</ErrorResponse>'.encode()


def entra_error(error: str, number: int, status: int = 400) -> Answer:
    said = f"AADSTS{number}: SECRET"
    return _json(status, {"error": error, "error_description": said, "error_codes": [number], "trace_id": "x"})


def _json(status: int, document: dict[str, Any]) -> Answer:
    return status, {"content-type": "application/json; charset=utf-8"}, json.dumps(document).encode()


def _is_signed(headers: dict[str, str], body: bytes, url: str) -> bool:
    """Whether AWS would take it: the signature is worked out again, by botocore and with the role's secret."""
    names = headers["authorization"].split("SignedHeaders=")[1].split(",")[0].split(";")
    again = AWSRequest(method="POST", url=f"{url}/", headers={name: headers[name] for name in names}, data=body)
    again.context["timestamp"] = headers["x-amz-date"]
    keys = BotocoreCredentials(CREDENTIALS.access_key, CREDENTIALS.secret_key, CREDENTIALS.token)
    signer = SigV4Auth(keys, "sts", REGION)
    expected = signer.signature(signer.string_to_sign(again, signer.canonical_request(again)), again)
    return headers["authorization"].endswith(f"Signature={expected}")
