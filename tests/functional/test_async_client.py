"""What only `AsyncClient` can do; what both clients do is in `test_client`."""

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from fiso.domain.endpoint import Provider
from fiso_client import Answer, AsyncClient, NoAnswer, Options, Request
from tests.functional.lease_servers import World

REQUEST = Request(body=b"one two", content_type="text/plain")


@pytest.fixture
def world() -> Iterator[World]:
    world = World()
    yield world
    world.close()


class Slow:
    """A caller that answers once it is let."""

    def __init__(self) -> None:
        self.entered, self.answering = threading.Event(), threading.Event()
        self.options = Options(background=False, callers=dict.fromkeys(Provider, self))

    def __call__(self, *_: Any, **__: Any) -> Answer:
        self.entered.set()
        assert self.answering.wait(20)
        return Answer(status=200, body=b"late")


def test_an_event_loop_is_free_while_calls_wait_their_turn(world: World) -> None:
    async def called() -> list[Answer]:
        client = AsyncClient(world.url, options=Options(background=False), concurrency=3)
        async with client, asyncio.timeout(20):
            answers = await asyncio.gather(*(client.call("word-count", REQUEST) for _ in range(12)))
            assert await client.flush()
        assert client.tally.accepted == 12
        return list(answers)

    assert {answer.body for answer in asyncio.run(called())} == {b"ONE TWO"}


def test_the_time_in_which_a_call_waits_for_its_turn_counts(world: World) -> None:
    slow = Slow()

    async def called() -> None:
        async with AsyncClient(world.url, options=slow.options, concurrency=1) as client:
            first = asyncio.create_task(client.call("word-count", REQUEST))
            await asyncio.to_thread(slow.entered.wait, 20)
            second = asyncio.create_task(client.call("word-count", REQUEST, timeout_s=0.2))
            asyncio.get_running_loop().call_later(0.3, slow.answering.set)
            assert (await first).body == b"late"
            with pytest.raises(NoAnswer) as caught:
                await second
        assert (caught.value.deadline_passed, caught.value.may_have_run) == (True, False)

    asyncio.run(called())


def test_a_call_that_is_cancelled_is_reported_all_the_same(world: World) -> None:
    slow = Slow()

    async def called() -> int:
        async with AsyncClient(world.url, options=slow.options) as client:
            call = asyncio.create_task(client.call("word-count", REQUEST))
            await asyncio.to_thread(slow.entered.wait, 20)
            call.cancel()
            slow.answering.set()
        return client.tally.accepted

    assert asyncio.run(called()) == 1
