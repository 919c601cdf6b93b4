"""The tries of the SSRF experiment, one function each; tests run them as well."""

import json
import os
import random
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from statistics import median
from time import perf_counter

from fiso.adapters.http.callers import HttpCaller
from fiso.adapters.http.public_dial import PublicDial
from fiso.domain.address import AddressRules, check_endpoint, is_public
from fiso.domain.endpoint import Endpoint, EndpointId, FunctionName, Provider
from fiso.domain.request import InvocationId, InvocationRequest, TenantId
from fiso_cli.catalog import declaration
from fiso_client.core.answers import FunctionAnswer
from fiso_client.core.failures import ProviderError
from fiso_client.core.transport import HttpTransport, TransportError
from tests.lab.chaos.experiments import ssrf_corpus as corpus
from tests.lab.chaos.experiments.ssrf_world import HERE, World, redirecting

REDIRECTS = (301, 302, 303, 307, 308)
PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy")
WAIT_S = 1.0
NEW_CONNECTIONS = 200


def hostile_addresses(port: int) -> list[str]:
    """The corpus with the canary's port filled in."""
    return [address.replace("{port}", str(port)) for address in corpus.HOSTILE_ADDRESSES]


def is_registered(address: str) -> bool:
    """Whether a catalog file with this address is accepted, for Azure or for Google."""
    return any(refusal(provider, address) is None for provider in (Provider.AZURE, Provider.GCP))


def refusal(provider: Provider, address: str, own_hosts: frozenset[str] = frozenset()) -> str | None:
    """What `fiso apply` says of an endpoint with this address; None when it is accepted."""
    endpoint = {"id": "e", "provider": provider.value, "region": "us-east-1", "memory_mb": 512, "address": address}
    document = {"version": 1, "functions": {"f": {"type": "any", "endpoints": [endpoint]}}}
    setting = declaration.Setting(variables={}, is_local=False, own_hosts=own_hosts)
    try:
        declaration.parse(json.dumps(document), setting)
    except declaration.InvalidDeclaration as error:
        return str(error)
    return None


def is_called(address: str) -> bool:
    """Whether calling an endpoint with this address opens a connection, to whatever it is."""
    world = World()
    try:
        _call(address, world)
    except ProviderError:
        return bool(world.numbers)
    except TransportError:
        return bool(world.numbers)
    return True


def is_dialled(address: str) -> bool:
    """Whether the transport alone opens a connection for it, with no look at the address before."""
    world = World()
    dial = PublicDial(lookup=world.lookup, connect=world.connect)
    try:
        with closing(HttpTransport(dial=dial)) as transport:
            transport.send("POST", address, headers={}, body=b"{}", timeout_s=WAIT_S)
    except (TransportError, ValueError):  # ValueError: what is no URL at all
        return bool(world.numbers)
    return True


def rebinding(rounds: int, rng: random.Random) -> int:
    """How many connections went elsewhere than to a number of the only lookup, all of them public, for so many names
    that stand for other numbers each time they are asked."""
    hostile = [number for numbers in corpus.HOSTILE_NAMES.values() for number in numbers if not is_public(number)]
    return sum(
        _is_turned([rng.choices([*corpus.PUBLIC_NUMBERS, *hostile[:5]], k=2) for _ in range(2)]) for _ in range(rounds)
    )


def _is_turned(answers: Sequence[Sequence[str]]) -> bool:
    world = _Rebinding(answers)
    try:
        PublicDial(lookup=world.lookup, connect=world.connect)("turn.azurewebsites.net", 443, WAIT_S)
    except OSError:
        first = answers[0]
        allowed = set(first) if all(map(is_public, first)) else set()
        return world.lookups != 1 or set(world.numbers) != allowed
    return True  # no connection of that world succeeds


class _Rebinding(World):
    """A name that stands for the next of some answers each time. No connection succeeds."""

    def __init__(self, answers: Sequence[Sequence[str]]) -> None:
        super().__init__()
        self._answers = answers

    def lookup(self, host: str, port: int, _timeout_s: float) -> Sequence[str]:
        """The next answer."""
        self.lookups += 1
        return self._answers[self.lookups - 1]

    def connect(self, number: tuple[str, int], timeout_s: float) -> socket.socket:
        """Nothing."""
        self.numbers.append(number[0])
        raise ConnectionRefusedError


