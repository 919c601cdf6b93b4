"""The proxy as a whole: every listener of a profile, the fault of each provider, and the control API that sets them."""

import json
import logging
from collections.abc import Mapping
from http import HTTPStatus
from random import Random

import aiohttp
from aiohttp import web

from localcloud.aiohttp_doors import guarded
from localcloud.doors import Door
from localcloud.profile import Profile, Provider
from localcloud.provider_proxy.listener import Fault, FaultKind, Listener, Place

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


HEAL = "heal"


class BadFaultError(ValueError):
    """A fault request that says nothing useful."""


def control_app(proxy: ProviderProxy) -> web.Application:
    async def post_fault(request: web.Request) -> web.Response:
        try:
            provider, fault = parse(await request.text())
            await proxy.set_fault(provider, fault)
        except ValueError as error:
            return web.json_response({"error": str(error)}, status=HTTPStatus.BAD_REQUEST)
        except OSError as error:
            return web.json_response({"error": f"cannot listen again: {error}"}, status=HTTPStatus.CONFLICT)
        return web.json_response(proxy.status())

    async def get_status(_: web.Request) -> web.Response:
        return web.json_response(proxy.status())

    async def get_health(_: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})

    app = web.Application(middlewares=[guarded(Door.CONTROL)])
    app.router.add_post("/fault", post_fault)
    app.router.add_get("/status", get_status)
    app.router.add_get("/healthz", get_health)
    return app


def parse(text: str) -> tuple[Provider, Fault | None]:
    """{"provider": "aws", "kind": "kill"|"slow"|"heal", "factor": 3.0}; heal is the absence of a fault."""
    try:
        body = json.loads(text)
    except ValueError as error:
        raise BadFaultError("the body is not JSON") from error
    if not isinstance(body, dict):
        raise BadFaultError("the body is not an object")
    return _provider(body), _fault(body)


def _provider(body: Mapping[str, object]) -> Provider:
    try:
        return Provider(str(body.get("provider")))
    except ValueError as error:
        raise BadFaultError(f"provider must be one of {', '.join(Provider)}") from error


def _fault(body: Mapping[str, object]) -> Fault | None:
    kind = str(body.get("kind"))
    if kind == HEAL:
        return None
    if kind not in set(FaultKind):
        raise BadFaultError(f"kind must be one of {', '.join(FaultKind)}, {HEAL}")
    factor = body.get("factor", 1.0)
    if isinstance(factor, bool) or not isinstance(factor, (int, float)):
        raise BadFaultError("factor must be a number from 1 up")
    if kind == FaultKind.SLOW and "factor" not in body:
        raise BadFaultError("slow needs a factor")
    return Fault(kind=FaultKind(kind), factor=float(factor))
