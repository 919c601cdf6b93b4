"""Requests to AWS, signed here (Signature Version 4) instead of by an SDK."""

import hashlib
import hmac
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Protocol, TypeAlias
from urllib.parse import quote, urlsplit

from fiso_client.core.answers import HttpAnswer
from fiso_client.core.grammar import is_region, is_service
from fiso_client.core.transport import HttpTransport

Clock: TypeAlias = Callable[[], datetime]
"""The time of day, aware and in UTC."""


class SigningKeys(Protocol):
    """What requests are signed with; boto3's frozen credentials are of this shape."""

    @property
    def access_key(self) -> str: ...

    @property
    def secret_key(self) -> str: ...

    @property
    def token(self) -> str | None: ...


KeySource: TypeAlias = SigningKeys | Callable[[], SigningKeys]
"""Keys, or what gives those that hold now: keys that end are renewed all three at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """The keys that a function has of its own."""

    access_key: str
    secret_key: str
    token: str | None = None

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> "Credentials":
        """As Lambda provides them to a function."""
        return cls(
            access_key=environ["AWS_ACCESS_KEY_ID"],
            secret_key=environ["AWS_SECRET_ACCESS_KEY"],
            token=environ.get("AWS_SESSION_TOKEN") or None,
        )


_DNS_SUFFIXES = {
    "cn-": "amazonaws.com.cn",
    "us-iso-": "c2s.ic.gov",
    "us-isob-": "sc2s.sgov.gov",
    "us-isof-": "csp.hci.ic.gov",
    "eu-isoe-": "cloud.adc-e.uk",
    "eusc-": "amazonaws.eu",
}
"""AWS's other partitions by how their regions begin; templates have it as `AWS::URLSuffix`."""


def public_url(service: str, region: str) -> str:
    """Where a service's API is in a region: the one place where a host of AWS's is put together. `ValueError` for what
    is no service's or region's name: a signed request must not go where that would lead it."""
    _require_names(service, region)
    suffixes = (suffix for begin, suffix in _DNS_SUFFIXES.items() if region.startswith(begin))
    return f"https://{service}.{region}.{next(suffixes, 'amazonaws.com')}"


def _require_names(service: str, region: str) -> None:
    if not is_service(service) or not is_region(region):
        raise ValueError(f"no service of AWS and its region: {service[:80]!a} in {region[:80]!a}")


@dataclass(frozen=True, slots=True, kw_only=True)
class AwsEndpoint:
    """One service in one region, and where it is reached. `ValueError` for what is no service's or region's name."""

    service: str
    region: str
    url: str

    def __post_init__(self) -> None:
        _require_names(self.service, self.region)

    @classmethod
    def from_environ(cls, service: str, environ: Mapping[str, str], *, region: str | None = None) -> "AwsEndpoint":
        """The standard variables: AWS_REGION, and AWS_ENDPOINT_URL or AWS_ENDPOINT_URL_<SERVICE> when set."""
        chosen = region or environ.get("AWS_REGION") or environ["AWS_DEFAULT_REGION"]
        override = environ.get(f"AWS_ENDPOINT_URL_{service.upper()}") or environ.get("AWS_ENDPOINT_URL")
        return cls(service=service, region=chosen, url=(override or public_url(service, chosen)).rstrip("/"))


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedService:
    """Sends signed requests to one service."""

    endpoint: AwsEndpoint
    credentials: KeySource
    transport: HttpTransport
    clock: Clock

    def send(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str],
        body: bytes,
        timeout_s: float,
        query: str = "",
        may_repeat: bool = False,
    ) -> HttpAnswer:
        """One signed exchange. `path` is already percent-encoded; `query` canonical (sorted, encoded)."""
        url = self.endpoint.url + path + (f"?{query}" if query else "")
        digest = hashlib.sha256(body).hexdigest()
        signed = sign(method, url, headers, digest, self.endpoint, self.credentials, self.clock())
        return self.transport.send(method, url, headers=signed, body=body, timeout_s=timeout_s, may_repeat=may_repeat)


def sign(
    method: str,
    url: str,
    headers: Mapping[str, str],
    body_sha256: str,
    endpoint: AwsEndpoint,
    credentials: KeySource,
    now: datetime,
) -> dict[str, str]:
    """The headers with Signature Version 4 added (docs.aws.amazon.com, "Create a signed AWS API request")."""
    keys = credentials() if callable(credentials) else credentials
    parts = urlsplit(url)
    stamp = now.strftime("%Y%m%dT%H%M%SZ")
    signed = {name.lower(): value.strip() for name, value in headers.items()}
    signed |= {"host": parts.netloc, "x-amz-date": stamp}
    if endpoint.service == "s3":
        signed["x-amz-content-sha256"] = body_sha256
    if keys.token:
        signed["x-amz-security-token"] = keys.token
    names = sorted(signed)
    name_list = ";".join(names)
    path = parts.path if endpoint.service == "s3" else quote(parts.path, safe="/-_.~")
    canonical = "\n".join(
        [method, path or "/", parts.query, *(f"{name}:{signed[name]}" for name in names), "", name_list, body_sha256]
    )
    scope = f"{stamp[:8]}/{endpoint.region}/{endpoint.service}/aws4_request"
    to_sign = f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    key = _signing_key(keys.secret_key, stamp[:8], endpoint.region, endpoint.service)
    signature = hmac.new(key, to_sign.encode(), hashlib.sha256).hexdigest()
    signed["authorization"] = (
        f"AWS4-HMAC-SHA256 Credential={keys.access_key}/{scope}, SignedHeaders={name_list}, Signature={signature}"
    )
    return signed


@lru_cache(maxsize=16)
def _signing_key(secret: str, day: str, region: str, service: str) -> bytes:
    key = f"AWS4{secret}".encode()
    for part in (day, region, service, "aws4_request"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    return key
