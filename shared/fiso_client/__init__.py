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
    from fiso_client.aio import AsyncClient as AsyncClient
    from fiso_client.api import FisoDeclined as FisoDeclined
    from fiso_client.api import FisoRefused as FisoRefused
    from fiso_client.calling import Answer as Answer
    from fiso_client.calling import Caller as Caller
    from fiso_client.calling import Request as Request
    from fiso_client.client import Client as Client
    from fiso_client.client import Options as Options
    from fiso_client.core.answers import FunctionAnswer as FunctionAnswer
    from fiso_client.core.failures import Failure as Failure
    from fiso_client.core.failures import FisoError as FisoError
    from fiso_client.core.failures import ProviderError as ProviderError
    from fiso_client.invoking import NoAnswer as NoAnswer
    from fiso_client.leases import NoLease as NoLease
    from fiso_client.reporting import Pace as Pace
    from fiso_client.reporting import Tally as Tally
    from fiso_client.target import Target as Target

_HOMES = (
    "aio",
    "api",
    "calling",
    "client",
    "core.answers",
    "core.failures",
    "invoking",
    "leases",
    "reporting",
    "target",
)


def __getattr__(name: str) -> object:
    for home in _HOMES if name[0].isupper() else ():
        module = import_module(f"fiso_client.{home}")
        if getattr(getattr(module, name, None), "__module__", None) == module.__name__:
            return getattr(module, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
