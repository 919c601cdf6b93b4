"""The proxy as a whole: every listener of a profile, and the fault of each provider."""

import logging
from collections.abc import Mapping
from random import Random

import aiohttp

from fiso.domain.endpoint import Provider
from localcloud.profile import Profile
from localcloud.provider_proxy.faults import Fault
from localcloud.provider_proxy.listener import Listener, Place

log = logging.getLogger(__name__)


class ProviderProxy:
    """Listeners on consecutive ports, in the order of the profile."""

    def __init__(self, places: tuple[Place, ...], session: aiohttp.ClientSession, rng: Random) -> None:
        self._faults: dict[Provider, Fault] = {}
        self._listeners = [Listener(place, session, rng, self._faults.get) for place in places]

    async def open(self) -> None:
        for listener in self._listeners:
            await listener.open()

    async def close(self) -> None:
        for listener in self._listeners:
            await listener.close()

    async def set_fault(self, provider: Provider, fault: Fault | None) -> None:
        """The provider's fault from now on; None heals. Raises OSError when a port cannot be opened again."""
        if fault is None:
            self._faults.pop(provider, None)
        else:
            self._faults[provider] = fault
        log.warning("%s: %s", provider, fault or "healed")
        for listener in self._listeners:
            if listener.place.provider.name == provider:
                await (listener.close() if fault and fault.refuses_connections else listener.open())

    def status(self) -> Mapping[str, object]:
        return {"listeners": [self._describe(listener) for listener in self._listeners]}

    def _describe(self, listener: Listener) -> Mapping[str, object]:
        place = listener.place
        fault = self._faults.get(place.provider.name)
        return {
            "provider": place.provider.name,
            "regions": [region.name for region in place.regions],
            "port": place.port,
            "upstream": place.upstream,
            "is_open": listener.is_open,
            "requests": listener.requests,
            "fault": {"kind": fault.kind, "factor": fault.factor} if fault else None,
        }


def places_of(
    profile: Profile, base_port: int, upstreams: Mapping[Provider, str], *, emulates: bool
) -> tuple[Place, ...]:
    """One place per listener of the profile, numbered from `base_port`."""
    behind = [(provider, regions) for provider in profile.providers for regions in provider.listeners]
    missing = {provider.name for provider, _ in behind} - upstreams.keys()
    if missing:
        raise ValueError(f"no --upstream for {', '.join(sorted(missing))}")
    return tuple(
        Place(
            profile=profile,
            provider=provider,
            regions=regions,
            port=base_port + offset,
            upstream=upstreams[provider.name],
            emulates=emulates,
        )
        for offset, (provider, regions) in enumerate(behind)
    )
