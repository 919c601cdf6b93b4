"""The client: calls functions by FISO's leases from inside your own service, without a hop through FISO.

    from fiso.client import Client, Request

    with Client("https://….execute-api.us-east-1.amazonaws.com", headers=sign) as fiso:
        answer = fiso.call("word-count", Request(body=b"one two two", content_type="text/plain"))

Standard library only, and of FISO what itself is standard library only: the domain's words for failures, the circuit
breaker, and the HTTP transport. It may import nothing else of FISO.
"""

from fiso.client.api import FisoRefused
from fiso.client.calling import Answer, Caller, Request
from fiso.client.client import Client, NoAnswer, Options
from fiso.client.leases import NoLease
from fiso.client.target import Target
from fiso.domain.attempt import Failure, ProviderError

__all__ = [
    "Answer",
    "Caller",
    "Client",
    "Failure",
    "FisoRefused",
    "NoAnswer",
    "NoLease",
    "Options",
    "ProviderError",
    "Request",
    "Target",
]
