"""Addresses of declared endpoints: variables filled in, then the rules each provider's address must keep.

Variables are `${FISO_AWS_…}`, `${FISO_AZURE_…}` and `${FISO_GCP_…}` only, so that a catalog file can never carry
another variable of the environment (a credential, say) into an address.
"""

import re
from collections.abc import Mapping
from ipaddress import ip_address
from urllib.parse import SplitResult, urlsplit

from fiso.domain.endpoint import Provider

_VARIABLE = re.compile(r"\$\{([^}]*)\}")
_MAY_NAME = re.compile(r"FISO_(AWS|AZURE|GCP)_[A-Z0-9_]+")
_ARN = re.compile(
    r"arn:aws[a-z-]*:lambda:(?P<region>[a-z0-9-]+):\d{12}:function:[A-Za-z0-9_-]{1,64}(:[A-Za-z0-9_$-]+)?"
)
_FUNCTION_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}(:[A-Za-z0-9_$-]+)?")


class BadAddress(Exception):
    """An address that must not be used; the message says why."""


def resolved(address: str, variables: Mapping[str, str]) -> str:
    """The address with its variables filled in; `BadAddress` for one that is unknown, empty or not allowed."""

    def value(match: re.Match[str]) -> str:
        name = match[1]
        if not _MAY_NAME.fullmatch(name):
            raise BadAddress(f"${{{name}}} must be named FISO_AWS_…, FISO_AZURE_… or FISO_GCP_…")
        found = variables.get(name, "").strip()
        if not found:
            raise BadAddress(f"${{{name}}} is not set in the environment")
        return found

    filled = _VARIABLE.sub(value, address)
    if "${" in filled:
        raise BadAddress("has a ${ that is never closed")
    return filled


def check(address: str, provider: Provider, region: str, *, is_local: bool) -> None:
    """`BadAddress` unless the provider's endpoints can be reached at it."""
    if not address.isascii() or not address.isprintable() or " " in address:
        raise BadAddress("must be plain ASCII without spaces")
    if provider is Provider.AWS:
        _check_function(address, region)
    else:
        _check_url(_split(address), is_local=is_local)


def _check_function(address: str, region: str) -> None:
    arn = _ARN.fullmatch(address)
    if arn is None and not _FUNCTION_NAME.fullmatch(address):
        raise BadAddress("must be the ARN or name of a Lambda function")
    if arn is not None and arn["region"] != region:
        raise BadAddress(f"names region {arn['region']}, the endpoint's region is {region}")


def _split(address: str) -> SplitResult:
    try:
        url = urlsplit(address)
        url.port  # noqa: B018  a port out of range shows only when it is asked for
    except ValueError as error:
        raise BadAddress(f"is no URL: {error}") from error
    if url.scheme not in ("http", "https") or not url.hostname:
        raise BadAddress("must be an https URL")
    return url


def _check_url(url: SplitResult, *, is_local: bool) -> None:
    if url.username is not None or url.password is not None:
        raise BadAddress("must not hold a user or password: name the secret in secret_ref")
    if url.query or url.fragment:
        raise BadAddress("must not hold a query or fragment: name a key in secret_ref")
    host = url.hostname or ""
    if url.scheme == "http" and not (is_local and _is_loopback(host)):
        raise BadAddress("must be https" + (" (http is for this machine only)" if is_local else ""))
    if not is_local and _is_internal(host):
        raise BadAddress(f"must not point into a private network: {host}")


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _is_internal(host: str) -> bool:
    if host == "localhost" or host.endswith((".localhost", ".internal", ".local")):
        return True
    try:
        return not ip_address(host).is_global
    except ValueError:
        return False
