"""Stage rules: what a catalog says of its stage as a whole: what tenants may send, which hosts of one's own may be
endpoints, and who FISO is to other clouds."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated

from fiso.domain.fields import AtMost, Impossible, Means, Place, Spelled
from fiso_client.core.grammar import LONGEST_TENANT, is_tenant

QUOTA = Spelled(
    "^[0-9]{1,7}(\\.[0-9]{1,6})?/[0-9]{1,7}(\\.[0-9]{1,6})?$",
    "must be requests a second over time and at once, as in 50/100",
)
MOST_TENANTS = 10_000
_QUOTA = re.compile(QUOTA.pattern)


@dataclass(frozen=True, slots=True, kw_only=True)
class TenantQuotas:
    """What each tenant may send, as `per second/burst`: its own of `tenants`, else `default`; no limit where both say
    nothing. They stay text until a tenant calls: most of thousands never call the same environment."""

    default: Annotated[str | None, QUOTA, Means("what a tenant may send that has none of its own")] = None
    tenants: Annotated[
        Mapping[Annotated[str, AtMost(LONGEST_TENANT)], Annotated[str, QUOTA]],
        Means("what single tenants may send, by their names"),
    ] = field(default_factory=dict)

    def __post_init__(self) -> None:
        problems: list[tuple[Place, str]] = []
        if self.default is not None and not is_quota(self.default):
            problems.append((("default",), QUOTA.says))
        if len(self.tenants) > MOST_TENANTS:
            problems.append((("tenants",), f"must name at most {MOST_TENANTS} tenants"))
        for tenant, text in self.tenants.items():
            if not is_tenant(tenant):
                problems.append((("tenants", tenant), "is no tenant's name"))
            elif not is_quota(text):
                problems.append((("tenants", tenant), QUOTA.says))
        if problems:
            raise Impossible(problems)

    def __bool__(self) -> bool:
        return self.default is not None or bool(self.tenants)

    def of(self, tenant: str) -> str | None:
        return self.tenants.get(tenant, self.default)


def is_quota(text: str) -> bool:
    """Whether it is one: more than nothing a second, and at least one at once."""
    if _QUOTA.fullmatch(text) is None:
        return False
    per_s, _, burst = text.partition("/")
    return 0 < float(per_s) <= 1e6 and 1 <= float(burst) <= 1e6


@dataclass(frozen=True, slots=True, kw_only=True)
class StageRules:
    """`quotas` and `identities` take the place of the stage's settings where they say anything; `hosts` count beside
    the setting's. Identities stay text until one is used: `domain.identity` reads them."""

    quotas: Annotated[TenantQuotas, Means("what tenants may send")] = field(default_factory=TenantQuotas)
    hosts: Annotated[
        frozenset[str], AtMost(1_000), Means("exact names of hosts of your own that endpoints may be at")
    ] = frozenset()
    identities: Annotated[Mapping[str, str] | None, Means("who FISO is to other clouds, as fiso trust writes it")] = (
        None
    )

    def __bool__(self) -> bool:
        return bool(self.quotas or self.hosts or self.identities)


NO_RULES = StageRules()
