"""Terms: what an operator's own contracts change in a list price, as declared under `prices` in `fiso.yaml`."""

from dataclasses import dataclass
from typing import Annotated

from fiso.domain.endpoint import Provider
from fiso.domain.fields import AtMost, Impossible, Means, Spelled, Within, violations

PLACE = Spelled(
    r"^(aws|azure|gcp)(/[a-z0-9-]+)?$", "must be a provider or one of its regions, as in gcp or aws/us-east-1"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """One provider's account. `monthly_*` is what all of it uses in a month, FISO's calls included: prices fall with
    it, and a call more is billed at the price of the last one of the month."""

    discount: Annotated[float, Within(0, 0.99), Means("share of list prices of calls that is not paid")] = 0.0
    free_tier: Annotated[bool, Means("whether the account's free tier is these functions' to use")] = False
    monthly_requests: Annotated[float, Within(0)] = 0.0
    monthly_gb_seconds: Annotated[float, Within(0)] = 0.0
    monthly_vcpu_seconds: Annotated[float, Within(0)] = 0.0
    monthly_transfer_gb: Annotated[float, Within(0)] = 0.0

    def __post_init__(self) -> None:
        if problems := list(violations(self)):
            raise Impossible(problems)


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """A private interconnection: what data costs that leaves `origin` for `destination`, in USD per GB."""

    origin: Annotated[str, PLACE]
    destination: Annotated[str, PLACE]
    usd_per_gb: Annotated[float, Within(0, 10)]

    def __post_init__(self) -> None:
        if problems := list(violations(self)):
            raise Impossible(problems)


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """The accounts that differ from list prices, and the links between places; the first that fits counts."""

    aws: Account | None = None
    azure: Account | None = None
    gcp: Account | None = None
    links: Annotated[tuple[Link, ...], AtMost(100)] = ()

    def account(self, provider: Provider) -> Account:
        found: Account | None = getattr(self, provider.value)
        return found or LISTED

    def link_usd(self, origin: tuple[Provider, str], destination: tuple[Provider, str]) -> float | None:
        """Per GB; None without a link."""
        for link in self.links:
            if _is(link.origin, origin) and _is(link.destination, destination):
                return link.usd_per_gb
        return None


LISTED = Account()


def _is(place: str, known: tuple[Provider, str]) -> bool:
    provider, _, region = place.partition("/")
    return provider == known[0] and region in ("", known[1])
