"""Health checks: whether a component answers. One question, one second at most; never an exception."""

import http.client
from dataclasses import dataclass
from typing import Protocol

from fiso_cli.local_stage import HOST

_TIMEOUT_S = 1.0


class HealthCheck(Protocol):
    """Whether a component answers as it should."""

    def __call__(self) -> bool: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpCheck:
    """`GET path` answers with one of the statuses."""

    port: int
    path: str = "/healthz"
    statuses: tuple[int, ...] = (200,)

    def __call__(self) -> bool:
        """Ask once."""
        connection = http.client.HTTPConnection(HOST, self.port, timeout=_TIMEOUT_S)
        try:
            connection.request("GET", self.path, headers={"Connection": "close"})
            return connection.getresponse().status in self.statuses
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()