def redirects_passed(location: str) -> int:
    """How many statuses of a redirecting function reach the caller as they are."""
    passed = 0
    with redirecting(location) as function:
        for status in REDIRECTS:
            answer = _call(f"{function}/{status}", World(), allow_loopback=True)
            passed += (answer.status, answer.headers.get("location")) == (status, location)
    return passed


def is_blocked(provider: Provider, address: str) -> bool:
    """Whether a good address cannot be registered, or is not connected to at a public number."""
    if refusal(provider, address, corpus.OWN_HOSTS) is not None:
        return True
    if provider is Provider.AWS:
        return False
    number = corpus.PUBLIC_NUMBERS[0]
    world = World(names=_Everywhere({"": (number,)}))
    try:
        _call(address, world)
    except TransportError:
        return world.numbers != [number]
    return True


class _Everywhere(dict[str, Sequence[str]]):
    """Names that all stand for the one answer there is."""

    def __contains__(self, name: object) -> bool:
        return True

    def __missing__(self, name: str) -> Sequence[str]:
        return self[""]


def call_with_loopback(port: int) -> None:
    """Call this machine as the local stage may: shows that the canary can be hit."""
    try:
        _call(f"http://{HERE}:{port}", World(), allow_loopback=True)
    except TransportError:
        return


@contextmanager
def proxies_to(port: int) -> Iterator[None]:
    """An environment that names a proxy on this machine, while the block runs."""
    before = {name: os.environ.get(name) for name in PROXIES}
    os.environ.update(dict.fromkeys(PROXIES, f"http://{HERE}:{port}"))
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name)
            if value is not None:
                os.environ[name] = value


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What the checks take, in milliseconds: of an address, at each call; of a name, at each new connection."""

    check_ms: float
    dial_ms: float
    n: int
    n_new: int = NEW_CONNECTIONS


def cost_of_checks(calls: int) -> Cost:
    """Medians, on this machine. A name's is `PublicDial` to this machine less a plain connection to it."""
    endpoint, rules = _endpoint("https://orders.azurewebsites.net/api/orders"), AddressRules()
    checks = [_timed_ms(lambda: check_endpoint(endpoint, rules)) for _ in range(calls)]
    dial = PublicDial(allow_loopback=True)
    with socket.create_server((HERE, 0), backlog=1024) as listener:
        port = listener.getsockname()[1]
        plain = [_timed_ms(lambda: socket.create_connection((HERE, port), 1).close()) for _ in range(NEW_CONNECTIONS)]
        guarded = [_timed_ms(lambda: dial(HERE, port, 1).close()) for _ in range(NEW_CONNECTIONS)]
    return Cost(check_ms=median(checks), dial_ms=median(guarded) - median(plain), n=calls)


def _timed_ms(act: Callable[[], object]) -> float:
    start = perf_counter()
    act()
    return (perf_counter() - start) * 1000


def _call(address: str, world: World, *, allow_loopback: bool = False) -> FunctionAnswer:
    dial = PublicDial(allow_loopback=allow_loopback, lookup=world.lookup, connect=world.connect)
    with closing(HttpTransport(dial=dial)) as transport:
        caller = HttpCaller(
            transport,
            clock=lambda: datetime.now(UTC),
            allow_loopback=allow_loopback,
            own_hosts=corpus.OWN_HOSTS,
        )
        return caller.call(_endpoint(address), _request(), timeout_ms=WAIT_S * 1000)


def _endpoint(address: str) -> Endpoint:
    provider = Provider.GCP if "cloudfunctions" in address or "run.app" in address else Provider.AZURE
    return Endpoint(id=EndpointId("e"), provider=provider, region="eastus", memory_mb=512, address=address)


def _request() -> InvocationRequest:
    now = datetime.now(UTC)
    return InvocationRequest(
        invocation_id=InvocationId("i"),
        function=FunctionName("f"),
        tenant=TenantId("t"),
        received_at=now,
        deadline_at=now + timedelta(seconds=WAIT_S),
        body=b"{}",
    )
