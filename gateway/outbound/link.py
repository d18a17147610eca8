"""One connection to an SMTP server: bytes out, replies in, each wait limited.

Purpose: the asyncio side of a session, and nothing of the dialogue. A hand-written Protocol, because streams cost
several times as much per reply.
It never keeps more than a few replies that nobody asked for, nor more of a reply than answer.py allows.
Failures: `LinkFailed` with a kind of `mail.outcome`; after one the link is of no more use and its socket is closed.
"""

import asyncio
import ipaddress
import socket
import ssl
from collections import deque
from collections.abc import Sequence
from typing import Any, Literal

from gateway.mail.answer import Answer, AnswerReader, BadAnswer

MAX_UNREAD = 16
"""Replies that may wait unread; a pipelined group has four."""
_LINGER = 5.0
"""Seconds a closed link gets for its last bytes (QUIT, TLS close) before the socket is cut."""

NEXT_ADDRESS = 0.25
"""Seconds after which the next address of a host is tried beside the one that is silent (RFC 8305 5)."""

LinkFailure = Literal["refused", "unreachable", "dns", "timeout", "lost", "tls", "protocol"]


class LinkFailed(Exception):
    """The connection is over, or never was. `kind` as in `outcome.FAILURES`; `detail` has no address in it."""

    def __init__(self, kind: LinkFailure, detail: str = "") -> None:
        super().__init__(f"{kind} {detail}".rstrip())
        self.kind: LinkFailure = kind
        self.detail = detail


