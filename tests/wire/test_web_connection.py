"""An HTTP connection that never asks, asks without end, or is one of too many (P11)."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator

import pytest
from starlette.types import Receive, Scope, Send

from gateway.web.connection import HEAD_OCTETS, PIPELINED, REQUEST_OCTETS, Connection
from gateway.web.serving import Web


async def greet(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"hi"})


class Hasty(Connection):
    read_seconds = 0.05


@contextlib.asynccontextmanager
async def served(protocol: type[Connection] = Connection, *, connections: int = 100) -> AsyncIterator[int]:
    server = Web(connections=connections, stop_seconds=1, protocol=protocol)
    server.pages = greet
    with socket.create_server(("127.0.0.1", 0)) as listening:
        running = asyncio.create_task(server.serve([listening]))
        await server.accepting.wait()
        try:
            yield listening.getsockname()[1]
        finally:
            server.should_exit = True
            await running


async def answer(port: int, *pieces: bytes) -> bytes:
    """All that comes back until the other side closes."""
    async with asyncio.timeout(20):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        with contextlib.suppress(ConnectionError):
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
        said = b""
        with contextlib.suppress(ConnectionError):
            while piece := await reader.read(65_536):
                said += piece
        writer.close()
        return said


WHOLE = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.mark.parametrize(
    "pieces",
    [
        (),
        (b"GET / HTTP/1.1\r\nHost: x\r\n",),
        (b"\r\n",),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nx",),
    ],
)
async def test_a_request_that_does_not_come_is_not_waited_for(pieces: tuple[bytes, ...]) -> None:
    async with served(Hasty) as port:
        said = await answer(port, *pieces)
    assert said.startswith((b"HTTP/1.1 408 ", b"HTTP/1.1 200 "))  # the last is answered before its body is there


async def test_nor_is_the_second_one_on_a_connection() -> None:
    async with served(Hasty) as port:
        said = await answer(port, WHOLE, b"\r\n\r\nGET / HT")
    assert said.startswith(b"HTTP/1.1 200 ") and b"HTTP/1.1 408 " in said


@pytest.mark.parametrize(
    ("head", "piece"),
    [
        (b"GET / HTTP/1.1\r\nX: y\r\n", b"X-A: %s\r\n" % (b"a" * 1000)),
        (b"GET /", b"a" * 1000),
        (b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n" * 200),
        (b"\r\n", b"\r\n" * 500),
    ],
)
async def test_a_request_without_end_is_cut_while_it_comes(head: bytes, piece: bytes) -> None:
    """Past the limits nothing is read any more, so that the sender finds the connection gone."""
    async with served(Connection) as port, asyncio.timeout(20):
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(head)

        async def send_on() -> None:
            for _ in range(64 * REQUEST_OCTETS // len(piece)):
                writer.write(piece)
                await writer.drain()

        with pytest.raises(ConnectionError):
            await send_on()


async def test_a_head_that_is_too_long_is_told_so() -> None:
    async with served(Connection) as port:
        said = await answer(port, b"GET / HTTP/1.1\r\nX: " + b"a" * (HEAD_OCTETS + 1))
    assert said.startswith(b"HTTP/1.1 431 ")


async def test_one_stranger_holds_a_share_of_the_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    class Narrow(Connection):
        per_peer = 2

    monkeypatch.setattr("ipaddress.IPv4Address.is_private", False)  # the peer is on loopback, and taken for a stranger
    async with served(Narrow) as port, asyncio.timeout(20):
        held = [await asyncio.open_connection("127.0.0.1", port) for _ in range(2)]
        for reader, writer in held:
            writer.write(WHOLE)
            assert (await reader.readline()).startswith(b"HTTP/1.1 200 ")
        assert await answer(port, WHOLE) == b""
        held[0][1].close()
        await held[0][1].wait_closed()
        while not (said := await answer(port, WHOLE.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))):
            await asyncio.sleep(0)
        assert said.startswith(b"HTTP/1.1 200 ")
        held[1][1].close()


async def test_when_all_connections_are_taken_who_waits_longest_gives_way() -> None:
    """Slowloris: silent connections and half-sent heads fill every place; who has a request is served all the same."""
    async with served(connections=20) as port, contextlib.AsyncExitStack() as silent, asyncio.timeout(20):
        for n in range(60):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            silent.callback(writer.close)
            writer.write(b"" if n % 2 else b"GET / HTTP/1.1\r\nX-Slow: ")
            if n == 0:
                first = reader
        for _ in range(5):
            said = await answer(port, WHOLE.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
            assert said.startswith(b"HTTP/1.1 200 ")
        with contextlib.suppress(ConnectionError):
            assert await first.read() == b"", "the first gave way"


async def test_requests_sent_ahead_are_answered_in_order_and_bounded() -> None:
    last = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    async with served() as port:
        said = await answer(port, WHOLE * (PIPELINED - 1) + last)
        assert said.count(b"HTTP/1.1 200 ") == PIPELINED
        said = await answer(port, WHOLE * 1000)
        assert said.count(b"HTTP/1.1 200 ") <= PIPELINED + 1
        assert b"HTTP/1.1 4" not in said, "no answer comes out of its turn"


@pytest.mark.parametrize(
    "head",
    [
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nContent-Length: 40\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: +4\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length : 4\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked, identity\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: xchunked\r\n\r\n",
        b"POST / HTTP/1.1\nHost: x\nContent-Length: 4\n\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nX: a\rContent-Length: 4\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nX: a\x00b\r\nContent-Length: 4\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n 4\r\n\r\n",
    ],
)
async def test_what_two_readers_could_read_differently_is_refused(head: bytes) -> None:
    """RFC 9112 11.2: neither the request nor what stands behind it is taken."""
    smuggled = b"0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"
    async with served() as port:
        said = await answer(port, head + smuggled)
    # where the head alone is one, it is cut off without a word in the place of its answer
    assert said == b"" if b"xchunked" in head else said.startswith(b"HTTP/1.1 400 "), said
    assert said.count(b"HTTP/1.1 ") <= 1
