"""Can an address that someone registers make FISO call what only FISO can reach? (Docs: decision 12.)

Each hostile address is registered as `fiso apply` would, called as if it had been registered all the same, and dialled
as if nobody had looked at it either. A canary on this machine counts what arrives.
"""

import json
import random
import socket
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from functools import partial
from statistics import median
from time import perf_counter

import pytest

from fiso.adapters.aws.snapshots import CheckedSnapshots, KnownHosts
from fiso.adapters.http.callers import HttpCaller
from fiso.adapters.http.public_dial import ForbiddenNumber, PublicDial, system_lookup
from fiso.domain.address import AddressRules, check, check_endpoint, is_loopback, is_public
from fiso.domain.endpoint import Provider
from fiso.domain.errors import BadAddress
from fiso.testing.clock import ManualClock
from fiso.testing.memory import InMemorySnapshots
from fiso_cli.catalog import declaration
from fiso_client.core.answers import FunctionAnswer
from fiso_client.core.failures import Failure, ProviderError
from fiso_client.core.transport import HttpTransport, TransportError
from tests.builders import a_request, a_snapshot, an_endpoint, an_entry
from tests.functional.lease_servers import serving
from tests.security.hostile_addresses import (
    GOOD_ADDRESSES,
    HOSTILE_ADDRESSES,
    HOSTILE_NAMES,
    OWN_HOSTS,
    PUBLIC_NUMBERS,
)

HERE = "127.0.0.1"
WAIT_S = 1.0
NAME = "orders.azurewebsites.net"
REBINDINGS = 20_000
URL_PROVIDERS = (Provider.AZURE, Provider.GCP)
PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy")


class Canary:
    """A server that nobody may reach: counts every connection, whatever is sent on it."""

    def __init__(self, listener: socket.socket) -> None:
        self.port: int = listener.getsockname()[1]
        self._listener = listener
        self._connections = self._own = 0

    def serve(self) -> None:
        """Until the listener is closed."""
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self._connections += 1
                connection.close()

    @property
    def hits(self) -> int:
        """The connections of others; those on their way have arrived once one of the canary's own was served."""
        self._own += 1
        with socket.create_connection((HERE, self.port), WAIT_S) as own:
            own.recv(1)
        return self._connections - self._own


@pytest.fixture(scope="module")
def canary() -> Iterator[Canary]:
    """Also named as the proxy by the whole environment, which must not matter."""
    with pytest.MonkeyPatch.context() as environment, socket.create_server((HERE, 0)) as listener:
        running = Canary(listener)
        threading.Thread(target=running.serve, daemon=True).start()
        for name in PROXIES:
            environment.setenv(name, f"http://{HERE}:{running.port}")
        yield running
        listener.shutdown(socket.SHUT_RDWR)


class World:
    """Looks names up and connects, as `PublicDial` asks for it.

    A name that is not among `names` stands for this machine: the worst that it could. This machine is connected to in
    earnest, so that a hole shows at the canary; any other number is noted in `numbers` and refuses.
    """

    def __init__(self, names: Mapping[str, Sequence[str]] = HOSTILE_NAMES) -> None:
        self.names = names
        self.numbers: list[str] = []
        self.lookups = 0

    def lookup(self, host: str, port: int, _timeout_s: float) -> Sequence[str]:
        """Numbers in any writing as the system reads them, else as `names` say."""
        self.lookups += 1
        if host in self.names:
            return self.names[host]
        try:
            answers = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
        except (OSError, UnicodeError):
            return (HERE,)
        return tuple(str(answer[4][0]) for answer in answers)

    def connect(self, number: tuple[str, int], timeout_s: float) -> socket.socket:
        """To this machine only."""
        self.numbers.append(number[0])
        if is_loopback(number[0]):
            return socket.create_connection(number, timeout_s)
        raise ConnectionRefusedError("only this machine is connected to")

    def dial(self, *, allow_loopback: bool = False) -> PublicDial:
        """The genuine dial in this world."""
        return PublicDial(allow_loopback=allow_loopback, lookup=self.lookup, connect=self.connect)

    def call(self, address: str, *, allow_loopback: bool = False) -> FunctionAnswer:
        """One call of an endpoint at that address."""
        provider = Provider.GCP if "cloudfunctions" in address or "run.app" in address else Provider.AZURE
        with closing(HttpTransport(dial=self.dial(allow_loopback=allow_loopback))) as transport:
            caller = HttpCaller(transport, clock=ManualClock(), allow_loopback=allow_loopback, own_hosts=OWN_HOSTS)
            return caller.call(an_endpoint(provider, address=address), a_request(), timeout_ms=WAIT_S * 1000)

    def send(self, address: str) -> None:
        """One request by the transport alone, with no look at the address before."""
        with closing(HttpTransport(dial=self.dial())) as transport:
            transport.send("POST", address, headers={}, body=b"{}", timeout_s=WAIT_S)


