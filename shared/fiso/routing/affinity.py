"""Affinity: which copy a session stays on. Pure; nothing is stored.

header   the value names the session, and the copies that may be called are hashed with it: the highest hash wins
         (rendezvous hashing, Thaler and Ravishankar 1998), so a copy that is out moves only its own sessions.
cookie   the first request is decided like any other, and the cookie that FISO sets then says which copy it was and
         since when. It names the copy by a hash of function and endpoint: it tells nothing, and one that names no copy
         of this function, or is too old or from the future, counts as none. It is not signed: whoever makes one up
         chooses among the copies that the policy lets be called, which a session does anyway.

Either way a copy is kept only among `available`: those that the policy allows, in the earliest tier that is available,
not behind an open breaker.
"""

from collections.abc import Collection, Mapping
from datetime import datetime
from hashlib import blake2b

from fiso.domain.endpoint import EndpointId, FunctionName
from fiso.domain.request import InvocationRequest
from fiso.domain.steering import Affinity

LONGEST_SESSION = 4_096
_RANGE = 2**64
CLOCK_SKEW_S = 60
"""Two environments' clocks may differ by so much."""


def session_of(affinity: Affinity, headers: Mapping[str, str]) -> str | None:
    """The session that a request belongs to, by its headers (names in lower case); None where it shows none."""
    if affinity.header is not None:
        return headers.get(affinity.header, "")[:LONGEST_SESSION] or None
    for pair in headers.get("cookie", "").split(";"):
        name, _, value = pair.strip().partition("=")
        if name == affinity.cookie:
            return value[:LONGEST_SESSION] or None
    return None


def kept(
    affinity: Affinity, session: str, available: Collection[EndpointId], *, function: FunctionName, now: datetime
) -> EndpointId | None:
    """The copy that a session stays on, out of those that may be called; None where none is kept."""
    if affinity.header is not None:
        return max(available, key=lambda endpoint: (share_of(session, function, endpoint), endpoint), default=None)
    tag, _, issued = session.partition(".")
    if not (issued.isascii() and issued.isdigit() and len(issued) < 12):
        return None
    age_s = now.timestamp() - int(issued)
    if not -CLOCK_SKEW_S <= age_s < affinity.life_s:
        return None
    return next((endpoint for endpoint in available if _tag(function, endpoint) == tag), None)


def cookie_for(affinity: Affinity, endpoint: EndpointId, request: InvocationRequest) -> str:
    """The cookie that names a copy, as `set-cookie` has it, for this function's path alone. Over https it is for pages
    of other sites too; browsers take no such cookie from a stage on loopback, which has no TLS."""
    path = request.session.path if request.session else "/"
    value = f"{_tag(request.function, endpoint)}.{int(request.received_at.timestamp())}"
    is_https = request.headers.get("x-forwarded-proto") == "https"
    pages = "SameSite=None; Secure" if is_https else "SameSite=Lax"
    return f"{affinity.cookie}={value}; Path={path}; Max-Age={affinity.life_s}; HttpOnly; {pages}"


def share_of(*parts: str) -> float:
    """A number in [0, 1) that texts have everywhere and always, uniform over texts."""
    digest = blake2b("\n".join(parts).encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "big") / _RANGE


def _tag(function: FunctionName, endpoint: EndpointId) -> str:
    return blake2b(f"{function}\n{endpoint}".encode("utf-8", "surrogatepass"), digest_size=6).hexdigest()
