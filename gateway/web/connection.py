"""One HTTP connection: what it may cost before its request is whole (P11).

uvicorn waits for ever for a request, and keeps whatever header fields come; an opt-out page has to answer while
somebody holds a thousand silent connections open, or sends one header without end. So a request has so long and so
many octets to arrive in, no stranger holds more than a share of all connections, and when all are taken, the one that
waits longest without a request goes, so that who comes with one is served.

What is no request by the letter of RFC 9112 is refused by the parser (llhttp): two lengths, a length beside chunks,
blanks before a colon, folded or bare lines. Behind such a thing nothing is read any more.

Failures: 408, 431, 413 or 400 where nothing was answered yet, and the connection is closed.
Known limit: it relies on methods of uvicorn's httptools protocol; tests/wire/test_web_connection.py talks to it.
"""

import asyncio
import ipaddress
import socket
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

READ_SECONDS = 20.0
"""From the first octet (or the connection) to the last of the request."""
HEAD_OCTETS = 64 * 1024
REQUEST_OCTETS = 1024 * 1024
"""Head and body as sent, which chunked transfer makes longer; what a page takes is for `edge.BODY_BYTES`."""
PER_PEER = 128
"""Connections of one address, private ones aside: behind those are proxies and whole offices."""
PIPELINED = 16
"""Requests that may wait for the answer to one before them; whoever sends more does not read what comes back."""
UNREAD_SECONDS = 30
"""How long the peer may leave our answer unread (TCP_USER_TIMEOUT, Linux)."""


class Connection(HttpToolsProtocol):
    """uvicorn's connection, with limits. `most`: connections at one time; `show` is told how many there are."""

    read_seconds = READ_SECONDS
    per_peer = PER_PEER

    def __init__(
        self, *uvicorns: Any, most: int | None = None, show: Callable[[int], None] | None = None, **own: Any
    ) -> None:
        super().__init__(*uvicorns, **own)
        self._most, self._show = most, show

    @property
    def is_idle(self) -> bool:
        """No whole request is being answered."""
        return self._waiting is not None or self.cycle is None or self.cycle.response_complete

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._octets, self._in_head, self._since = 0, True, self.loop.time()
        self._waiting: asyncio.TimerHandle | None = None
        if self._show is not None:
            self._show(len(self.connections))
        opened = transport.get_extra_info("socket")
        if opened is not None and hasattr(socket, "TCP_USER_TIMEOUT"):
            opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNREAD_SECONDS * 1000)
        if self._is_one_too_many() or not self._has_room():
            transport.abort()
            return
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        self._arrived()
        super().connection_lost(exc)
        if self._show is not None:
            self._show(len(self.connections))

    def data_received(self, data: bytes) -> None:
        if self._waiting is None and (self.cycle is None or self.cycle.response_complete):
            self._wait()  # also for what is no request yet: empty lines before one are read over
        super().data_received(data)
        self._octets += len(data)
        if self._waiting is not None and self._octets > (HEAD_OCTETS if self._in_head else REQUEST_OCTETS):
            self._refuse(
                HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE if self._in_head else HTTPStatus.REQUEST_ENTITY_TOO_LARGE
            )

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._octets, self._in_head = 0, True
        if self._waiting is None:
            self._wait()

    def on_headers_complete(self) -> None:
        self._in_head = False
        super().on_headers_complete()
        if len(self.pipeline) > PIPELINED:
            raise OverflowError  # the parser stops, and says so to data_received

    def send_400_response(self, msg: str) -> None:
        """Said by uvicorn of what is no request; not in the place of an answer that somebody waits for."""
        self._arrived()
        if self.cycle is None or self.cycle.response_complete:
            super().send_400_response(msg)
        else:
            self.transport.abort()

    def on_message_complete(self) -> None:
        self._arrived()
        super().on_message_complete()

    def _wait(self) -> None:
        self._waiting = self.loop.call_later(self.read_seconds, self._refuse, HTTPStatus.REQUEST_TIMEOUT)

    def _arrived(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None

    def _is_one_too_many(self) -> bool:
        host = self.client[0] if self.client else ""
        try:
            near = ipaddress.ip_address(host).is_private
        except ValueError:
            near = True  # a socket of this machine
        peers = [c.client for c in self.connections if isinstance(c, Connection)]
        return not near and sum(peer is not None and peer[0] == host for peer in peers) > self.per_peer

    def _has_room(self) -> bool:
        """Whether this one fits; when all are taken, one that has not asked anything yet gives way."""
        if self._most is None or len(self.connections) <= self._most:
            return True
        idle = [one for one in self.connections if isinstance(one, Connection) and one is not self and one.is_idle]
        if not idle:
            return False
        longest = min(idle, key=lambda one: one._since)
        longest._arrived()
        longest.transport.abort()
        self.connections.discard(longest)  # its end is told to it a moment later
        return True

    def _refuse(self, status: HTTPStatus) -> None:
        self._arrived()
        if self.transport.is_closing():
            return
        if self.cycle is None or self.cycle.response_complete or not self.cycle.response_started:
            self.transport.write(
                f"HTTP/1.1 {status.value} {status.phrase}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode()
            )
        self.transport.close()
