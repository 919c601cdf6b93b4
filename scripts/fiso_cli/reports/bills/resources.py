"""Resources: which copies of the catalog a charge is of, by the names that clouds give to functions in their bills.

A tag `fiso-function` (and `fiso-endpoint`) on the resource says it outright. Else the resource's own id does: an ARN on
AWS, a site's or container app's path on Azure, a service's or function's path on Google. One resource may serve several
copies, such as a site with many functions: then all of them are found.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import TypeAlias

from fiso.domain.catalog import CatalogEntry
from fiso.domain.endpoint import Endpoint, Provider
from fiso.domain.terms import Terms
from fiso_cli.reports.bills.focus import Charge
from fiso_cli.reports.bills.usage import Copy
from fiso_client.core import grammar

FUNCTION_TAG, ENDPOINT_TAG = "fiso-function", "fiso-endpoint"
_ARN = re.compile(
    r"arn:aws[a-z-]*:lambda:(?P<region>[^:]+):(?P<account>[0-9]*):function:(?P<name>[^:]+)(:(?P<qualifier>.+))?"
)
_LAMBDA = re.compile(r"(?P<name>[^:]+)(:(?P<qualifier>.+))?")
_SITE = re.compile(r"/providers/microsoft\.(web/sites|app/containerapps)/(?P<name>[^/]+)(/slots/(?P<slot>[^/]+))?")
_RUN = re.compile(r"/locations/(?P<region>[^/]+)/(services|functions)/(?P<name>[^/]+)")
_RUN_HOSTS = (
    re.compile(r"(.+---)?(?P<name>.+)-[a-z0-9]{10}-[a-z]{2,4}\.a\.run\.app"),
    re.compile(r"(.+---)?(?P<name>.+)-[0-9]+\.[a-z0-9-]+\.run\.app"),
)
_UNIQUE = re.compile(r"-[a-z0-9]{16}$")
"""What Azure puts behind a site's name in its unique default hostname, as in app-a1b2c3d4e5f6g7h8.eastus-01."""
_OWN = re.compile(r"(^|[:/])fiso-[a-z]")
"""Of a stage's functions, tables, bucket and logs."""
_RUN_SERVICES = ("cloud run", "cloud functions")

_MOST_KNOWN = 100_000

Key: TypeAlias = tuple[Provider, str, str]
"""Provider, region where names are one within a region only, name."""


class Why(StrEnum):
    """Why a charge fits nothing."""

    ANOTHER_PROVIDER = "no cloud that FISO routes to"
    NO_RESOURCE = "names no resource"
    FISOS_OWN = "FISO's own: what the hop costs"
    NO_FUNCTION = "is of no function"
    NOT_IN_CATALOG = "a function that the catalog does not have"
    ANOTHER_ACCOUNT = "a function of that name in another account"
    ANOTHER_REGION = "the catalog has it in another region"
    BAD_TAGS = "its fiso tags name nothing in the catalog"
    OUTSIDE = "outside the log's time"
    NO_CALL = "no call in the log in its time"
    BACKWARDS = "its period ends before it begins"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Placed:
    copy: Copy
    region: str
    account: str | None = None
    qualifier: str | None = None


class Resources:
    """The catalog by the names of bills; `endpoints` may get more until the first charge is looked up."""

    def __init__(self, entries: Iterable[CatalogEntry]) -> None:
        self.endpoints: dict[Copy, Endpoint] = {}
        self.terms: dict[Copy, Terms | None] = {}
        for entry in entries:
            for endpoint in entry.endpoints:
                self.endpoints[Copy(entry.name, endpoint.id)] = endpoint
                self.terms[Copy(entry.name, endpoint.id)] = entry.prices
        self._known: dict[tuple[object, ...], tuple[Copy, ...] | Why] = {}

    @cached_property
    def _by_key(self) -> Mapping[Key, list[_Placed]]:
        found: defaultdict[Key, list[_Placed]] = defaultdict(list)
        for copy, endpoint in self.endpoints.items():
            for key, placed in _names(copy, endpoint):
                found[key].append(placed)
        return found

    def of(self, charge: Charge) -> tuple[Copy, ...] | Why:
        """The copies that the charge may be of, at least one; or why it is of none."""
        if charge.provider is None:
            return Why.ANOTHER_PROVIDER
        tags = charge.tag(FUNCTION_TAG), charge.tag(ENDPOINT_TAG)
        asked = (charge.provider, charge.region, charge.resource, charge.resource_name, charge.service, tags)
        if asked not in self._known:
            if len(self._known) >= _MOST_KNOWN:
                self._known.clear()
            self._known[asked] = self._tagged(charge, *tags) if tags[0] else self._named(charge)
        return self._known[asked]

    def _tagged(self, charge: Charge, function: str, endpoint: str) -> tuple[Copy, ...] | Why:
        found = tuple(
            copy
            for copy, known in self.endpoints.items()
            if copy.function == function and known.provider is charge.provider and endpoint in ("", copy.endpoint)
        )
        here = tuple(copy for copy in found if endpoint or _is_in(charge.region, self.endpoints[copy].region))
        return here or (Why.ANOTHER_REGION if found else Why.BAD_TAGS)

    def _named(self, charge: Charge) -> tuple[Copy, ...] | Why:
        if not charge.resource and not charge.resource_name:
            return Why.NO_RESOURCE
        read = _READ[charge.provider or Provider.AWS](charge)
        placed = self._by_key.get(read.key, []) if read else []
        if not placed and charge.provider is Provider.AWS and _OWN.search(charge.resource):
            return Why.FISOS_OWN
        if read is None:
            return Why.NO_FUNCTION
        if not placed:
            elsewhere = any(key[0] is read.key[0] and key[2] == read.key[2] for key in self._by_key)
            return Why.ANOTHER_REGION if elsewhere else Why.NOT_IN_CATALOG
        mine = [each for each in placed if each.account in (None, "", read.account) or not read.account]
        if not mine:
            return Why.ANOTHER_ACCOUNT
        here = [each for each in mine if _is_in(read.region, each.region)]
        exact = [each for each in here if read.qualifier and each.qualifier == read.qualifier]
        return tuple(each.copy for each in exact or here) or Why.ANOTHER_REGION


