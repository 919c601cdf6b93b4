"""One emulator of AWS and one PostgreSQL for all contracts; each test has tables, buckets and a database of its own."""

from collections.abc import Iterator
from contextlib import closing

import pytest

from fiso.adapters.postgres.catalog import Connect, connect_from_url
from fiso_cli.migrations.runner import migrate
from fiso_client.core.transport import HttpTransport
from tests.contract import postgres_server
from tests.contract.stores import Emulated, Stores, by_boto3, by_signed_calls, emulated, in_memory
from tests.emulator import running_emulator


@pytest.fixture(scope="session")
def emulator_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with running_emulator(tmp_path_factory.mktemp("emulator")) as url:
        yield url


@pytest.fixture
def at(emulator_url: str) -> Iterator[Emulated]:
    with emulated(emulator_url) as made:
        yield made


@pytest.fixture(params=["memory", "boto3", "signed"])
def stores(request: pytest.FixtureRequest) -> Iterator[Stores]:
    if request.param == "memory":
        yield in_memory()
    elif request.param == "boto3":
        yield by_boto3(request.getfixturevalue("at"))
    else:
        with by_signed_calls(request.getfixturevalue("at")) as made:
            yield made


@pytest.fixture
def transport() -> Iterator[HttpTransport]:
    with closing(HttpTransport()) as used:
        yield used


@pytest.fixture(scope="session")
def server() -> Iterator[str]:
    with postgres_server.running() as url:
        yield url


@pytest.fixture
def url(server: str) -> str:
    """An empty database."""
    return postgres_server.new_database(server)


@pytest.fixture
def connect(url: str) -> Connect:
    """To a database at the newest schema."""
    connect = connect_from_url(url, is_local=True)
    migrate(connect)
    return connect
