"""The grammar of names that become part of a host, URL, ARN, key or path: one for router, client and command line.

Each is read where it is declared, where a catalog or a lease is read, and where it is used; and hosts are put together
in `signing.public_url` alone. All are whole matches of plain ASCII: two readers have nothing to differ about.
"""

import re
from typing import NamedTuple

NAME_PATTERN = r"[a-z0-9][a-z0-9_-]{0,62}"
"""Functions, endpoints, strategies."""
REGION_PATTERN = r"[a-z](?:[a-z0-9-]{0,61}[a-z0-9])?"
"""One label of a host's name (RFC 1123, 2.1): it becomes that of AWS's own hosts."""
LONGEST_ADDRESS = 2_000
LONGEST_TENANT = 256
"""Characters: what issuers call a subject has at most 255 (OpenID Connect Core, 2)."""

_NAME = re.compile(NAME_PATTERN)
_REGION = re.compile(REGION_PATTERN)
_SERVICE = re.compile(r"[a-z][a-z0-9-]{1,30}")
_STAGE = re.compile(r"[a-z][a-z0-9-]{0,19}")
KEY = re.compile(r"[\x21-\x7e]{1,255}")
"""Idempotency keys."""
_ARN = re.compile(
    r"arn:aws[a-z-]{0,20}:lambda:(?P<region>[a-z0-9-]+):[0-9]{12}:function:[A-Za-z0-9_-]{1,64}(:[A-Za-z0-9_$-]{1,128})?"
)
_FUNCTION = re.compile(r"[A-Za-z0-9_-]{1,64}(:[A-Za-z0-9_$-]{1,128})?")
_URL = re.compile(r"(?P<scheme>https?)://(?P<host>[^/:\[\]]+|\[[0-9a-f:.]*\])(:(?P<port>[0-9]{0,5}))?(?P<path>/.*)?")
_LABEL = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
_HOST = re.compile(rf"({_LABEL}\.)*{_LABEL}|\[[0-9a-f:.]+\]")
_PATH = re.compile(r"(/[A-Za-z0-9._~-]*)*")
_SECRET = re.compile(r"[A-Za-z0-9/_+=.@:-]{1,2000}")


class Url(NamedTuple):
    """An address in its parts: `host` in lower case, `port` as written, `path` empty or from its slash on."""

    scheme: str
    host: str
    port: str | None
    path: str


def is_name(text: str) -> bool:
    """Whether a function or an endpoint may be called so."""
    return _NAME.fullmatch(text) is not None


def is_region(text: str) -> bool:
    """Whether a provider may call a region so."""
    return _REGION.fullmatch(text) is not None


def is_service(text: str) -> bool:
    """Whether AWS may call a service so, as a part of its hosts."""
    return _SERVICE.fullmatch(text) is not None


def is_tenant(text: str) -> bool:
    """Whether a tenant may be called so: what an issuer says, as long as it is text of one line."""
    return 0 < len(text) <= LONGEST_TENANT and text.isprintable()


def is_stage(text: str) -> bool:
    """Whether a deployment may be called so: it becomes part of the names of stacks, tables, buckets and functions."""
    return _STAGE.fullmatch(text) is not None


def is_host(text: str) -> bool:
    """Whether it is a host's name in lower case (RFC 1123, 2.1), or an IPv6 number in brackets."""
    return len(text) <= 253 and _HOST.fullmatch(text) is not None


def is_path(text: str) -> bool:
    """Whether it is empty or plain segments, each after a slash, that stay below what they are put behind."""
    return _PATH.fullmatch(text) is not None and not any(part in (".", "..") for part in text.split("/"))


def is_secret_ref(text: str) -> bool:
    """Whether a secret may be called so: a name or an ARN (AWS Secrets Manager, CreateSecret)."""
    return _SECRET.fullmatch(text) is not None


def is_lambda_function(address: str, region: str) -> bool:
    """Whether an address is a Lambda function's name, or the ARN of one in this region; a version or alias included."""
    arn = _ARN.fullmatch(address)
    return arn["region"] == region if arn else _FUNCTION.fullmatch(address) is not None


def region_in(address: str) -> str | None:
    """The region in a Lambda function's ARN; None for anything else."""
    arn = _ARN.fullmatch(address)
    return arn["region"] if arn else None


def url_of(address: str) -> Url | None:
    """An address as a URL that every reader takes apart alike; None for anything else: a user, a query, a fragment, an
    escape, a character beyond ASCII, a host that ends in a dot."""
    if len(address) > LONGEST_ADDRESS or not address.isascii():
        return None
    found = _URL.fullmatch(address)
    if found is None:
        return None
    host, path = found["host"].lower(), found["path"] or ""
    if not is_host(host) or not is_path(path):
        return None
    return Url(found["scheme"], host, found["port"], path)
