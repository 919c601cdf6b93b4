"""FISO's API as the client uses it: ask for a lease, report outcomes. One exchange each, never repeated here."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from fiso_client.core.answers import HttpAnswer
from fiso_client.core.failures import FisoError
from fiso_client.core.grammar import is_name
from fiso_client.core.transport import HttpTransport, TransportError

Headers: TypeAlias = Callable[[str, str, bytes], Mapping[str, str]]
"""The headers that identify the caller to FISO, from method, URL and body: a signature, or a bearer token."""


class FisoAway(FisoError):
    """FISO gave no usable answer: it cannot be reached, or failed. Asking again later may help."""


class FisoRefused(FisoError):
    """FISO understood and will not: no such function, or a report that it cannot take. Asking again will not help."""


class FisoDeclined(FisoRefused):
    """FISO answers, and gives nothing now: the caller may not, sends too much, or nothing is eligible. Asking again
    later may help; what an absent FISO would allow, it does not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FisoApi:
    """Where FISO is. `url` has no trailing slash."""

    url: str
    headers: Headers
    transport: HttpTransport
    timeout_s: float

    def decide(self, function: str, request_size_bytes: int) -> dict[str, Any]:
        """The lease document for a request of a size."""
        if not is_name(function):
            raise FisoRefused(f"{function[:80]!a} is no function's name")
        return self._post(f"/v1/decide/{function}", b"", {"x-fiso-request-size": str(request_size_bytes)})

    def report(self, leases: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """What became of each outcome."""
        return self._post("/v1/outcomes", json.dumps({"leases": leases}).encode(), {"content-type": "application/json"})

    def _post(self, path: str, body: bytes, headers: Mapping[str, str]) -> dict[str, Any]:
        url = self.url + path
        try:
            answer = self.transport.send(
                "POST",
                url,
                headers={**headers, **self.headers("POST", url, body)},
                body=body,
                timeout_s=self.timeout_s,
            )
        except TransportError as error:
            raise FisoAway(str(error)) from error
        if answer.status in (400, 404, 413):
            raise FisoRefused(f"status {answer.status}: {answer.body[:300].decode(errors='replace')}")
        if answer.status in (401, 403, 429) or _nothing_eligible(answer):
            raise FisoDeclined(f"status {answer.status}: {answer.body[:300].decode(errors='replace')}")
        if answer.status != 200:
            raise FisoAway(f"status {answer.status}: {answer.body[:300].decode(errors='replace')}")
        try:
            document = json.loads(answer.body)
        except ValueError as error:
            raise FisoAway("the answer is not JSON") from error
        if not isinstance(document, dict):
            raise FisoAway("the answer is not an object")
        return document


def _nothing_eligible(answer: HttpAnswer) -> bool:
    """Whether FISO decided, and nobody may be called: unlike a FISO that has failed, or has no catalog to decide by."""
    return answer.status == 503 and b'"urn:fiso:problem:no-endpoint-available"' in answer.body
