"""A listening socket whose connections begin with TLS (RFC 8314), counted before the handshake.

Purpose: asyncio's own TLS servers show a connection only after its handshake, so that peers who never finish one could
hold any number of open files (P11). Here a connection is counted when it is accepted.
Failures: a handshake that fails or takes too long ends that connection and is an event.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable

from gateway import log
from gateway.inbound.connection import HANDSHAKE_SECONDS, LINGER_SECONDS, Connection, plain_ip
from gateway.inbound.door import Door

ACCEPT_PAUSE_SECONDS = 0.2  # after a failed accept, which mostly means that no file is left to open


class TlsServer:
    """Accepts on `listening` until closed. `make` gives the protocol object of a connection that was counted."""

    def __init__(self, listening: socket.socket, door: Door, make: Callable[[], Connection]) -> None:
        listening.setblocking(False)
        self.sockets = (listening,)
        self._door = door
        self._make = make
        self._handshakes: set[asyncio.Task[None]] = set()
        self._accepting = asyncio.get_running_loop().create_task(self._accept(listening))

    def close(self) -> None:
        """Stop accepting; handshakes under way are dropped, open conversations stay."""
        self._accepting.cancel()
        for task in self._handshakes:
            task.cancel()
        self.sockets[0].close()

    async def _accept(self, listening: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                accepted, address = await loop.sock_accept(listening)
            except OSError as error:
                log.bug(where=f"smtp {self._door.name} accept", error=error)
                await asyncio.sleep(ACCEPT_PAUSE_SECONDS)
                continue
            ip, _ = plain_ip(address)
            if (cause := self._door.connections.enter(ip)) is not None:
                log.connection_refused(listener=self._door.name, cause=cause)
                accepted.close()
                continue
            task = loop.create_task(self._shake_hands(accepted, ip))
            self._handshakes.add(task)
            task.add_done_callback(self._handshakes.discard)

    async def _shake_hands(self, accepted: socket.socket, ip: str) -> None:
        connection = self._make()
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                lambda: connection,
                accepted,
                ssl=self._door.tls,
                ssl_handshake_timeout=HANDSHAKE_SECONDS,
                ssl_shutdown_timeout=LINGER_SECONDS,
            )
        except (OSError, ssl.SSLError):
            log.session_cut(listener=self._door.name, cause="TLS handshake failed")
        finally:
            if connection.task is None:  # else the conversation began, and gives its place back itself
                accepted.close()
                self._door.connections.leave(ip)
