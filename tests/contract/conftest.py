"""One emulator of AWS for all contracts; each test has tables, buckets and secrets of its own in it."""

from collections.abc import Iterator
from contextlib import closing

import pytest

from fiso_client.core.transport import HttpTransport
from tests.emulator import running_emulator


@pytest.fixture(scope="session")
def emulator_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with running_emulator(tmp_path_factory.mktemp("emulator")) as url:
        yield url


@pytest.fixture
def transport() -> Iterator[HttpTransport]:
    with closing(HttpTransport()) as used:
        yield used
