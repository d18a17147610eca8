"""One SMTP connection: bytes in, lines out, one timer, TLS; on top of aiosmtpd's protocol class.

Purpose: everything about a connection that is not a command. It replaces aiosmtpd's command loop, which takes bare LF
for a line end, answers without enhanced codes, shows our exceptions to the peer and writes addresses into the log.
It never keeps more than its limits allow and never waits without one.
Failures: a story that raises or hangs is 451 4.3.0 and an event without content; the conversation goes on.
Known limits: no PROXY protocol. It relies on private attributes of aiosmtpd 1.4.6 and of asyncio's streams;
tests/wire/test_inbound_pinned.py names them.
"""

from __future__ import annotations

import asyncio
import math
from abc import abstractmethod
from collections.abc import Awaitable
from ipaddress import IPv6Address, ip_address
from typing import TypeVar

from aiosmtpd.smtp import SMTP

from gateway import log
from gateway.counters import SESSIONS
from gateway.inbound import sasl
from gateway.inbound.door import Door, Peer
from gateway.mail import reply
from gateway.mail.reply import Reply

READ_OCTETS = 65_536  # reading pauses at twice this
FAULTS_ALLOWED = 20
STORY_SECONDS = 300.0  # RFC 5321 4.5.3.2.6 lets the client wait 600
HANDSHAKE_SECONDS = 30.0
LINGER_SECONDS = 5.0
TICK_SECONDS = 15.0
CROWDED_SECONDS = 10.0
"""How long a peer that has not logged in may be silent when connections are short."""

T = TypeVar("T")