def refusal(provider: Provider, address: str) -> str | None:
    """What `fiso apply` says of an endpoint with this address; None when it is accepted."""
    endpoint = {"id": "e", "provider": provider.value, "region": "us-east-1", "memory_mb": 512, "address": address}
    document = {"version": 1, "functions": {"f": {"type": "any", "endpoints": [endpoint]}}}
    try:
        declaration.parse(json.dumps(document), declaration.Setting(variables={}, is_local=False, own_hosts=OWN_HOSTS))
    except declaration.InvalidDeclaration as error:
        return str(error)
    return None


@pytest.mark.parametrize("provider", URL_PROVIDERS)
@pytest.mark.parametrize("address", HOSTILE_ADDRESSES, ids=ascii)
def test_a_hostile_address_is_registered_nowhere_and_apply_says_so_in_one_line(
    address: str, provider: Provider, canary: Canary
) -> None:
    filled = address.replace("{port}", str(canary.port))
    with pytest.raises(BadAddress):
        check(filled, provider, "us-east-1", AddressRules(own_hosts=OWN_HOSTS))
    said = refusal(provider, filled)
    assert said is not None
    assert said.startswith("fiso.yaml:1: functions.f.endpoints[0].address: must")
    assert "\n" not in said


@pytest.mark.parametrize("address", [*HOSTILE_ADDRESSES, *(f"https://{name}/" for name in HOSTILE_NAMES)], ids=ascii)
def test_no_hostile_address_or_name_is_called_or_dialled(address: str, canary: Canary) -> None:
    world, before = World(), canary.hits
    filled = address.replace("{port}", str(canary.port))
    with pytest.raises((ProviderError, TransportError)):
        world.call(filled)
    with pytest.raises((TransportError, ValueError)):  # ValueError: what is no URL at all
        world.send(filled)
    assert (world.numbers, canary.hits) == ([], before)


def test_the_canary_counts_what_does_arrive(canary: Canary) -> None:
    before = canary.hits
    with pytest.raises(TransportError):
        World().call(f"http://{HERE}:{canary.port}", allow_loopback=True)
    assert canary.hits == before + 1


@pytest.mark.parametrize(("provider", "address"), GOOD_ADDRESSES)
def test_an_address_as_the_providers_give_them_is_registered_and_reached(provider: Provider, address: str) -> None:
    check(address, provider, "us-east-1", AddressRules(own_hosts=OWN_HOSTS))
    assert refusal(provider, address) is None
    if provider is not Provider.AWS:
        world = World({address.split("/")[2].partition(":")[0]: PUBLIC_NUMBERS[:1]})
        with pytest.raises(TransportError):
            world.call(address)
        assert world.numbers == [PUBLIC_NUMBERS[0]]


@pytest.mark.parametrize("numbers", HOSTILE_NAMES.values(), ids=HOSTILE_NAMES)
def test_numbers_that_are_not_public_are_known_in_every_writing(numbers: tuple[str, ...]) -> None:
    assert not all(map(is_public, numbers))
    assert all(map(is_public, PUBLIC_NUMBERS))


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_the_answer_and_is_never_followed(status: int, canary: Canary) -> None:
    before, location = canary.hits, f"http://{HERE}:{canary.port}/"
    with serving(lambda *_: (status, {"location": location}, b"")) as function:
        answer = World().call(function.url, allow_loopback=True)
    assert (answer.status, answer.headers["location"], canary.hits) == (status, location, before)


class Rebinding(World):
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


