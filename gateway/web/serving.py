"""The HTTP server of one worker: uvicorn inside our loop, on sockets that all workers share.

Signals are ours; the pages can be swapped for those of new settings, and the sockets for others, without a connection
being refused. What a connection may cost is for connection.py.
"""

import asyncio
import contextlib
import socket
from collections.abc import Iterable, Iterator
from typing import Any

import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send

from gateway.acceptor import Acceptor
from gateway.board import Slot
from gateway.web.connection import Connection

DOOR = "web"
CONNECTIONS = 1024
"""At one time; beyond it those that wait for their request longest make room."""
KEEP_ALIVE_SECONDS = 15


class Web(uvicorn.Server):
    """Serves `pages`. `slot`: this worker's place among others; None where there are none."""

    def __init__(
        self, slot: Slot | None = None, *, connections: int = CONNECTIONS, stop_seconds: int = 10,
        protocol: type[Connection] = Connection,
    ) -> None:  # fmt: skip
        self.pages: ASGIApp | None = None
        self.connections = connections
        self._slot, self._protocol = slot, protocol
        self._coming: set[asyncio.Task[None]] = set()
        self._listening: dict[socket.socket, Acceptor] = {}
        super().__init__(uvicorn.Config(
            self._serve_pages, interface="asgi3", http=protocol, ws="none", lifespan="off", log_config=None,
            access_log=False, server_header=False, proxy_headers=False, timeout_keep_alive=KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=stop_seconds,
        ))  # fmt: skip
        self.accepting = asyncio.Event()

    def listen(self, sockets: Iterable[socket.socket]) -> None:
        """Accept on these sockets and on no other from now on; open connections stay."""
        wanted = list(sockets)
        for gone in [one for one in self._listening if one not in wanted]:
            self._listening.pop(gone).close()
        for one in wanted:
            if one not in self._listening:
                self._listening[one] = Acceptor(one, self._take, name=DOOR, ahead=self._is_ahead)
        self.servers = [*self._listening.values()]  # type: ignore[list-item]  # uvicorn closes them at the end

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Called by uvicorn once its parts are there."""
        self.listen(sockets or ())
        self.started = True
        self.accepting.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    def _is_ahead(self) -> bool:
        return self._slot is not None and self._slot.is_ahead(DOOR)

    def _take(self, accepted: socket.socket, _address: Any) -> None:
        task = asyncio.get_running_loop().create_task(self._let_in(accepted))
        self._coming.add(task)
        task.add_done_callback(self._coming.discard)

    async def _let_in(self, accepted: socket.socket) -> None:
        def protocol() -> Connection:
            return self._protocol(
                config=self.config, server_state=self.server_state, app_state={}, most=self.connections, show=self._show
            )

        try:
            await asyncio.get_running_loop().connect_accepted_socket(protocol, accepted)
        except OSError:
            accepted.close()  # it left meanwhile

    def _show(self, count: int) -> None:
        if self._slot is not None:
            self._slot.put_open(DOOR, count)

    async def _serve_pages(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self.pages is not None:
            await self.pages(scope, receive, send)
