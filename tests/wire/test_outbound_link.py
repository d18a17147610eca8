"""How long a link waits: each answer for as long as it may take, with one timer for all of them."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from gateway.outbound.link import Link, LinkFailed

SHORT, LONG = 0.2, 30.0
"""Seconds; a wait of two SHORT ones is answered at once, and its timer rings before three have passed."""


@pytest.fixture
async def ends() -> AsyncIterator[tuple[Link, asyncio.StreamWriter]]:
    """A link, and what the server at its other end writes with."""
    met: asyncio.Future[asyncio.StreamWriter] = asyncio.get_running_loop().create_future()
    server = await asyncio.start_server(lambda _, writer: met.set_result(writer), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    _, link = await asyncio.get_running_loop().create_connection(Link, "127.0.0.1", port)
    writer = await met
    yield link, writer
    link.abort()
    writer.close()
    server.close()


async def test_a_short_wait_behind_a_long_one_ends_in_its_own_time(ends: tuple[Link, asyncio.StreamWriter]) -> None:
    link, server = ends
    server.write(b"250 first\r\n")
    assert (await link.answer(LONG)).text == "first"
    async with asyncio.timeout(LONG / 2):
        with pytest.raises(LinkFailed) as failed:
            await link.answer(SHORT)
    assert failed.value.kind == "timeout"
    assert not link.alive


async def test_a_long_wait_is_not_cut_by_the_timer_of_a_short_one(ends: tuple[Link, asyncio.StreamWriter]) -> None:
    link, server = ends
    server.write(b"250 first\r\n")
    assert (await link.answer(SHORT * 2)).text == "first"
    asyncio.get_running_loop().call_later(SHORT * 3, server.write, b"250 second\r\n")
    assert (await link.answer(LONG)).text == "second"


async def test_a_timer_that_rings_while_nobody_waits_harms_nothing(ends: tuple[Link, asyncio.StreamWriter]) -> None:
    link, server = ends
    server.write(b"250 first\r\n")
    assert (await link.answer(SHORT * 2)).text == "first"
    rung = asyncio.Event()
    asyncio.get_running_loop().call_later(SHORT * 3, rung.set)
    await rung.wait()
    assert link.alive
    with pytest.raises(LinkFailed) as failed:
        await link.answer(SHORT)
    assert failed.value.kind == "timeout"


async def test_a_wait_ends_when_the_server_goes(ends: tuple[Link, asyncio.StreamWriter]) -> None:
    link, server = ends
    server.close()
    with pytest.raises(LinkFailed) as failed:
        await link.answer(LONG)
    assert failed.value.kind == "lost"
