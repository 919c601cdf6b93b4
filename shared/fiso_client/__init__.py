"""The client: calls functions by FISO's leases from inside your own service, without a hop through FISO.

    from fiso_client import Client, Request

    with Client("https://….execute-api.us-east-1.amazonaws.com", headers=sign) as fiso:
        answer = fiso.call("word-count", Request(body=b"one two two", content_type="text/plain"))

`AsyncClient` does the same in coroutines. Standard library only, and nothing of `fiso`. The names below are imported
when first used: the router takes `fiso_client.core` only, and its cold start should not pay for the client.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fiso_client.aio import AsyncClient
    from fiso_client.api import FisoRefused
    from fiso_client.calling import Answer, Caller, Request
    from fiso_client.client import Client, NoAnswer, Options
    from fiso_client.core.answers import FunctionAnswer
    from fiso_client.core.failures import Failure, FisoError, ProviderError
    from fiso_client.leases import NoLease
    from fiso_client.target import Target

__all__ = [
    "Answer",
    "AsyncClient",
    "Caller",
    "Client",
    "Failure",
    "FisoError",
    "FisoRefused",
    "FunctionAnswer",
    "NoAnswer",
    "NoLease",
    "Options",
    "ProviderError",
    "Request",
    "Target",
]
_HOMES = {
    **dict.fromkeys(("Answer", "Caller", "Request"), "calling"),
    **dict.fromkeys(("Client", "NoAnswer", "Options"), "client"),
    **dict.fromkeys(("Failure", "FisoError", "ProviderError"), "core.failures"),
    "AsyncClient": "aio",
    "FisoRefused": "api",
    "FunctionAnswer": "core.answers",
    "NoLease": "leases",
    "Target": "target",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"fiso_client.{_HOMES[name]}"), name)
