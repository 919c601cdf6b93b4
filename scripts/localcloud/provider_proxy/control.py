"""The control API: takes faults and tells the state of every listener. For this machine's commands only."""

import json
from collections.abc import Mapping
from http import HTTPStatus

from aiohttp import web

from fiso.domain.endpoint import Provider
from localcloud.provider_proxy.faults import Fault, FaultKind
from localcloud.provider_proxy.proxy import ProviderProxy

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

    app = web.Application()
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