class Link(asyncio.Protocol):
    """A connected socket. Used by one task at a time."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._reader = AnswerReader()
        self._answers: deque[Answer] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self._room: asyncio.Future[None] | None = None
        self._paused = False
        self._failed: LinkFailed | None = None
        self._deadline: float | None = None  # of the wait under way
        self._timer: asyncio.TimerHandle | None = None
        self._rings_at = 0.0
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]  # a TCP or TLS transport, both write

    def data_received(self, data: bytes) -> None:
        if self._failed is not None:
            return  # nobody reads it any more, and it could be any amount
        try:
            self._answers.extend(self._reader.feed(data))
        except BadAnswer as bad:
            self._answers.extend(bad.before[: MAX_UNREAD + 1])
            self._fail(LinkFailed("protocol", bad.reason))
            return
        if len(self._answers) > MAX_UNREAD:
            self._fail(LinkFailed("protocol", "replies nobody asked for"))
        elif self._answers:
            self._wake(self._waiter)
            self._wake(self._room)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()  # or it would hold on to us
        kind: LinkFailure = "tls" if isinstance(exc, ssl.SSLError) else "lost"
        self._fail(LinkFailed(kind, _reason(exc) if kind == "tls" else ""))

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        self._wake(self._room)

    @property
    def alive(self) -> bool:
        """True while the connection stands and nothing unasked has come: a server says 421 before it closes."""
        return self._failed is None and not self._answers and not self._reader.pending

    @property
    def unread(self) -> bool:
        """True when a reply is waiting."""
        return bool(self._answers)

    @property
    def encrypted(self) -> bool:
        return self._transport.get_extra_info("ssl_object") is not None

    def chain(self) -> tuple[bytes, ...]:
        """The certificates that the other end showed, its own first, verified or not (DER); none without TLS."""
        tls: Any = self._transport.get_extra_info("ssl_object")
        if tls is None:
            return ()
        if hasattr(tls, "get_unverified_chain"):  # Python 3.13
            return tuple(tls.get_unverified_chain())
        return tuple(ssl.PEM_cert_to_DER_cert(one.public_bytes()) for one in tls._sslobj.get_unverified_chain() or ())

    @property
    def on_loopback(self) -> bool:
        """True when the other end is this machine."""
        peer = self._transport.get_extra_info("peername")
        return bool(peer) and ipaddress.ip_address(peer[0].partition("%")[0]).is_loopback

    def write(self, data: bytes) -> None:
        """Send; nothing happens on a link that is over, the next wait says so."""
        if self._failed is None:
            self._transport.write(data)

    def must_be_quiet(self) -> None:
        """LinkFailed when the link is over, or holds a reply to what was not sent yet."""
        if self._failed is not None:
            raise self._failed
        if self._answers or self._reader.pending:
            raise LinkFailed("protocol", "a reply nobody asked for")

    async def room(self, seconds: float) -> None:
        """Wait until the socket takes more, or a reply comes before its time. LinkFailed on timeout or loss."""
        if self._paused and self._failed is None and not self._answers:
            self._room = self._loop.create_future()
            await self._wait(self._room, seconds)
        if self._failed is not None:
            raise self._failed

    async def answer(self, seconds: float) -> Answer:
        """The next reply. LinkFailed when none comes within `seconds`, or the connection ends first."""
        if not self._answers:
            if self._failed is None:
                self._waiter = self._loop.create_future()
                await self._wait(self._waiter, seconds)
            if not self._answers:  # what came before the loss is still read
                assert self._failed is not None
                raise self._failed
        return self._answers.popleft()

    async def start_tls(self, context: ssl.SSLContext, host: str, seconds: float) -> None:
        """Encrypt. LinkFailed("tls") when the handshake fails.

        Whatever came in clear behind the reply to STARTTLS is an attempt to inject replies (CVE-2011-0411 and after).
        """
        self.must_be_quiet()
        try:
            transport = await self._loop.start_tls(
                self._transport, self, context, server_hostname=host, ssl_handshake_timeout=seconds
            )
        except (OSError, ValueError) as error:  # ssl.SSLError, ConnectionError and TimeoutError are all OSErrors
            failed = LinkFailed("tls", _reason(error) if isinstance(error, OSError) else "not a host name")
            self._fail(failed)
            raise failed from None
        if transport is None:  # the peer left during the handshake
            failed = LinkFailed("tls", "connection closed in the handshake")
            self._fail(failed)
            raise failed
        self._transport = transport

    def quit(self) -> None:
        """Say goodbye and close, without waiting for the answer; nothing happens on a link that is over."""
        if self._failed is None:
            self._failed = LinkFailed("lost", "closed by us")
            self._transport.write(b"QUIT\r\n")
            self._transport.close()
            self._loop.call_later(_LINGER, self._transport.abort)

    def abort(self) -> None:
        """Cut the connection now; nothing happens on a link that is over."""
        self._fail(LinkFailed("lost", "cut by us"))

    async def _wait(self, future: "asyncio.Future[None]", seconds: float) -> None:
        """Wait for an answer or for room. A link has one timer, which is moved when it rings: that is seldom, whereas
        a timer for each answer would be three a copy."""
        self._deadline = self._loop.time() + seconds
        if self._timer is None or self._deadline < self._rings_at:
            self._set_timer(self._deadline)
        try:
            await future
        finally:
            self._deadline = None

    def _set_timer(self, at: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._rings_at = at
        self._timer = self._loop.call_at(at, self._ring)

    def _ring(self) -> None:
        self._timer = None
        if self._deadline is None:
            return
        if self._rings_at < self._deadline:
            self._set_timer(self._deadline)
        else:
            self._fail(LinkFailed("timeout"))

    def _wake(self, future: "asyncio.Future[None] | None") -> None:
        if future is not None and not future.done():
            future.set_result(None)

    def _fail(self, failed: LinkFailed) -> None:
        """The first failure is the one that counts; whatever it is, the socket goes."""
        if self._failed is None:
            self._failed = failed
            self._transport.abort()
            self._wake(self._waiter)
            self._wake(self._room)


async def open_link(
    addresses: Sequence[str], port: int, seconds: float, *, name: str, context: ssl.SSLContext | None = None,
    source: str | None = None,
) -> tuple[Link, str]:  # fmt: skip
    """Connect to the first of a host's addresses that answers, and say which; encrypted at once with a `context`.

    Each address has `seconds`; the next one is tried when one has failed or has been silent for a moment
    (RFC 8305 5). `name`: the host's, for its certificate. `source`: our own address to connect from.
    LinkFailed when none answers.
    """
    waiting = deque(addresses)
    trying: dict[asyncio.Task[Link], str] = {}
    failed = LinkFailed("dns", "no address")
    first: Link | None = None
    try:
        while waiting or trying:
            if waiting:
                address = waiting.popleft()
                trying[asyncio.create_task(_open(address, port, seconds, name, context, source))] = address
            done, _ = await asyncio.wait(
                trying, timeout=NEXT_ADDRESS if waiting else None, return_when=asyncio.FIRST_COMPLETED
            )
            for task in done:
                if (error := task.exception()) is None:
                    first = task.result()
                    return first, trying.pop(task)
                del trying[task]
                if not isinstance(error, LinkFailed):
                    raise error
                if failed.kind in ("dns", "unreachable"):  # a family we have no way for says less than the others
                    failed = error
        raise failed
    finally:
        for task in trying:
            task.cancel()
        try:
            for beaten in await asyncio.gather(*trying, return_exceptions=True):
                if isinstance(beaten, Link):  # it connected in the same moment
                    beaten.abort()
        except asyncio.CancelledError:
            if first is not None:
                first.abort()  # nobody gets to know of it any more
            raise


async def _open(
    address: str, port: int, seconds: float, name: str, context: ssl.SSLContext | None, source: str | None
) -> Link:
    try:
        async with asyncio.timeout(seconds):
            _, link = await asyncio.get_running_loop().create_connection(
                Link, address, port, ssl=context, server_hostname=name if context is not None else None,
                local_addr=(source, 0) if source is not None else None,
            )  # fmt: skip
    except TimeoutError:
        raise LinkFailed("timeout") from None
    except ssl.SSLError as error:
        raise LinkFailed("tls", _reason(error)) from None
    except (socket.gaierror, ValueError) as error:
        raise LinkFailed("dns", getattr(error, "strerror", "") or "not an address") from None
    except ConnectionRefusedError:
        raise LinkFailed("refused") from None
    except OSError as error:
        raise LinkFailed("unreachable", error.strerror or "") from None
    return link


def _reason(error: BaseException | None) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return error.verify_message
    if isinstance(error, ssl.SSLError):
        return error.reason or "handshake"
    return "timeout" if isinstance(error, TimeoutError) else "connection lost in the handshake"
