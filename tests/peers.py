"""Peers that do as they are told: an SMTP server scripted by a map from command to reply.

    async with ScriptedPeer({"RCPT": "451 4.7.1 later"}) as peer:
        ... peer.port ... peer.transactions ...

A key is the beginning of a command line ("RCPT", "RCPT TO:<bob"), the longest that fits counts; "CONNECT" is the
greeting, "." the end of the message. A value is a reply, or Close, Silence, Raw, or an async function of the line that
gives one of them; a list gives one after the other, its last for ever. What is not scripted is answered as a
well-behaved server would. It listens on a free loopback port, in the loop of the test, and is gone with its block.
"""

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

from gateway.config import Route, Smarthost


@dataclass(frozen=True, slots=True)
class Close:
    """Say `reply`, if any, and close the connection."""

    reply: str | None = None


@dataclass(frozen=True, slots=True)
class Silence:
    """Say nothing, for ever."""


@dataclass(frozen=True, slots=True)
class Raw:
    """Send these octets as they are."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Drip:
    """Send these octets one by one, for ever, with so many seconds between them."""

    data: bytes
    seconds: float = 0.001


Step = str | Close | Silence | Raw | Drip | Callable[[str], Awaitable[Any]]
FEATURES = ("PIPELINING", "8BITMIME", "SIZE 1000000", "SMTPUTF8", "DSN", "ENHANCEDSTATUSCODES")

_DEFAULTS: Mapping[str, str] = {
    "CONNECT": "220 peer.test ESMTP",
    "HELO": "250 peer.test",
    "MAIL": "250 2.1.0 ok",
    "RCPT": "250 2.1.5 ok",
    "DATA": "354 go on",
    ".": "250 2.0.0 queued as A1B2C3",
    "RSET": "250 2.0.0 ok",
    "NOOP": "250 2.0.0 ok",
    "STARTTLS": "220 2.0.0 go on",
    "AUTH": "235 2.7.0 ok",
    "QUIT": "221 2.0.0 bye",
    "": "500 5.5.2 what",
}


@dataclass(slots=True)
class Transaction:
    """One message that reached its final dot, taken or not; `data` with dots unstuffed, without the dot line."""

    mail: str
    rcpts: list[str]
    data: bytes
    encrypted: bool
    connection: int


@dataclass(slots=True)
class _State:
    number: int
    mail: str = ""
    rcpts: list[str] = field(default_factory=list)
    encrypted: bool = False


class ScriptedPeer:
    """See the head of this module. `context`: offers STARTTLS with it, or speaks TLS at once when `implicit`."""

    def __init__(
        self,
        script: Mapping[str, Step | Sequence[Step]] | None = None,
        *,
        features: Sequence[str] = FEATURES,
        context: ssl.SSLContext | None = None,
        implicit: bool = False,
        port: int = 0,
        host: str = "127.0.0.1",
    ) -> None:
        self._script: dict[str, list[Step]] = {
            key: list(steps) if isinstance(steps, list | tuple) else [steps]  # type: ignore[list-item]
            for key, steps in (script or {}).items()
        }
        self._features = tuple(features)
        self._context = context
        self._implicit = implicit
        self._tasks: set[asyncio.Task[None]] = set()
        self._changed = asyncio.Condition()
        self._place = (host, port)
        self.port = 0
        self.commands: list[str] = []
        """Every command line of every connection, in order, without line end; AUTH lines included."""
        self.ahead: list[str] = []
        """Commands behind which more had come before they were answered, as in PIPELINING."""
        self.transactions: list[Transaction] = []
        self.connections = 0
        self.closed = 0

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(
            self._accepted, *self._place, ssl=self._context if self._implicit else None, limit=1 << 20
        )
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def until(self, what: Callable[[], bool]) -> None:
        """Wait until something about this peer is true; at most 30 seconds."""
        async with asyncio.timeout(30), self._changed:
            await self._changed.wait_for(what)

    async def seen(self, verb: str, times: int = 1) -> None:
        """Wait until commands beginning with `verb` have come that often."""
        await self.until(lambda: sum(line.startswith(verb) for line in self.commands) >= times)

    async def all_closed(self) -> None:
        """Wait until every connection there was has ended."""
        await self.until(lambda: self.closed == self.connections)

    async def _tell(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    async def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        state = _State(number=self.connections, encrypted=self._implicit)
        try:
            await self._talk(reader, writer, state)
        except (ConnectionError, asyncio.IncompleteReadError, ssl.SSLError, asyncio.CancelledError):
            pass  # the other side left, or the test is over
        finally:
            writer.transport.abort()
            self.closed += 1
            self._tasks.discard(task)
            await self._tell()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, state: _State) -> None:
        if await self._answer(reader, writer, "CONNECT") is None:
            return
        while line := await reader.readline():
            command = line.decode("utf-8", "surrogateescape").rstrip("\r\n")
            self.commands.append(command)
            if reader._buffer:  # type: ignore[attr-defined]
                self.ahead.append(command)
            await self._tell()
            said = await self._answer(reader, writer, command)
            if said is None:
                return
            if command[:4].upper() == "QUIT" or not await self._follow(reader, writer, state, command, said):
                return

    async def _follow(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, state: _State, command: str, said: int
    ) -> bool:
        """What a command leads to when it was answered `said`; False: the connection is to end."""
        verb = command[:4].upper()
        if verb == "STAR" and said == 220:
            assert self._context is not None
            await writer.start_tls(self._context)
            state.encrypted = True
        elif verb == "AUTH" and said == 334:
            self.commands.append((await reader.readline()).decode().rstrip())
            self.commands.append((await self._challenge(reader, writer)).rstrip())
            return await self._answer(reader, writer, "AUTH END") is not None
        elif verb == "DATA" and said == 354:
            return await self._message(reader, writer, state)
        elif verb == "MAIL" and said == 250:
            state.mail, state.rcpts = command, []
        elif verb == "RCPT" and said == 250:
            state.rcpts.append(command)
        return True

    async def _challenge(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> str:
        writer.write(b"334 UGFzc3dvcmQ6\r\n")
        return (await reader.readline()).decode()

    async def _message(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, state: _State) -> bool:
        lines = []
        while (line := await reader.readline()) != b".\r\n":
            if not line:
                return False
            lines.append(line[1:] if line.startswith(b".") else line)
        self.transactions.append(
            Transaction(
                mail=state.mail, rcpts=state.rcpts, data=b"".join(lines), encrypted=state.encrypted,
                connection=state.number,
            )
        )  # fmt: skip
        self.commands.append(".")
        state.mail, state.rcpts = "", []
        await self._tell()
        return await self._answer(reader, writer, ".") is not None

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, command: str) -> int | None:
        """Do the step of a command; the code that was said, None when the connection is to end."""
        step = self._step(command)
        while not isinstance(step, str | Close | Silence | Raw | Drip):
            step = await step(command)
        if isinstance(step, Silence):
            await reader.read()  # until the other side gives up
            return None
        if isinstance(step, Drip):
            while True:
                for octet in step.data:
                    writer.write(bytes((octet,)))
                    await writer.drain()
                    await asyncio.sleep(step.seconds)
        if isinstance(step, Raw):
            writer.write(step.data)
            await writer.drain()
            return 0
        reply = step.reply if isinstance(step, Close) else step
        if reply is not None:
            writer.write(reply.encode() + b"\r\n")
            await writer.drain()
        if isinstance(step, Close):
            writer.close()
            return None
        return int(reply[:3]) if reply and reply[:3].isdigit() else 0

    def _step(self, command: str) -> Step:
        keys = [key for key in self._script if command.upper().startswith(key.upper())]
        if keys:
            steps = self._script[max(keys, key=len)]
            return steps.pop(0) if len(steps) > 1 else steps[0]
        if command[:4].upper() == "EHLO":
            offered = [*self._features, *(["STARTTLS"] if self._context and not self._implicit else [])]
            return "\r\n".join(["250-peer.test", *(f"250-{word}" for word in offered), "250 HELP"])
        return next(reply for key, reply in _DEFAULTS.items() if command.upper().startswith(key))


def route_to(
    *peers: "ScriptedPeer | int",
    tls: Literal["none", "opportunistic", "require", "verify"] = "none",
    username: str | None = None,
    password: str | None = None,
    connections: int = 10,
    rate_per_second: float | None = None,
    host: str = "127.0.0.1",
    weights: Sequence[int] = (),
    token_file: Path | None = None,
) -> Route:
    """A smarthost route to these peers, or ports, in order; with `weights` they share the load."""
    ports = [peer if isinstance(peer, int) else peer.port for peer in peers]
    hosts = tuple(
        Smarthost(
            host=host, port=port, priority=1 if weights else place + 1, weight=weights[place] if weights else 1,
            username=username, password=password, token_file=token_file,
        )
        for place, port in enumerate(ports)
    )  # fmt: skip
    return Route(
        name="test", kind="smarthost", hosts=hosts, tls=tls, connections=connections, rate_per_second=rate_per_second
    )


@contextmanager
def silent(address: str) -> Iterator[int]:
    """A listener whose queue is full: it neither refuses nor answers. Its port."""
    with ExitStack() as opened:
        listener = opened.enter_context(closing(socket.socket()))
        listener.bind((address, 0))
        listener.listen(0)
        for _ in range(4):
            filler = opened.enter_context(closing(socket.socket()))
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        yield listener.getsockname()[1]
