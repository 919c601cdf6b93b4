"""Three copies of a function behind FISO's handler over HTTP on loopback."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from fiso import telemetry
from fiso.domain.endpoint import Endpoint, EndpointId
from fiso.domain.request import InvocationRequest
from fiso.testing.rig import Rig, http_event, word_count
from fiso_client.core.answers import FunctionAnswer
from fiso_client.core.failures import ProviderError
from tests.functional.lease_servers import serving

AWS, AZURE, GCP = "aws-us-east-1", "azure-eastus", "gcp-us-east4"
JSON = {"content-type": "application/json"}


@dataclass
class Copies:
    """Three copies behind FISO's handler. `answers` by copy, then by what a body begins with; `delay_s` is of each."""

    answers: dict[str, dict[str, FunctionAnswer | ProviderError]] = field(default_factory=dict)
    policy: dict[str, object] = field(default_factory=dict)
    url: str = ""
    delay_s: float = 0.0

    def __post_init__(self) -> None:
        self.rig = Rig(word_count(**self.policy), respond=self.respond)

    def respond(self, endpoint: Endpoint, request: InvocationRequest, _: float) -> FunctionAnswer | ProviderError:
        time.sleep(self.delay_s)
        usual = FunctionAnswer(status=200, body=b'{"said": %s}' % (request.body or b'""'), headers=JSON)
        found = self.answers.get(endpoint.id, {})
        return next((said for begin, said in found.items() if request.body.startswith(begin.encode())), usual)

    def handle(self, path: str, headers: dict[str, str], body: bytes) -> tuple[int, dict[str, str], bytes]:
        path, _, query = path.partition("?")
        event = http_event(headers["x-method"], path, body.decode()) | {"headers": headers, "rawQueryString": query}
        answer = self.rig.send(event)
        return answer["statusCode"], answer["headers"], answer["body"].encode()

    @property
    def runs(self) -> list[EndpointId]:
        return sorted(self.rig.calls)


@contextmanager
def serving_copies(policy: Mapping[str, object]) -> Iterator[Copies]:
    made = Copies(policy=dict(policy))
    with serving(made.handle) as server:
        made.url = server.url
        telemetry.logger()  # before the command stands in for standard output
        yield made
