"""Signature Version 4 as the local cloud's listeners check it. Standard library only: the emulator runs it as well.

docs.aws.amazon.com, "Create a signed AWS API request"; S3 signs its path as it is sent, all others encode it again.
"""

import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Self
from urllib.parse import quote, unquote

from fiso_cli.access_key import AccessKey

WINDOW = timedelta(minutes=15)
_UNSIGNED = "UNSIGNED-PAYLOAD"
_SHA256 = re.compile(r"[0-9a-f]{64}")
_HEADER = re.compile(
    r"AWS4-HMAC-SHA256 +Credential=(?P<credential>[^,\s]+), *SignedHeaders=(?P<names>[^,\s]+), *"
    r"Signature=(?P<signature>[0-9a-f]{64})"
)
_LONGEST_PRESIGNED_S = 7 * 24 * 3600


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A request as it was sent: path and query still encoded, names of headers in lower case."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes = b""


class BadSignatureError(Exception):
    """Why a request is not the owner's; the code is AWS's."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True)
class Scope:
    """The credential of a signature: whose key, and what it was made for."""

    key_id: str
    day: str
    region: str
    service: str

    def __str__(self) -> str:
        return f"{self.day}/{self.region}/{self.service}/aws4_request"

    @classmethod
    def parsed(cls, credential: str) -> Self:
        parts = credential.split("/")
        if len(parts) != 5 or parts[4] != "aws4_request":
            raise BadSignatureError("IncompleteSignature", "a credential is KEY/DATE/REGION/SERVICE/aws4_request")
        return cls(*parts[:4])


@dataclass(frozen=True, slots=True, kw_only=True)
class _Claim:
    """What a request says of its own signature."""

    scope: Scope
    names: tuple[str, ...]
    signature: str
    stamp: str
    lasts: timedelta = WINDOW
    in_query: bool = False


def check(request: Request, key: AccessKey, now: datetime) -> Scope:
    """What a request is for. `BadSignatureError` unless the whole of it was signed with the key, or with one that
    follows from it."""
    claim = _claim(request)
    if "host" not in claim.names:
        raise BadSignatureError("IncompleteSignature", "the host must be signed")
    _in_time(claim, now)
    expected = _signature(request, claim, _payload_hash(request, claim), key.secret_of(claim.scope.key_id))
    if not hmac.compare_digest(expected, claim.signature):
        raise BadSignatureError("InvalidClientTokenId", "not signed with this local cloud's access key")
    return claim.scope


def signed(request: Request, key: AccessKey, service: str, region: str, now: datetime) -> dict[str, str]:
    """The request's headers, among which its host, with a signature added."""
    stamp = now.strftime("%Y%m%dT%H%M%SZ")
    headers = {name.lower(): value for name, value in request.headers.items()} | {"x-amz-date": stamp}
    names = tuple(sorted(headers))
    scope = Scope(key.id, stamp[:8], region, service)
    claim = _Claim(scope=scope, names=names, signature="", stamp=stamp)
    digest = hashlib.sha256(request.body).hexdigest()
    signature = _signature(replace(request, headers=headers), claim, digest, key.secret)
    value = f"AWS4-HMAC-SHA256 Credential={key.id}/{scope}, SignedHeaders={';'.join(names)}, Signature={signature}"
    return headers | {"authorization": value}


def text_of(value: bytes) -> str:
    """A header's value as clients sign it: UTF-8, or else Latin-1."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")


def _claim(request: Request) -> _Claim:
    asked = dict(_pairs(request.query))
    if "X-Amz-Signature" in asked:
        return _presigned(asked)
    found = _HEADER.fullmatch(request.headers.get("authorization", "").strip())
    if found is None:
        raise BadSignatureError("MissingAuthenticationToken", "requests to the local cloud must be signed")
    return _Claim(
        scope=Scope.parsed(found["credential"]),
        names=tuple(found["names"].split(";")),
        signature=found["signature"],
        stamp=request.headers.get("x-amz-date", ""),
    )


def _presigned(asked: Mapping[str, str]) -> _Claim:
    try:
        lasts_s = int(asked["X-Amz-Expires"])
        claim = _Claim(
            scope=Scope.parsed(asked["X-Amz-Credential"]),
            names=tuple(asked["X-Amz-SignedHeaders"].split(";")),
            signature=asked["X-Amz-Signature"],
            stamp=asked["X-Amz-Date"],
            lasts=timedelta(seconds=max(0, min(lasts_s, _LONGEST_PRESIGNED_S))),
            in_query=True,
        )
    except (KeyError, ValueError):
        raise BadSignatureError("IncompleteSignature", "the query's signature lacks a part") from None
    if not _SHA256.fullmatch(claim.signature):
        raise BadSignatureError("IncompleteSignature", "the query's signature is none")
    return claim


def _in_time(claim: _Claim, now: datetime) -> None:
    try:
        at = datetime.strptime(claim.stamp, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    except ValueError:
        raise BadSignatureError("IncompleteSignature", "X-Amz-Date is missing or no date") from None
    if not at - WINDOW <= now <= at + claim.lasts or claim.scope.day != claim.stamp[:8]:
        raise BadSignatureError("RequestTimeTooSkewed", "the signature is not of this time")


def _payload_hash(request: Request, claim: _Claim) -> str:
    said = request.headers.get("x-amz-content-sha256", "")
    if said and not claim.in_query and "x-amz-content-sha256" not in claim.names:
        raise BadSignatureError("IncompleteSignature", "X-Amz-Content-Sha256 must be signed")
    if claim.scope.service == "s3" and claim.in_query:
        return said or _UNSIGNED
    found = hashlib.sha256(request.body).hexdigest()
    if not said or claim.scope.service != "s3":
        return found
    if _SHA256.fullmatch(said) and said != found:
        raise BadSignatureError("XAmzContentSHA256Mismatch", "the body is not the one that was signed")
    return said  # a stream's marker, or unsigned, as S3 allows


def _signature(request: Request, claim: _Claim, payload_hash: str, secret: str) -> str:
    path = request.path if claim.scope.service == "s3" else quote(request.path, safe="/-_.~")
    query = "&".join(
        sorted(
            f"{quote(name, safe='-_.~')}={quote(value, safe='-_.~')}"
            for name, value in _pairs(request.query)
            if not (claim.in_query and name == "X-Amz-Signature")
        )
    )
    headers = "".join(f"{name}:{' '.join(request.headers.get(name, '').split())}\n" for name in claim.names)
    canonical = "\n".join([request.method, path or "/", query, headers, ";".join(claim.names), payload_hash])
    to_sign = f"AWS4-HMAC-SHA256\n{claim.stamp}\n{claim.scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    key = _signing_key(secret, claim.scope.day, claim.scope.region, claim.scope.service)
    return hmac.new(key, to_sign.encode(), hashlib.sha256).hexdigest()


def _pairs(query: str) -> list[tuple[str, str]]:
    """Decoded, in order. A plus is a plus here, not a space."""
    pairs = [part.partition("=") for part in query.split("&") if part]
    return [(unquote(name), unquote(value)) for name, _, value in pairs]


@lru_cache(maxsize=256)
def _signing_key(secret: str, day: str, region: str, service: str) -> bytes:
    key = f"AWS4{secret}".encode()
    for part in (day, region, service, "aws4_request"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    return key