def test_a_name_that_turns_is_looked_up_once_and_its_first_numbers_stand_if_all_are_public() -> None:
    hostile = [number for numbers in HOSTILE_NAMES.values() for number in numbers if not is_public(number)][:5]
    rng = random.Random(1)
    for _ in range(REBINDINGS):
        first, second = (rng.choices([*PUBLIC_NUMBERS, *hostile], k=2) for _ in range(2))
        world = Rebinding([first, second])
        with pytest.raises(OSError):  # noqa: PT011 - which one depends on the draw
            world.dial()("turn.azurewebsites.net", 443, WAIT_S)
        assert (world.lookups, set(world.numbers)) == (1, set(first) if all(map(is_public, first)) else set())


def test_one_number_that_is_not_public_spoils_the_whole_name() -> None:
    world = World({NAME: ("20.50.2.1", "127.0.0.1")})
    with pytest.raises(ForbiddenNumber, match=r"127\.0\.0\.1, which is not public"):
        world.dial()(NAME, 443, 1)
    assert world.numbers == []


def test_numbers_are_tried_in_turn() -> None:
    world = World({NAME: ("20.50.2.1", "20.50.2.2", "20.50.2.1")})
    with pytest.raises(ConnectionRefusedError):
        world.dial()(NAME, 443, 1)
    assert world.numbers == ["20.50.2.1", "20.50.2.2"]


def test_a_forbidden_number_means_that_nothing_was_sent() -> None:
    with pytest.raises(TransportError) as raised:
        World().send("https://loopback.azurewebsites.net/")
    assert raised.value.failure is Failure.UNREACHABLE


def test_tls_and_host_keep_the_name_that_was_looked_up() -> None:
    """The server's name indication is read from the first TLS message as it arrives."""
    hello: list[bytes] = []

    class ToListener(World):
        def connect(self, number: tuple[str, int], timeout_s: float) -> socket.socket:
            return socket.create_connection(listener.getsockname(), timeout_s)

    with socket.create_server((HERE, 0)) as listener:

        def read() -> None:
            connection, _ = listener.accept()
            with connection:
                hello.append(connection.recv(65_536))

        reading = threading.Thread(target=read, daemon=True)
        reading.start()
        with pytest.raises(TransportError):
            ToListener({NAME: ("20.50.2.1",)}).send(f"https://{NAME}/")
        reading.join()
    assert NAME.encode() in hello[0]


def test_a_lookup_without_answer_ends_in_time() -> None:
    is_over = threading.Event()

    def hanging(*_: object, **__: object) -> Sequence[object]:
        is_over.wait()
        return ()

    with pytest.raises(TimeoutError, match=r"within 0\.1 s"):
        PublicDial(lookup=partial(system_lookup, resolve=hanging))(NAME, 443, 0.1)
    is_over.set()


def test_the_system_looks_this_machine_up() -> None:
    assert set(system_lookup("localhost", 443, 5)) <= {"127.0.0.1", "::1"}
    with pytest.raises(OSError, match="no address for"):
        system_lookup("a" * 70 + ".run.app", 443, 5)


def test_a_published_endpoint_at_a_bad_address_is_marked_when_read() -> None:
    bad = an_endpoint(Provider.AZURE, address="https://127.0.0.1/")
    good = an_endpoint(Provider.GCP, address="https://g.run.app")
    checked = CheckedSnapshots(InMemorySnapshots(a_snapshot(an_entry(bad, good))), KnownHosts(AddressRules())).current()
    assert checked is not None
    (entry,) = checked.functions.values()
    assert list(entry.refused) == [bad.id]


def median_ms(act: Callable[[], object], times: int) -> float:
    """The median of so many, the best of three goes: what others do on this machine is not what is asked."""

    def once() -> float:
        start = perf_counter()
        act()
        return (perf_counter() - start) * 1000

    return min(median(once() for _ in range(times)) for _ in range(3))


def test_looking_at_an_address_costs_a_call_little_and_a_new_connection_a_lookup() -> None:
    endpoint, rules, dial = (
        an_endpoint(Provider.AZURE, address=f"https://{NAME}"),
        AddressRules(),
        PublicDial(allow_loopback=True),
    )
    assert median_ms(lambda: check_endpoint(endpoint, rules), 2_000) <= 0.05
    with socket.create_server((HERE, 0), backlog=1024) as listener:
        port = listener.getsockname()[1]
        plain = median_ms(lambda: socket.create_connection((HERE, port), 1).close(), 60)
        assert median_ms(lambda: dial(HERE, port, 1).close(), 60) - plain <= 2.0
