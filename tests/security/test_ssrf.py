"""How `PublicDial` turns names into connections, and that nothing leads it elsewhere."""

import random
import socket
import threading
from collections.abc import Iterator, Sequence

import pytest

from fiso.adapters.aws.checked_snapshots import CheckedSnapshots
from fiso.adapters.http.public_dial import ForbiddenNumber, PublicDial, system_lookup
from fiso.domain.address import AddressRules
from fiso.domain.endpoint import Provider
from fiso.testing.memory import InMemorySnapshots
from fiso_client.core.failures import Failure
from fiso_client.core.transport import HttpTransport, TransportError
from tests.builders import a_snapshot, an_endpoint, an_entry
from tests.lab.chaos.experiments import ssrf_corpus as corpus
from tests.lab.chaos.experiments import ssrf_tries as tries
from tests.lab.chaos.experiments.ssrf_world import Canary, World, canary


@pytest.fixture(scope="module")
def counted() -> Iterator[Canary]:
    with canary() as running, tries.proxies_to(running.port):
        yield running


def test_no_hostile_address_or_name_is_called_or_dialled(counted: Canary) -> None:
    every = [*tries.hostile_addresses(counted.port), *(f"https://{name}/" for name in corpus.HOSTILE_NAMES)]
    assert [address for address in every if tries.is_called(address)] == []
    assert [address for address in every if tries.is_dialled(address)] == []
    assert counted.hits_so_far() == 0
    tries.call_with_loopback(counted.port)
    assert counted.hits_so_far() == 1, "the canary counts what does arrive"


def test_a_hostile_address_is_one_clear_line_of_apply(counted: Canary) -> None:
    for address in tries.hostile_addresses(counted.port):
        said = tries.refusal(Provider.AZURE, address)
        assert said is not None
        assert "\n" not in said
        assert said.startswith("fiso.yaml: functions.f.endpoints[0].address: must")


def test_good_addresses_are_registered_and_reached() -> None:
    assert [address for provider, address in corpus.GOOD_ADDRESSES if tries.is_blocked(provider, address)] == []


def test_a_redirect_is_the_answer_and_is_never_followed(counted: Canary) -> None:
    before = counted.hits_so_far()
    assert tries.redirects_passed(f"http://127.0.0.1:{counted.port}/") == len(tries.REDIRECTS)
    assert counted.hits_so_far() == before


def test_a_name_that_turns_is_looked_up_once_and_its_first_numbers_stand() -> None:
    assert tries.rebinding(500, random.Random(3)) == 0


def test_one_number_that_is_not_public_spoils_the_whole_name() -> None:
    world = World(names={"two.azurewebsites.net": ("20.50.2.1", "127.0.0.1")})
    with pytest.raises(ForbiddenNumber, match=r"127\.0\.0\.1, which is not public"):
        PublicDial(lookup=world.lookup, connect=world.connect)("two.azurewebsites.net", 443, 1)
    assert world.numbers == []


def test_numbers_are_tried_in_turn() -> None:
    world = World(names={"two.azurewebsites.net": ("20.50.2.1", "20.50.2.2", "20.50.2.1")})
    with pytest.raises(ConnectionRefusedError):
        PublicDial(lookup=world.lookup, connect=world.connect)("two.azurewebsites.net", 443, 1)
    assert world.numbers == ["20.50.2.1", "20.50.2.2"]


def test_a_forbidden_number_means_that_nothing_was_sent() -> None:
    world = World()
    transport = HttpTransport(dial=PublicDial(lookup=world.lookup, connect=world.connect))
    with pytest.raises(TransportError) as raised:
        transport.send("POST", "https://loopback.azurewebsites.net/", headers={}, body=b"", timeout_s=1)
    assert raised.value.failure is Failure.UNREACHABLE


def test_tls_and_host_keep_the_name_that_was_looked_up() -> None:
    """The server's name indication is read from the first TLS message as it arrives."""
    hello: list[bytes] = []

    with socket.create_server(("127.0.0.1", 0)) as listener:

        def read() -> None:
            connection, _ = listener.accept()
            with connection:
                hello.append(connection.recv(65_536))

        reading = threading.Thread(target=read, daemon=True)
        reading.start()

        def here(_number: tuple[str, int], timeout_s: float) -> socket.socket:
            return socket.create_connection(listener.getsockname(), timeout_s)

        world = World(names={"orders.azurewebsites.net": ("20.50.2.1",)})
        transport = HttpTransport(dial=PublicDial(lookup=world.lookup, connect=here), connect_timeout_s=5)
        with pytest.raises(TransportError):
            transport.send("POST", "https://orders.azurewebsites.net/", headers={}, body=b"", timeout_s=5)
        reading.join()
    assert b"orders.azurewebsites.net" in hello[0]


def test_a_lookup_without_answer_ends_in_time() -> None:
    def never(_host: str, _port: int, _timeout_s: float) -> Sequence[str]:
        raise TimeoutError("no address")

    with pytest.raises(TimeoutError):
        PublicDial(lookup=never)("orders.azurewebsites.net", 443, 0.1)
    with pytest.raises(TimeoutError, match="within"):
        system_lookup("localhost", 443, -1.0)


def test_the_system_looks_this_machine_up() -> None:
    assert set(system_lookup("localhost", 443, 5)) <= {"127.0.0.1", "::1"}
    with pytest.raises(OSError, match="no address for"):
        system_lookup("a" * 70 + ".run.app", 443, 5)


def test_a_published_endpoint_at_a_bad_address_is_marked_when_read() -> None:
    bad = an_endpoint(Provider.AZURE, address="https://127.0.0.1/")
    good = an_endpoint(Provider.GCP, address="https://g.run.app")
    checked = CheckedSnapshots(InMemorySnapshots(a_snapshot(an_entry(bad, good))), AddressRules()).current()
    assert checked is not None
    (entry,) = checked.functions.values()
    assert list(entry.refused) == [bad.id]
