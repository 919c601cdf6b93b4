"""What several functional tests share: the two servers of a login, started once."""

from collections.abc import Iterator

import pytest

from tests.functional.login_world import LoginWorld, login_world


@pytest.fixture(scope="session")
def login_servers() -> Iterator[LoginWorld]:
    """The local issuer and the console, until the end of the run."""
    with login_world() as world:
        yield world


@pytest.fixture
def world(login_servers: LoginWorld) -> Iterator[LoginWorld]:
    """The same at the present time, without any browser."""
    yield login_servers
    login_servers.tidy()
