"""The one outbound HTTP client: what the gateway calls of its own accord leaves by it, and by nothing else.

Purpose: one request, one answer, over a connection of its own. It resolves the host itself, looks at every address
that comes back, and connects to one it has looked at: a name that leads elsewhere a moment later changes nothing
(DNS rebinding). TLS names and verifies the host all the same.
It never follows a redirect, keeps a cookie, heeds a proxy in the environment, or reads more than 64 kB of an answer.
Failures: HttpFailed with a kind; its text names neither URL nor person.

Sources: RFC 9110, RFC 9112 (by h11), RFC 6125 (the certificate names the host).
"""

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final, Literal

import h11

from gateway.tools.dialogue import Answer, Request
from gateway.tools.reach import IPAddress, NotAllowed, Peer, Place, literal, place_of, refused

SECONDS: Final = 10.0
"""For everything: looking up, connecting, asking, reading."""
MOST: Final = 64 * 1024
"""Bytes of an answer's body that are read."""
_HEAD: Final = 16 * 1024
_READ: Final = 16 * 1024
_INTERIM: Final = 16
"""Interim answers (1xx; RFC 9110 15.2) before the one that counts; a server that sends no other is given up."""
_LOOK_UPS: Final = 4
"""Names looked up at one time, in threads of their own: a silent name server must not hold up other work."""
_KEPT: Final = frozenset(("retry-after", "content-type"))

HttpFailure = Literal["not_allowed", "dns", "inside", "unreachable", "tls", "timeout", "lost", "protocol"]
Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
"""A name and a port give addresses as text. OSError where the name has none."""


class HttpFailed(Exception):
    """There is no answer. `detail` without personal data.

    "not_allowed": the URL is none that may be called; "inside": the host's name leads to an address that may not.
    """

    def __init__(self, kind: HttpFailure, detail: str = "") -> None:
        super().__init__(f"{kind} {detail}".rstrip())
        self.kind: HttpFailure = kind
        self.detail = detail


def context_for(ca_file: Path | None) -> ssl.SSLContext:
    """How certificates are verified: against the system's authorities, and those of `ca_file` (PEM) as well.

    Raises OSError or ssl.SSLError where that file cannot be used.
    """
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if ca_file is not None:
        context.load_verify_locations(ca_file)
    return context


