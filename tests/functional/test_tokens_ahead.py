"""Tokens are fetched beside the first reads, renewed while a provider is awaited, and missed by no request."""

import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from fiso.domain.endpoint import Authentication, Endpoint, Provider
from fiso.domain.request import InvocationRequest
from fiso.testing.rig import Rig
from fiso_client.core.answers import FunctionAnswer
from functions.orchestrator import environment
from functions.orchestrator.wiring import Ports
from tests.builders import an_endpoint, an_entry

GUARDED = an_endpoint(Provider.AZURE, authentication=Authentication.ENTRA)
OPEN = an_endpoint(Provider.GCP)


class Tokens:
    """Notes what was fetched, which comes when `arrives` is set."""

    def __init__(self) -> None:
        self.fetched: list[str] = []
        self.has: set[str] = set()
        self.arrives = threading.Event()
        self.arrives.set()
        self.fails = False

    def due(self, endpoints: Iterable[Endpoint]) -> Sequence[Callable[[], object]]:
        names = [str(each.id) for each in endpoints if each.authentication is Authentication.ENTRA] or ["first"]
        return [self._fetching(name) for name in names if name not in self.has]

    def forget(self) -> None:
        self.has.clear()

    def _fetching(self, name: str) -> Callable[[], object]:
        def fetch() -> None:
            self.fetched.append(name)
            assert self.arrives.wait(5)
            if self.fails:
                raise RuntimeError("a defect")
            self.has.add(name)

        return fetch


def rig_of(tokens: Tokens) -> Rig:
    def ports(outside: Ports) -> Ports:
        return replace(outside, tokens=(tokens,))

    def respond(endpoint: Endpoint, request: InvocationRequest, timeout_ms: float) -> FunctionAnswer:
        del endpoint, request, timeout_ms
        return FunctionAnswer(status=200, body=b"ok")

    return Rig(an_entry(GUARDED, OPEN, name="f"), respond=respond, ports=ports)


def test_what_a_function_needs_is_fetched_before_it_is_called() -> None:
    tokens = Tokens()
    rig = rig_of(tokens)
    assert rig.invoke("f").status == 200
    assert tokens.has >= {GUARDED.id}
    asked = len(tokens.fetched)
    assert rig.invoke("f").status == 200
    assert len(tokens.fetched) == asked, "nothing was due"


def test_an_environment_fetches_them_while_it_starts_and_a_snapshot_of_it_holds_none() -> None:
    tokens, before = Tokens(), set(threading.enumerate())
    app = rig_of(tokens).app
    environment.get_ready(app)
    assert tokens.has >= {GUARDED.id}
    app.rest()
    assert not tokens.has
    assert not [each for each in set(threading.enumerate()) - before if each.name.startswith("tokens")]
    environment.get_ready(app)
    assert tokens.has >= {GUARDED.id}


def test_a_token_service_that_hangs_or_fails_holds_up_nobody_who_needs_no_token() -> None:
    tokens = Tokens()
    tokens.arrives.clear()
    rig = rig_of(tokens)
    answers = [rig.invoke("f") for _ in range(6)]
    tokens.fails = True
    tokens.arrives.set()
    assert [answer.status for answer in [*answers, rig.invoke("f")]] == [200] * 7


def test_a_lease_or_an_explanation_fetches_none() -> None:
    tokens = Tokens()
    rig = rig_of(tokens)
    for path in ("/v1/explain/f", "/v1/decide/f"):
        assert rig.request("POST", path).status == 200
    assert GUARDED.id not in tokens.fetched
