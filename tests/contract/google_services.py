"""Google's two token services and a Cloud Run service, as far as their documentation says what they check."""

import json
import secrets
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, unquote

import jwt
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as BotocoreCredentials
from cryptography.hazmat.primitives.asymmetric import rsa

from fiso.adapters.identity.google_identity import GoogleUrls
from fiso.domain.identity import GoogleIdentity
from fiso_client.core.signing import Credentials
from tests.front_doors import BY_MARK
from tests.functional.lease_servers import serving

Answer = tuple[int, dict[str, str], bytes]

IDENTITY = GoogleIdentity(
    provider="projects/123456789012/locations/global/workloadIdentityPools/fiso/providers/fiso-prod",
    service_account="fiso-prod@example-project.iam.gserviceaccount.com",
)
CREDENTIALS = Credentials(access_key="AKIDEXAMPLE", secret_key="a-secret-access-key", token="a-session-token")
REGION = "us-east-1"
TARGET = "x-goog-cloud-target-resource"


@dataclass
class Google:
    """What it was asked, and what it does next: `refusal` is answered in place of every token."""

    urls: GoogleUrls = field(default_factory=GoogleUrls)
    key: rsa.RSAPrivateKey = field(default_factory=lambda: rsa.generate_private_key(65537, 2048))
    access_tokens: list[str] = field(default_factory=list)
    exchanges: list[dict[str, str]] = field(default_factory=list)
    audiences: list[str] = field(default_factory=list)
    called_by: list[str] = field(default_factory=list)
    trusts: Callable[[str, str], bool] = field(default=lambda token, audience: is_signed_by_the_role(token, audience))
    """Whether the pool's provider takes a subject token, addressed to it."""
    refusal: Answer | None = None
    lifetime_s: float = 3_600.0

    def exchange(self, path: str, headers: dict[str, str], body: bytes) -> Answer:
        """`v1/token` of the Security Token Service."""
        if self.refusal is not None:
            return self.refusal
        asked = {name: values[0] for name, values in parse_qs(body.decode()).items()}
        self.exchanges.append(asked)
        if path != "/v1/token" or not self.trusts(asked["subject_token"], asked["audience"]):
            return _json(400, {"error": "invalid_grant", "error_description": "the subject token is not valid"})
        self.access_tokens.append(f"ya29.{secrets.token_urlsafe(24)}")
        answer = {"access_token": self.access_tokens[-1], "expires_in": int(self.lifetime_s), "token_type": "Bearer"}
        return _json(200, answer)

    def sign(self, path: str, headers: dict[str, str], body: bytes) -> Answer:
        """`generateIdToken` of the IAM Service Account Credentials API."""
        if self.refusal is not None:
            return self.refusal
        account = f"/v1/projects/-/serviceAccounts/{IDENTITY.service_account}:generateIdToken"
        if path != account or headers.get("authorization", "").removeprefix("Bearer ") not in self.access_tokens:
            return _json(401, {"error": {"code": 401, "status": "UNAUTHENTICATED", "message": "…"}})
        asked = json.loads(body)
        self.audiences.append(asked["audience"])
        claims = {
            "iss": "https://accounts.google.com",
            "aud": asked["audience"],
            "email": IDENTITY.service_account,
            "exp": datetime.now(UTC) + timedelta(seconds=self.lifetime_s),
            "jti": secrets.token_hex(8),
        }
        return _json(200, {"token": jwt.encode(claims, self.key, algorithm="RS256")})

    def run(self, audience: str, headers: dict[str, str]) -> Answer:
        """A Cloud Run service that this service account may invoke."""
        token = headers.get("authorization", "").removeprefix("Bearer ")
        try:
            claims = jwt.decode(token, self.key.public_key(), algorithms=["RS256"], audience=audience)
        except jwt.InvalidTokenError:
            refusal = BY_MARK["google_unauthorized"]
            return refusal.status, refusal.headers, refusal.body
        self.called_by.append(claims["email"])
        return 200, {"content-type": "text/plain"}, b"ok"


def is_signed_by_the_role(subject_token: str, audience: str) -> bool:
    """Whether AWS would take the request: its signature is worked out again, by botocore and with the role's secret."""
    request = json.loads(unquote(subject_token))
    headers = {row["key"].lower(): row["value"] for row in request["headers"]}
    names = headers["authorization"].split("SignedHeaders=")[1].split(",")[0].split(";")
    again = AWSRequest(method=request["method"], url=request["url"], headers={name: headers[name] for name in names})
    again.context["timestamp"] = headers["x-amz-date"]
    signer = SigV4Auth(
        BotocoreCredentials(CREDENTIALS.access_key, CREDENTIALS.secret_key, CREDENTIALS.token), "sts", REGION
    )
    expected = signer.signature(signer.string_to_sign(again, signer.canonical_request(again)), again)
    is_whole = {"host", "x-amz-date", "x-amz-security-token"} <= set(names) and headers[TARGET] == audience
    return is_whole and headers["authorization"].endswith(f"Signature={expected}")


@contextmanager
def google() -> Iterator[Google]:
    """Both services, on loopback."""
    services = Google()
    with ExitStack() as stack:
        tokens = stack.enter_context(serving(services.exchange))
        accounts = stack.enter_context(serving(services.sign))
        services.urls = GoogleUrls(tokens=tokens.url, accounts=accounts.url)
        yield services


def _json(status: int, document: dict[str, Any]) -> Answer:
    return status, {"content-type": "application/json"}, json.dumps(document).encode()
