"""Rules that need more than one key of a declared function: whose address it is, what is left to call."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from fiso.domain.address import AddressRules, check
from fiso.domain.catalog import CatalogEntry
from fiso.domain.endpoint import Authentication, Endpoint, Payload, Provider
from fiso.domain.errors import BadAddress
from fiso.domain.fields import Place
from fiso.domain.policy import Mode
from fiso.routing.constraints import eligible
from fiso_cli.catalog.spelling import AUTHENTICATIONS


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """What is wrong at one place of the file."""

    place: Place
    message: str

    @property
    def field(self) -> str | None:
        """`functions.bfs.endpoints[0].region`; None for the whole file."""
        return _dotted(self.place) or None

    def __str__(self) -> str:
        return f"{self.field}: {self.message}" if self.place else self.message


def endpoint_problems(endpoint: Endpoint, where: AddressRules) -> Iterator[tuple[str, str]]:
    """What is wrong with an endpoint, each with its key."""
    try:
        check(endpoint.address, endpoint.provider, endpoint.region, where)
    except BadAddress as error:
        yield "address", str(error)
    used, allowed = endpoint.authentication, AUTHENTICATIONS[endpoint.provider]
    if used not in allowed:
        yield "authentication", f"must be {' or '.join(allowed)} for {endpoint.provider}"
    elif used is Authentication.FUNCTION_KEY and endpoint.secret_ref is None:
        yield "secret_ref", "is missing: function_key needs the name of the secret that holds it"
    elif used is not Authentication.FUNCTION_KEY and endpoint.secret_ref is not None:
        yield "secret_ref", f"is not used with authentication {used}"
    if endpoint.payload is Payload.EVENT and endpoint.provider is not Provider.AWS:
        yield "payload", "event is for aws only"


def eligibility_problems(entry: CatalogEntry) -> Iterator[tuple[Place, str]]:
    """A policy must leave something to call, and in mode observe the home endpoint in particular."""
    found = eligible(entry)
    why = {exclusion.endpoint: exclusion.detail for exclusion in found.exclusions}
    if not found.candidates:
        reasons = "; ".join(f"{endpoint}: {detail}" for endpoint, detail in why.items())
        yield ("policy",), f"leaves no endpoint to call ({reasons})"
    elif entry.policy.mode is Mode.OBSERVE and entry.policy.home in why:
        yield ("policy", "home"), f"must not be called: {why[entry.policy.home]}"


def _dotted(place: Iterable[str | int]) -> str:
    text = ""
    for part in place:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text
