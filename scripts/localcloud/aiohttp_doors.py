"""The doors of what aiohttp serves: a middleware that asks for the owner, and one that asks for a signature too."""

from collections.abc import Iterable
from datetime import UTC, datetime

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from fiso_cli.access_key import AccessKey
from localcloud import signatures
from localcloud.doors import Door, Visit, refusal
from localcloud.signatures import BadSignatureError, Request


def guarded(door: Door, *, behind: Iterable[int] = ()) -> Middleware:
    """Lets in whom the door is for; all others get 403 and a line."""
    allowed = frozenset(behind)

    @web.middleware
    async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
        why = refusal(visit_of(request), door, behind=allowed)
        return await handler(request) if why is None else refused(why)

    return guard


def guarded_by_key(key: AccessKey, *, unsigned: Iterable[str] = ()) -> Middleware:
    """The same for a port that speaks AWS: signed with the cloud's key, but for some paths that tell how it is."""
    open_paths = frozenset(unsigned)

    @web.middleware
    async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
        is_open = request.method == "GET" and request.path in open_paths
        why = refusal(visit_of(request), Door.CONTROL, is_signed=not is_open)
        if why is not None:
            return refused(why)
        if not is_open:
            try:
                signatures.check(await _signable(request), key, datetime.now(UTC))
            except BadSignatureError as error:
                return refused(str(error), error.code)
        return await handler(request)

    return guard


def visit_of(request: web.BaseRequest) -> Visit:
    """What the door looks at."""
    peer = request.transport.get_extra_info("peername") if request.transport else None
    own = request.transport.get_extra_info("sockname") if request.transport else None
    headers = {name.lower(): ",".join(request.headers.getall(name)) for name in request.headers}
    return Visit(headers=headers, caller=peer[:2] if peer else None, port=own[1] if own else 0)


def refused(why: str, code: str = "AccessDeniedException") -> web.Response:
    """403 in the words of AWS's JSON protocols."""
    document = {"__type": code, "message": why}
    return web.json_response(document, status=403, headers={"x-amzn-ErrorType": code})


async def _signable(request: web.Request) -> Request:
    path, _, query = request.raw_path.partition("?")
    headers = {name.lower(): ",".join(request.headers.getall(name)) for name in request.headers}
    return Request(method=request.method, path=path, query=query, headers=headers, body=await request.read())
