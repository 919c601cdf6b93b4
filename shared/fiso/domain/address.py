"""Addresses: where an endpoint may be, by what its address says and by the numbers that its host's name stands for.

Who may register an endpoint could otherwise make FISO call what only FISO can reach: its own runtime, a private
network, a cloud's metadata service. So an address is read by a grammar of its own, narrower than a URL's, that leaves
two readers nothing to differ about, and its host is one of the provider's, or one that the stage's operator named.
A name can stand for another number each time it is asked: `is_public` is for the number that is then connected to.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from ipaddress import IPv6Address, ip_address, ip_network

from fiso.domain.catalog import CatalogEntry, Snapshot
from fiso.domain.endpoint import Endpoint, EndpointId, Provider
from fiso.domain.errors import BadAddress
from fiso_client.core import grammar
from fiso_client.core.grammar import LONGEST_ADDRESS

HOSTS: Mapping[Provider, tuple[str, ...]] = {
    Provider.AWS: (),
    Provider.AZURE: (".azurewebsites.net", ".azurewebsites.us", ".chinacloudsites.cn", ".azurecontainerapps.io"),
    Provider.GCP: (".run.app", ".cloudfunctions.net"),
}
"""What a host must end in. AWS endpoints are functions, reached through the Invoke API, and have no host."""

_PUBLIC = re.compile(r"([a-z0-9-]+\.)+[a-z][a-z0-9-]*")
"""Of a host's name by the grammar: it has a dot, and does not end in a number."""
_INTERNAL = (".localhost", ".local", ".internal", ".arpa", ".home", ".lan", ".corp", ".test", ".invalid", ".onion")
_LOOPBACK = frozenset({"127.0.0.1", "[::1]", "localhost"})

_UNICAST = ip_network("2000::/3")
"""All that IPv6 routes today. What carries an IPv4 address inside (`::/96`, `64:ff9b::/96`) is mostly not in it."""
_NEVER = tuple(
    ip_network(text)
    for text in (
        "100.64.0.0/10",  # a carrier's customers
        "168.63.129.16/32",  # Azure's own platform, a public number that no public host has
        "192.0.0.0/24",
        "192.88.99.0/24",  # relays into IPv6
        "2001::/23",  # protocols, Teredo among them
        "2001:db8::/32",
        "2002::/16",  # 6to4: an IPv4 address inside
        "3fff::/20",
    )
)
"""Numbers that Python 3.11 calls global, or may, and that are no function's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AddressRules:
    """What a stage allows beside the providers' own hosts: exact `own_hosts`, and this machine on the local stage.

    `ValueError` for an own host that could never be a public one.
    """

    own_hosts: frozenset[str] = frozenset()
    allow_loopback: bool = False

    def __post_init__(self) -> None:
        for host in sorted(self.own_hosts):
            if not _is_public_name(host):
                raise ValueError(f"{host!r} is no public host's name")


NO_HOSTS = "-"
"""What a setting says that may not be empty."""


def hosts_in(text: str) -> frozenset[str]:
    """Hosts' names in a setting, between commas or blanks."""
    return frozenset(text.lower().replace(",", " ").split()) - {NO_HOSTS}


def check(address: str, provider: Provider, region: str, rules: AddressRules) -> None:
    """`BadAddress` unless an endpoint of this provider may be at it."""
    if not grammar.is_region(region):
        raise BadAddress(f"cannot be in {region[:80]!a}, which is no region's name")
    if not address.isascii() or not address.isprintable() or " " in address:
        raise BadAddress("must be plain ASCII without spaces")
    if len(address) > LONGEST_ADDRESS:
        raise BadAddress(f"must have at most {LONGEST_ADDRESS} characters")
    if provider is Provider.AWS:
        _check_function(address, region)
    else:
        _check_url(address, provider, rules)


def check_endpoint(endpoint: Endpoint, rules: AddressRules) -> None:
    """The same for an endpoint, whose `path` is put behind its address and must not turn it into another."""
    if flaw := flaw_of(endpoint):
        raise BadAddress(flaw)
    check(endpoint.address, endpoint.provider, endpoint.region, rules)


def flaw_of(endpoint: Endpoint) -> str | None:
    """Which field of an endpoint, of those that become part of a host, URL, header or key, is none by the grammar."""
    if not grammar.is_name(endpoint.id):
        return f"belongs to {endpoint.id[:80]!a}, which is no endpoint's name"
    if not grammar.is_region(endpoint.region):
        return f"cannot be in {endpoint.region[:80]!a}, which is no region's name"
    if not grammar.is_path(endpoint.path):
        return "has a path that is not empty or plain segments, each after a /"
    if endpoint.secret_ref is not None and not grammar.is_secret_ref(endpoint.secret_ref):
        return "has a secret_ref that is no secret's name"
    return None


