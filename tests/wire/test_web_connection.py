"""An HTTP connection that never asks, asks without end, or is one of too many (P11)."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest
import uvicorn
from starlette.types import Receive, Scope, Send

from gateway.web.connection import HEAD_OCTETS, REQUEST_OCTETS, Connection


async def greet(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"hi"})


class Hasty(Connection):
    read_seconds = 0.05


class Quiet(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self):  # type: ignore[no-untyped-def]
        yield


@contextlib.asynccontextmanager
async def served(protocol: type[Connection]) -> AsyncIterator[int]:
    server = Quiet(uvicorn.Config(
        greet, port=0, http=protocol, ws="none", lifespan="off", log_config=None, timeout_graceful_shutdown=1
    ))  # fmt: skip
    running = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0)
    try:
        yield server.servers[0].sockets[0].getsockname()[1]
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
