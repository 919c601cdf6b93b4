"""Every fault of the fault proxy, between a client and an upstream that are genuine sockets."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from tests.lab.chaos.rig import wire
from tests.lab.chaos.rig.proxy import NONE, FaultProxy, Faults

DATA = bytes(range(256)) * 200
PATIENCE_S = 10.0

Exchange = Callable[[], Awaitable[bytes]]


async def _upstream(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readline()
    writer.write(DATA)
    await writer.drain()
    writer.close()


def through(faults: Faults, use: Callable[[FaultProxy, Exchange], Awaitable[None]]) -> None:
    """Run `use` with a proxy that has these faults and an exchange through it: a line there, DATA back."""

    async def run() -> None:
        upstream = await asyncio.start_server(_upstream, wire.HOST, 0)
        proxy = FaultProxy(wire.port_of(upstream))
        port = await proxy.open()
        await proxy.set_faults(faults)

        async def exchange() -> bytes:
            reader, writer = await asyncio.open_connection(wire.HOST, port)
            try:
                writer.write(b"hello\n")
                return await asyncio.wait_for(reader.read(-1), PATIENCE_S)
            finally:
                writer.close()

        try:
            await use(proxy, exchange)
        finally:
            proxy.close()
            upstream.close()
            others = asyncio.all_tasks() - {asyncio.current_task()}
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)

    asyncio.run(run())


def test_without_faults_everything_passes() -> None:
    async def use(_: FaultProxy, exchange: Exchange) -> None:
        assert await exchange() == DATA

    through(NONE, use)


def test_a_truncated_answer_ends_where_it_is_told_to() -> None:
    async def use(_: FaultProxy, exchange: Exchange) -> None:
        assert await exchange() == DATA[:1000]

    through(Faults(truncate_after=1000), use)


def test_a_reset_is_a_reset() -> None:
    async def use(_: FaultProxy, exchange: Exchange) -> None:
        with pytest.raises(ConnectionResetError):
            await exchange()

    through(Faults(reset_after=1000), use)


def test_a_corrupted_answer_has_one_bit_changed_in_each_piece() -> None:
    async def use(proxy: FaultProxy, exchange: Exchange) -> None:
        got = await exchange()
        assert len(got) == len(DATA)
        flipped = sum((a ^ b).bit_count() for a, b in zip(got, DATA, strict=True))
        assert flipped == proxy.counts["corrupted"] > 0

    through(Faults(corrupt_share=1.0), use)


def test_a_black_hole_accepts_and_passes_nothing_until_it_is_mended() -> None:
    async def use(proxy: FaultProxy, exchange: Exchange) -> None:
        waiting = asyncio.ensure_future(exchange())
        done, _ = await asyncio.wait([waiting], timeout=0.3)
        assert not done
        await proxy.set_faults(NONE)
        assert await waiting == DATA

    through(Faults(black_hole=True), use)


def test_nobody_listens_where_it_refuses_until_it_is_mended() -> None:
    async def use(proxy: FaultProxy, exchange: Exchange) -> None:
        with pytest.raises(ConnectionRefusedError):
            await exchange()
        await proxy.set_faults(NONE)
        assert await exchange() == DATA

    through(Faults(refuse=True), use)


@pytest.mark.parametrize(
    "faults",
    [Faults(latency_ms=200), Faults(bytes_per_s=len(DATA) / 0.2), Faults(slow_close_s=0.2)],
    ids=["latency", "bandwidth", "slow close"],
)
def test_what_slows_down_takes_at_least_that_long(faults: Faults) -> None:
    async def use(_: FaultProxy, exchange: Exchange) -> None:
        loop = asyncio.get_running_loop()
        begun = loop.time()
        assert await exchange() == DATA
        assert loop.time() - begun >= 0.19

    through(faults, use)


def test_upstream_away_ends_the_connection() -> None:
    async def run() -> None:
        nobody = await asyncio.start_server(_upstream, wire.HOST, 0)
        port = wire.port_of(nobody)
        nobody.close()
        await nobody.wait_closed()
        proxy = FaultProxy(port)
        reader, writer = await asyncio.open_connection(wire.HOST, await proxy.open())
        assert await asyncio.wait_for(reader.read(-1), PATIENCE_S) == b""
        writer.close()
        proxy.close()

    asyncio.run(run())