def without_misspelled(snapshot: Snapshot) -> Snapshot:
    """The snapshot with every endpoint marked whose fields, or whose function's name, are none by the grammar: of a
    catalog that was written past the command line, the rest still serves."""
    refused = {name: _misspelled(entry) for name, entry in snapshot.functions.items()}
    if not any(refused.values()):
        return snapshot
    marked = {name: replace(entry, refused=refused[name]) for name, entry in snapshot.functions.items()}
    return replace(snapshot, functions=marked)


def _misspelled(entry: CatalogEntry) -> dict[EndpointId, str]:
    if not grammar.is_name(entry.name):
        return {endpoint.id: "its function's name is none" for endpoint in entry.endpoints}
    flaws = ((endpoint.id, flaw_of(endpoint)) for endpoint in entry.endpoints)
    return {id: f"its address {flaw}" for id, flaw in flaws if flaw}


def with_refusals(snapshot: Snapshot, rules: AddressRules) -> Snapshot:
    """The snapshot with every endpoint marked that must not be called, so that none of them is ever a candidate."""
    marked = {name: replace(entry, refused=_refused(entry, rules)) for name, entry in snapshot.functions.items()}
    return replace(snapshot, functions=marked)


def is_public(number: str) -> bool:
    """Whether an IP address can be a function's: routed on the internet, and no other address in disguise."""
    try:
        address = ip_address(number)
    except ValueError:
        return False
    if isinstance(address, IPv6Address):
        if address.scope_id is not None:
            return False
        address = address.ipv4_mapped or address
    if isinstance(address, IPv6Address) and address not in _UNICAST:
        return False
    return address.is_global and not address.is_multicast and not any(address in network for network in _NEVER)


def is_loopback(number: str) -> bool:
    try:
        return ip_address(number).is_loopback
    except ValueError:
        return False


def _refused(entry: CatalogEntry, rules: AddressRules) -> dict[EndpointId, str]:
    found = _misspelled(entry)
    for endpoint in entry.endpoints:
        if endpoint.id in found:
            continue
        try:
            check_endpoint(endpoint, rules)
        except BadAddress as error:
            found[endpoint.id] = f"its address {error}"
    return found


def _check_function(address: str, region: str) -> None:
    if grammar.is_lambda_function(address, region):
        return
    named = grammar.region_in(address)
    if named is not None:
        raise BadAddress(f"names region {named}, the endpoint's region is {region}")
    raise BadAddress("must be the ARN or name of a Lambda function")


def _check_url(address: str, provider: Provider, rules: AddressRules) -> None:
    if "@" in address:
        raise BadAddress("must not hold a user or password: name the secret in secret_ref")
    if "?" in address or "#" in address:
        raise BadAddress("must not hold a query or fragment: name a key in secret_ref")
    if not grammar.is_path(_path_in(address)):
        raise BadAddress("must have a path of plain segments: letters, digits, . _ ~ and -")
    url = grammar.url_of(address)
    if url is None:
        raise BadAddress("must be an https URL, as in https://name.azurewebsites.net/api")
    is_here = rules.allow_loopback and url.host in _LOOPBACK
    if url.scheme != "https" and not is_here:
        raise BadAddress("must be https" + (" (http is for this machine only)" if rules.allow_loopback else ""))
    if url.port not in (None, "443") and not (is_here and 0 < int(url.port or 0) < 65_536):
        raise BadAddress("must be on port 443")
    if not is_here:
        _check_host(url.host, provider, rules)


def _path_in(address: str) -> str:
    _, slash, path = address.partition("://")[2].partition("/")
    return slash + path


def _check_host(host: str, provider: Provider, rules: AddressRules) -> None:
    if not _is_public_name(host):
        raise BadAddress(f"must name a public host, not a number or a private network: {host}")
    suffixes = HOSTS[provider]
    is_providers = host.endswith(suffixes) and "scm" not in host.split(".")  # scm is where Azure deploys code
    if not is_providers and host not in rules.own_hosts:
        raise BadAddress(
            f"must be at a host of {provider} ({', '.join('*' + suffix for suffix in suffixes)}), "
            f"or at one that FISO_ENDPOINT_HOSTS names: {host}"
        )


def _is_public_name(host: str) -> bool:
    return grammar.is_host(host) and bool(_PUBLIC.fullmatch(host)) and not host.endswith(_INTERNAL)