@dataclass(frozen=True, slots=True, kw_only=True)
class _Read:
    key: Key
    region: str
    account: str = ""
    qualifier: str = ""


def _is_in(said: str, region: str) -> bool:
    """Whether a bill's region is the catalog's. Bills without one, or of the whole world, do not contradict."""
    return said.lower() in ("", "global") or _region(said) == _region(region)


def _region(text: str) -> str:
    """`East US 2` and `eastus2` are one; so are `US East 2` and `EU West`, as Azure's meters say."""
    plain = re.sub(r"[^a-z0-9]", "", text.lower())
    return _METERS.get(plain, plain)


_AREAS = {"us": "us", "eu": "europe", "ap": "asia"}
_SIDES = ("east", "west", "north", "south", "central", "southeast", "northcentral", "southcentral", "westcentral")
_METERS = {
    f"{area}{side}{number}": f"{side}{name}{number}"
    for area, name in _AREAS.items()
    for side in _SIDES
    for number in ("", "2", "3")
}


def _lambda_of(charge: Charge) -> _Read | None:
    found = _ARN.fullmatch(charge.resource)
    if found is None:
        return None
    key = (Provider.AWS, found["region"], found["name"])
    return _Read(key=key, region=found["region"], account=found["account"], qualifier=found["qualifier"] or "")


def _site_of(charge: Charge) -> _Read | None:
    found = _SITE.search(charge.resource.lower())
    if found is None:
        return None
    name = found["name"] + (f"-{found['slot']}" if found["slot"] else "")
    return _Read(key=(Provider.AZURE, "", name), region=charge.region)


def _run_of(charge: Charge) -> _Read | None:
    found = _RUN.search(charge.resource)
    if found is not None:
        return _Read(key=(Provider.GCP, "", _run_name(found["name"])), region=found["region"])
    name = charge.resource_name.rpartition("/")[2]
    if not name or not charge.service.lower().startswith(_RUN_SERVICES):
        return None
    return _Read(key=(Provider.GCP, "", _run_name(name)), region=charge.region)


_READ = {Provider.AWS: _lambda_of, Provider.AZURE: _site_of, Provider.GCP: _run_of}


def _run_name(name: str) -> str:
    """A second-generation function's Cloud Run service has its name with dashes."""
    return name.lower().replace("_", "-")


def _names(copy: Copy, endpoint: Endpoint) -> Iterator[tuple[Key, _Placed]]:
    """Under which names a bill may speak of an endpoint; none where its address is at a host of one's own."""
    if endpoint.provider is Provider.AWS:
        found = _ARN.fullmatch(endpoint.address) or _LAMBDA.fullmatch(endpoint.address)
        parts: Mapping[str, str | None] = found.groupdict() if found else {}
        placed = _Placed(
            copy=copy, region=endpoint.region, account=parts.get("account"), qualifier=parts.get("qualifier")
        )
        yield (Provider.AWS, endpoint.region, parts.get("name") or endpoint.address), placed
        return
    placed = _Placed(copy=copy, region=endpoint.region)
    for name in sorted(_names_at(endpoint)):
        yield (endpoint.provider, "", name), placed


def _names_at(endpoint: Endpoint) -> set[str]:
    url = grammar.url_of(endpoint.address)
    if url is None:
        return {_run_name(endpoint.address) if endpoint.provider is Provider.GCP else endpoint.address.lower()}
    return _site_names(url.host) if endpoint.provider is Provider.AZURE else _run_names(url)


def _site_names(host: str) -> set[str]:
    label = host.partition(".")[0]
    return {label, _UNIQUE.sub("", label)}


def _run_names(url: grammar.Url) -> set[str]:
    if url.host.endswith(".cloudfunctions.net"):
        return {_run_name(url.path.lstrip("/").partition("/")[0])} - {""}
    return {_run_name(found["name"]) for form in _RUN_HOSTS if (found := form.fullmatch(url.host))}
