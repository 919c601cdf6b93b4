"""Copies of a function as one word each on the command line: an address, with what it does not say itself before it.

`aws:us-east-1=arn:aws:lambda:…`, `gcp:us-east4=https://…`; a Lambda function's ARN and Google's newer hosts name their
region themselves, and hosts their provider.
"""

import re
from collections.abc import Iterable

from fiso.domain.address import HOSTS
from fiso.domain.endpoint import Provider
from fiso_cli.errors import BadInput
from fiso_client.core import grammar

Copy = dict[str, str | int]
"""An endpoint as `fiso.yaml` has it."""

FORM = "PROVIDER:REGION=ADDRESS, as in gcp:us-east4=https://stats-abc.a.run.app"
_PLACE = re.compile(r"(?P<provider>[a-z]+)(:(?P<region>[^=:/]*))?=(?P<address>.+)", re.DOTALL)
_GOOGLE_REGION = re.compile(
    r"(?:(?P<function>[a-z]+-[a-z]+[0-9]+)-[^.]+\.cloudfunctions\.net|.*\.(?P<run>[a-z]+-[a-z]+[0-9]+)\.run\.app)"
)
"""`REGION-PROJECT.cloudfunctions.net` and `SERVICE-NUMBER.REGION.run.app`
(docs.cloud.google.com/run/docs/triggering/https-request, "deterministic URL")."""


def read(word: str, *, memory_mb: int, known: Iterable[str] = (), id: str = "") -> Copy:
    """A copy with an id that none of `known` is. `BadInput` names what the word lacks; whether its parts are right is
    told with the file."""
    said = _PLACE.fullmatch(word)
    address = said["address"] if said else word
    host = url.host if (url := grammar.url_of(address)) else ""
    provider = said["provider"] if said else _provider_of(address, host)
    region = (said["region"] if said else None) or _region_of(address, host)
    if not provider or not region:
        what = "its provider is" if not provider else "its region is"
        raise BadInput(f"{address}: {what} not told by its address: write {FORM}")
    return {
        "id": id or _free(f"{provider}-{region}", set(known)),
        "provider": provider,
        "region": region,
        "memory_mb": memory_mb,
        "address": address,
    }


def _provider_of(address: str, host: str) -> str:
    if grammar.region_in(address) is not None:
        return Provider.AWS
    return next((provider for provider, ends in HOSTS.items() if ends and host.endswith(ends)), "")


def _region_of(address: str, host: str) -> str:
    found = _GOOGLE_REGION.fullmatch(host)
    return grammar.region_in(address) or (found and (found["function"] or found["run"])) or ""


def _free(name: str, known: set[str]) -> str:
    numbered = (name if number == 1 else f"{name}-{number}" for number in range(1, len(known) + 2))
    return next(each for each in numbered if each not in known)
