"""A listening socket of a door: connections are counted when they are accepted, before a task or a handshake.

Purpose: asyncio's own servers make a protocol and a task for every connection, and show one with TLS only after its
handshake, so that peers who never finish one could hold any number of open files (P11). Here what is over the limit
gets its 421 and is gone before anything is made for it.
Failures: a handshake that fails or takes too long ends that connection and is an event.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Callable
from typing import Any

from gateway import log
from gateway.acceptor import Acceptor
from gateway.inbound.connection import HANDSHAKE_SECONDS, LINGER_SECONDS, Connection, plain_ip
from gateway.inbound.door import Door
from gateway.mail import reply

FULL = reply.TOO_MANY_CONNECTIONS.line.encode("ascii") + b"\r\n"


class Entrance:
    """Accepts on `listening` until closed. `make` gives the protocol object of a connection that was counted.

    `tls`: connections begin with TLS (RFC 8314). `ahead`: whether another worker has fewer connections.
    """

    def __init__(
        self, listening: socket.socket, door: Door, make: Callable[[], Connection], *, tls: bool,
        ahead: Callable[[], bool],
    ) -> None:  # fmt: skip
        self._door, self._make, self.tls = door, make, tls
        self._coming: set[asyncio.Task[None]] = set()
        self._acceptor = Acceptor(listening, self._take, name=f"smtp {door.name}", ahead=ahead)
        self.listening = listening

    @property
    def sockets(self) -> tuple[socket.socket, ...]:
        """What listens."""
        return self._acceptor.sockets

    def close(self) -> None:
        """Stop accepting; handshakes under way are dropped, open conversations stay."""
        self._acceptor.close()
        for task in self._coming:
            task.cancel()

    def _take(self, accepted: socket.socket, address: Any) -> None:
        ip, _ = plain_ip(address)
        if (cause := self._door.connections.enter(ip)) is not None:
            log.connection_refused(listener=self._door.name, cause=cause)
            with contextlib.suppress(OSError):  # nobody waits for a peer that does not read it
                if not self.tls:
                    accepted.send(FULL)
            accepted.close()
            return
        task = asyncio.get_running_loop().create_task(self._let_in(accepted, ip))
        self._coming.add(task)
        task.add_done_callback(self._coming.discard)

    async def _let_in(self, accepted: socket.socket, ip: str) -> None:
        connection = self._make()
        limits: dict[str, Any] = {}
        if self.tls:
            limits = {
                "ssl": self._door.tls, "ssl_handshake_timeout": HANDSHAKE_SECONDS,
                "ssl_shutdown_timeout": LINGER_SECONDS,
            }  # fmt: skip
        try:
            await asyncio.get_running_loop().connect_accepted_socket(lambda: connection, accepted, **limits)
        except (OSError, ssl.SSLError):
            log.session_cut(listener=self._door.name, cause="TLS handshake failed" if self.tls else "gone")
        finally:
            if connection.task is None:  # else the conversation began, and gives its place back itself
                accepted.close()
                self._door.connections.leave(ip)
