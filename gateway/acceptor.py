"""Takes connections from a listening socket that several workers share, so that each worker gets its part.

Whichever worker wakes first could take all that wait; a tool that opens twenty connections for a campaign would then be
served by one process. So a worker takes one at a time, and one that has more than another leaves the next for a moment.
A connection that nobody took by then is taken all the same: it waits milliseconds at most.
Failures: when no file is left to open, accepting pauses; nothing ends.
"""

import asyncio
import socket
from collections.abc import Callable
from typing import Any

from gateway import log

AFTER_YOU_SECONDS = 0.003
"""How long a connection is left to workers that have fewer."""
PAUSE_SECONDS = 0.2
"""After an accept that failed, which mostly means that no file is left to open."""

Take = Callable[[socket.socket, Any], None]
"""What becomes of a connection: its socket, which is ours now, and the address of the peer."""


class Acceptor:
    """Accepts on `listening` until closed; the socket itself stays open for its owner.

    `name` in log lines; `ahead` says whether another worker has fewer connections.
    """

    def __init__(self, listening: socket.socket, take: Take, *, name: str, ahead: Callable[[], bool]) -> None:
        self._loop = asyncio.get_running_loop()
        self._socket = listening.dup()  # one of our own: what watches it must not outlive it
        self._socket.setblocking(False)
        self._take, self._name, self._ahead = take, name, ahead
        self._later: asyncio.TimerHandle | None = None
        self._closed = False
        self._watch()

    @property
    def sockets(self) -> tuple[socket.socket, ...]:
        """What listens."""
        return (self._socket,)

    def close(self) -> None:
        """Accept no more here."""
        if not self._closed:
            self._closed = True
            if self._later is not None:
                self._later.cancel()
            else:
                self._loop.remove_reader(self._socket)
            self._socket.close()

    async def wait_closed(self) -> None:
        """Nothing is left to wait for."""

    def _watch(self) -> None:
        self._later = None
        self._loop.add_reader(self._socket, self._wake)

    def _pause(self, seconds: float, then: Callable[[], None]) -> None:
        self._loop.remove_reader(self._socket)
        self._later = self._loop.call_later(seconds, then)

    def _wake(self) -> None:
        if self._ahead():
            self._pause(AFTER_YOU_SECONDS, self._take_now)
        else:
            self._accept()

    def _take_now(self) -> None:
        self._watch()
        self._accept()

    def _accept(self) -> None:
        try:
            accepted, address = self._socket.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return  # another worker has it, or the peer left
        except OSError as error:
            log.bug(where=f"{self._name} accept", error=error)
            self._pause(PAUSE_SECONDS, self._watch)
            return
        accepted.setblocking(False)
        # not left to the event loop: asyncio does it only for sockets whose protocol number it was told
        accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._take(accepted, address)
