"""Rules that need more than one key of a declared function: whose address it is, what is left to call."""

from collections.abc import Iterator, Mapping

from fiso.billing import tariff
from fiso.domain.address import AddressRules, check
from fiso.domain.catalog import CatalogEntry
from fiso.domain.endpoint import Authentication, Payload, Provider
from fiso.domain.errors import BadAddress
from fiso.domain.policy import Mode
from fiso.routing.eligibility import eligible
from fiso_cli.catalog import address
from fiso_cli.catalog.problems import Place, Problem
from fiso_cli.catalog.schema import DeclaredEndpoint, DeclaredFunction

AUTHENTICATIONS: Mapping[Provider, tuple[Authentication, ...]] = {
    Provider.AWS: (Authentication.IAM,),
    Provider.AZURE: (Authentication.NONE, Authentication.FUNCTION_KEY),
    Provider.GCP: (Authentication.NONE, Authentication.ID_TOKEN),
}
"""How each provider's endpoints can identify FISO; the first is the default."""


def endpoint_problems(
    function: DeclaredFunction, *, variables: Mapping[str, str], where: AddressRules
) -> Iterator[tuple[Place, str]]:
    """What is wrong with a function's endpoints, each with its place within the function."""
    taken: set[str] = set()
    for index, endpoint in enumerate(function.endpoints):
        place: Place = ("endpoints", index)
        if endpoint.id in taken:
            yield (*place, "id"), f"{endpoint.id!r} is already taken"
        taken.add(endpoint.id)
        try:
            filled = address.resolved(endpoint.address, variables)
            check(filled, endpoint.provider, endpoint.region, where)
        except BadAddress as error:
            yield (*place, "address"), str(error)
        for key, message in _authentication_problems(endpoint):
            yield (*place, key), message
        if endpoint.payload is Payload.EVENT and endpoint.provider is not Provider.AWS:
            yield (*place, "payload"), "event is for aws only"


def eligibility_problems(entry: CatalogEntry) -> Iterator[Problem]:
    """A policy must leave something to call, and in mode observe the home endpoint in particular."""
    found, place = eligible(entry), ("functions", entry.name, "policy")
    why = {exclusion.endpoint: exclusion.detail for exclusion in found.exclusions}
    if not found.candidates:
        reasons = "; ".join(f"{endpoint}: {detail}" for endpoint, detail in why.items())
        yield Problem(place=place, message=f"leaves no endpoint to call ({reasons})")
    elif entry.policy.mode is Mode.OBSERVE and entry.policy.home in why:
        yield Problem(place=(*place, "home"), message=f"must not be called: {why[entry.policy.home]}")


def warnings(entry: CatalogEntry) -> Iterator[Problem]:
    """What is allowed and probably not meant."""
    prices = tariff.current().per_gb_second
    for index, endpoint in enumerate(entry.endpoints):
        if (endpoint.provider, endpoint.region) not in prices:
            place: Place = ("functions", entry.name, "endpoints", index, "region")
            yield Problem(
                place=place, message=f"no price for {endpoint.provider} {endpoint.region}: it counts as unpriced"
            )
    policy, regions = entry.policy, {endpoint.region for endpoint in entry.endpoints}
    named = {"allow": policy.allowed_regions, "deny": policy.denied_regions, "residency": policy.residency}
    for key, listed in named.items():
        for region in sorted(listed - regions):
            yield Problem(place=("functions", entry.name, "policy", key), message=f"no endpoint is in {region}")


def authentication_of(endpoint: DeclaredEndpoint) -> Authentication:
    """The declared way, or the provider's default."""
    return endpoint.authentication or AUTHENTICATIONS[endpoint.provider][0]


def _authentication_problems(endpoint: DeclaredEndpoint) -> Iterator[tuple[str, str]]:
    used, allowed = authentication_of(endpoint), AUTHENTICATIONS[endpoint.provider]
    if used not in allowed:
        yield "authentication", f"must be {' or '.join(allowed)} for {endpoint.provider}"
    elif used is Authentication.FUNCTION_KEY and endpoint.secret_ref is None:
        yield "secret_ref", "is missing: function_key needs the name of the secret that holds it"
    elif used is not Authentication.FUNCTION_KEY and endpoint.secret_ref is not None:
        yield "secret_ref", f"is not used with authentication {used}"