class HttpClient:
    """Sends requests, each on a connection of its own. `context`: whom it trusts, or nobody until `trust` is called;
    `agent`: how we name ourselves."""

    def __init__(
        self, context: ssl.SSLContext | None = None, *, agent: str, resolve: Resolve | None = None,
        seconds: float = SECONDS,
    ) -> None:  # fmt: skip
        self._context = context or ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self._agent, self._seconds = agent, seconds
        self._threads = ThreadPoolExecutor(_LOOK_UPS, "look-up") if resolve is None else None
        self._resolve = resolve or self._look_up

    def trust(self, context: ssl.SSLContext) -> None:
        """Verify certificates in this way from now on. Calls under way, and look-ups they wait for, go on."""
        self._context = context

    def close(self) -> None:
        """Let go of the threads; a look-up that hangs is left behind."""
        if self._threads is not None:
            self._threads.shutdown(wait=False, cancel_futures=True)

    async def send(self, request: Request, peers: Sequence[Peer]) -> Answer:
        """The answer to one request, to a host that one of the peers allows. Raises HttpFailed."""
        try:
            place = place_of(request.url, peers)
        except NotAllowed as why:
            raise HttpFailed("not_allowed", str(why)) from None
        try:
            async with asyncio.timeout(self._seconds):
                addresses = await self._addresses(place, peers)
                reader, writer = await self._connect(place, addresses)
                try:
                    return await _exchange(reader, writer, request, place, self._agent)
                finally:
                    writer.transport.abort()
        except TimeoutError:
            raise HttpFailed("timeout") from None

    async def _addresses(self, place: Place, peers: Sequence[Peer]) -> list[IPAddress]:
        """Where the host is, every address looked at."""
        own = literal(place.host)
        if own is None:
            try:
                found = [ipaddress.ip_address(text) for text in await self._resolve(place.host, place.port)]
            except (OSError, ValueError) as failed:
                raise HttpFailed("dns", type(failed).__name__) from None
        else:
            found = [own]
        addresses = list(dict.fromkeys(found))
        if not addresses:
            raise HttpFailed("dns", "no address")
        for bad in refused(addresses, peers):
            raise HttpFailed("inside", str(bad))
        if not place.tls and not all(address.is_loopback for address in addresses):
            raise HttpFailed("not_allowed", "not https")
        return addresses

    async def _look_up(self, host: str, port: int) -> Sequence[str]:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, _from_system, host, port)

    async def _connect(
        self, place: Place, addresses: Sequence[IPAddress]
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection to the first address that takes one. Given as numbers, nothing is looked up again."""
        tls: dict[str, Any] = {"ssl": self._context, "server_hostname": place.host} if place.tls else {}
        last: HttpFailed | None = None
        for address in addresses:
            try:
                return await asyncio.open_connection(str(address), place.port, limit=_READ, **tls)
            except ssl.SSLCertVerificationError as failed:
                last = HttpFailed("tls", failed.verify_message)
            except ssl.SSLError as failed:
                last = HttpFailed("tls", failed.reason or "")
            except OSError as failed:
                last = HttpFailed("unreachable", failed.strerror or type(failed).__name__)
        assert last is not None
        raise last


def _from_system(host: str, port: int) -> Sequence[str]:
    return [str(entry[4][0]) for entry in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]


async def _exchange(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: Request, place: Place, agent: str
) -> Answer:
    """Write the request, read the answer."""
    talk = h11.Connection(h11.CLIENT, max_incomplete_event_size=_HEAD)
    head = [
        ("Host", place.authority), ("User-Agent", agent), ("Accept", "*/*"), ("Accept-Encoding", "identity"),
        ("Connection", "close"), *request.headers,
    ]  # fmt: skip
    if request.body or request.method != "GET":
        head.append(("Content-Length", str(len(request.body))))
    try:
        out = talk.send(h11.Request(method=request.method, target=place.target, headers=head)) or b""
        out += (talk.send(h11.Data(data=request.body)) or b"") + (talk.send(h11.EndOfMessage()) or b"")
        writer.write(out)
        await writer.drain()
        return await _answer(talk, reader)
    except h11.LocalProtocolError:
        raise HttpFailed("protocol", "the request is none") from None
    except h11.RemoteProtocolError:
        raise HttpFailed("protocol", "the answer is no HTTP") from None
    except ssl.SSLError as failed:
        raise HttpFailed("tls", failed.reason or "") from None
    except OSError as failed:
        raise HttpFailed("lost", failed.strerror or type(failed).__name__) from None


async def _answer(talk: h11.Connection, reader: asyncio.StreamReader) -> Answer:
    head: h11.Response | None = None
    body = bytearray()
    interim = 0
    while True:
        event = talk.next_event()
        if event is h11.NEED_DATA:
            talk.receive_data(await reader.read(_READ))
        elif isinstance(event, h11.Response):
            head = event
        elif isinstance(event, h11.Data):
            body += event.data
        elif isinstance(event, h11.InformationalResponse):
            interim += 1
        else:
            break
        if len(body) > MOST:
            break
        if interim > _INTERIM:
            raise HttpFailed("protocol", "interim answers without end")
    if head is None:
        raise HttpFailed("lost", "closed without an answer")
    headers = {name.decode("ascii"): value.decode("latin-1") for name, value in head.headers}
    return Answer(
        status=head.status_code, headers={name: value for name, value in headers.items() if name in _KEPT},
        body=bytes(body[:MOST]), cut=len(body) > MOST,
    )  # fmt: skip
