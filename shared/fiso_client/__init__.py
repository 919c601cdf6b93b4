"""The client: calls functions by FISO's leases from inside your own service, without a hop through FISO.

    from fiso_client import Client, Request

    with Client("https://….execute-api.us-east-1.amazonaws.com", headers=sign) as fiso:
        answer = fiso.call("word-count", Request(body=b"one two two", content_type="text/plain"))

Standard library only, and of FISO what itself is standard library only: the domain's words for failures, the circuit
breaker, and the HTTP transport. It may import nothing else of FISO.
"""

from fiso.domain.attempt import Failure, ProviderError
from fiso_client.api import FisoRefused
from fiso_client.calling import Answer, Caller, Request
from fiso_client.client import Client, NoAnswer, Options
from fiso_client.leases import NoLease
from fiso_client.target import Target

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