class Connection(SMTP):
    """One connection, which its listener has counted. It is given back here, when the handler task ends."""

    def __init__(self, door: Door, *, loop: asyncio.AbstractEventLoop) -> None:
        # aiosmtpd's own __init__ looks through every attribute of class and handler for hooks, for each connection
        # (115 us); none of what it finds is used here.
        asyncio.StreamReaderProtocol.__init__(
            self,
            asyncio.StreamReader(limit=READ_OCTETS, loop=loop),
            client_connected_cb=self._cb_client_connected,
            loop=loop,
        )
        self.loop = loop
        self.session = None
        self.transport = None
        self._original_transport = None
        self._timeout_handle: asyncio.TimerHandle | None = None
        self._handler_coroutine: asyncio.Task[None] | None = None
        self._door = door
        self._peer = Peer(ip="", loopback=False)
        self._faults = 0
        self._ended = False
        self._in_data = False
        self._silent = True  # nothing received yet
        self._deadline = math.inf
        self._since = 0.0

    @property
    @abstractmethod
    def at_rest(self) -> bool:
        """Waiting for a command, with no transaction under way."""

    @abstractmethod
    async def _converse(self) -> None:
        """The commands, from the greeting on."""

    @abstractmethod
    def _forget(self) -> None:
        """Drop the transaction."""

    # -- the connection: aiosmtpd's and asyncio's callbacks ---------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        ip, loopback = plain_ip(transport.get_extra_info("peername"))
        self._peer = Peer(ip=ip, loopback=loopback, tls=transport.get_extra_info("sslcontext") is not None)
        super().connection_made(transport)

    def data_received(self, data: bytes) -> None:
        if self._silent:
            self._silent = False
            if data[:1] == b"\x16" and not self._peer.tls and self.transport is not None:
                self._cut("TLS on a plain port")  # it waits for our hello; no line will come
                self._hang_up()
                return
        super().data_received(data)

    def eof_received(self) -> bool | None:
        # Unlike aiosmtpd: what was sent before a half-close is still worked off and answered.
        return asyncio.StreamReaderProtocol.eof_received(self)

    def connection_lost(self, error: Exception | None) -> None:
        # Unlike aiosmtpd: the handler is not cancelled, so a message being committed is not cut off. It sees the end.
        self.transport = None
        self._stop_timer()
        asyncio.StreamReaderProtocol.connection_lost(self, error)

    def _set_post_data_state(self) -> None:
        self._forget()  # aiosmtpd would make an envelope of its own

    def _reset_timeout(self, duration: float | None = None) -> None:
        """Move the one timer's deadline; the timer itself looks now and then whether it has come."""
        self._since = self.loop.time()
        self._deadline = self._since + (duration or self._door.limits.idle_seconds)
        if self._timeout_handle is None:
            self._timeout_handle = self.loop.call_later(self._tick(), self._timeout_cb)

    def _tick(self) -> float:
        return min(TICK_SECONDS, self._door.limits.idle_seconds, self._door.limits.data_seconds)

    def _timeout_cb(self) -> None:
        if self.transport is None:
            return
        now = self.loop.time()
        if now < self._deadline and not self._gives_way(now):
            self._timeout_handle = self.loop.call_at(min(self._deadline, now + self._tick()), self._timeout_cb)
            return
        self._cut("slow message" if self._in_data else "idle")
        self.end(reply.DATA_TOO_SLOW if self._in_data else reply.IDLE_TOO_LONG)

    def _gives_way(self, now: float) -> bool:
        """Whether this one only holds a connection while there are few left."""
        waits = not self._in_data and self._deadline < math.inf and now - self._since > CROWDED_SECONDS
        return waits and self._peer.login is None and self._door.connections.crowded

    def end(self, answer: Reply) -> None:
        """Say a last word from outside the handler and hang up; the handler sees the end of input."""
        if self.transport is not None:
            self._writer.write(answer.line.encode("ascii") + b"\r\n")
        self._hang_up()

    @property
    def task(self) -> asyncio.Task[None] | None:
        """What works on this connection."""
        return self._handler_coroutine

    def abort(self) -> None:
        """Cut the connection and whatever the handler does."""
        if self.transport is not None:
            self.transport.abort()  # type: ignore[attr-defined]
        if self._handler_coroutine is not None:
            self._handler_coroutine.cancel()

    def _hang_up(self) -> None:
        transport, self.transport = self.transport, None
        if transport is not None:
            self._stop_timer()
            # A peer that does not read our last words must not hold the connection.
            self._timeout_handle = self.loop.call_later(LINGER_SECONDS, transport.abort)  # type: ignore[attr-defined]
            transport.close()

    def _stop_timer(self) -> None:
        if self._timeout_handle is not None:
            self._timeout_handle.cancel()

    async def _handle_client(self) -> None:
        door, ip = self._door, self._peer.ip
        door.conversations.add(self)
        SESSIONS.inc()
        try:
            await self._converse()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the peer is gone
        except Exception as error:  # a bug in this module must not leave a silent peer and a counted connection behind
            log.bug(where=f"smtp {door.name}", error=error)
            self.end(reply.INTERNAL)
        finally:
            SESSIONS.dec()
            door.conversations.discard(self)
            door.connections.leave(ip)
            self._hang_up()

    # -- lines in, replies out --------------------------------------------------------------------------------------

    async def _read_line(self) -> bytes | Reply:
        """The next line without CRLF, or why it cannot be used. IncompleteReadError at the end of input.

        Only CRLF ends a line (RFC 5321 2.3.8). The deadline is not moved while a line comes in.
        """
        self._reset_timeout()
        fault, before = None, b""
        while True:
            try:
                line = before + await self._reader.readuntil(b"\n")
            except asyncio.LimitOverrunError as over:
                before = (await self._reader.readexactly(over.consumed))[-1:]
                fault = reply.LINE_TOO_LONG
                continue
            before = b""
            if line.endswith(b"\r\n"):
                break
            fault = reply.BAD_LINE
            if not self._reader._buffer:  # type: ignore[attr-defined]
                self._ended = True  # a peer that ends its lines with bare LF would wait for ever
                return fault
        if fault is not None:
            return fault
        if len(line) > sasl.RESPONSE_OCTETS:
            return reply.LINE_TOO_LONG
        line = line[:-2]
        return reply.BAD_LINE if b"\r" in line or b"\n" in line or b"\0" in line else line

    async def _say(self, answer: Reply) -> None:
        """Send a reply; a 421 ends the conversation. Waits only when the peer does not read what it is sent."""
        if answer.code == 421:
            self._ended = True
        await self._write(answer.line.encode("ascii") + b"\r\n")

    async def _write(self, line: bytes) -> None:
        if self.transport is None:
            return
        self._writer.write(line)
        if self.transport.get_write_buffer_size() > READ_OCTETS:  # type: ignore[attr-defined]
            await self._writer.drain()

    async def _fault(self, answer: Reply) -> None:
        """Refuse a command that is wrong in itself; too many of those end the conversation."""
        self._faults += 1
        await self._say(answer)
        await self._end_if_hopeless()

    async def _end_if_hopeless(self) -> None:
        """Hang up on a peer that goes on with what leads nowhere."""
        if self._faults > FAULTS_ALLOWED and not self._ended:
            self._cut("too many errors")
            await self._say(reply.TOO_MANY_ERRORS)

    async def _ask(self, stage: str, story: Awaitable[T]) -> T | Reply:
        """Await a story. It owns its own time; STORY_SECONDS is for one that never comes back."""
        self._deadline = math.inf
        try:
            async with asyncio.timeout(STORY_SECONDS):
                return await story
        except Exception as error:
            log.bug(where=f"smtp {stage}", error=error)
            return reply.INTERNAL
        finally:
            self._reset_timeout()

    def _cut(self, cause: str) -> None:
        log.session_cut(listener=self._door.name, cause=cause)

    async def _encrypt(self) -> bool:
        """TLS from here on; everything known about the peer but its address is forgotten (RFC 3207 4.2)."""
        transport, context = self.transport, self._door.tls
        if context is None or transport is None:
            return False
        try:
            encrypted = await self.loop.start_tls(
                transport,  # type: ignore[arg-type]  # aiosmtpd calls it a BaseTransport
                self,
                context,
                server_side=True,
                ssl_handshake_timeout=HANDSHAKE_SECONDS,
                ssl_shutdown_timeout=LINGER_SECONDS,
            )
        except OSError:  # of which ssl.SSLError, TimeoutError and ConnectionError are kinds
            encrypted = None
        if encrypted is None:
            self._cut("TLS handshake failed")
            transport.abort()  # type: ignore[attr-defined]
            self.transport = None  # connection_lost is not called for a handshake that failed
            self._stop_timer()
            return False
        self._reader._transport = encrypted  # type: ignore[attr-defined]
        self._writer._transport = encrypted  # type: ignore[attr-defined]
        self._transport = self.transport = encrypted
        self._over_ssl = True
        self._forget()
        self._peer = Peer(ip=self._peer.ip, loopback=self._peer.loopback, tls=True)
        return True


def plain_ip(name: object) -> tuple[str, bool]:
    """A peer name as (address, whether it is loopback). An IPv4 peer of a dual-stack socket is shown as IPv4."""
    if not isinstance(name, tuple) or not name:
        return "", False
    try:
        address = ip_address(str(name[0]).partition("%")[0])
    except ValueError:
        return "", False
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return str(address), address.is_loopback
