"""How much is taken in at one time, and of whom: connections, messages on their way in, mail of strangers (P11).

Purpose: memory and open files stay bounded whatever the peers do. Everything here is counted, nothing is guessed.
It never looks at a message. Failures: a refusal is False; nothing raises.
Known limit: a message is counted once; unstuffing, sealing and sending hold it twice for a moment.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import Callable
from ipaddress import IPv6Address, ip_address
from typing import Literal

PATIENCE_SECONDS = 10.0
RATED = 10_000
"""How many peers are remembered for their rate."""
CROWDED = 0.75
"""The part of all connections from which on they are short."""
_MINUTE = 60.0


def one_peer(ip: str) -> str:
    """What counts as one peer: an IPv4 address, or the /64 that any customer gets of IPv6 (RFC 6177)."""
    try:
        address = ip_address(ip)
    except ValueError:
        return ip
    return address.packed[:8].hex() if isinstance(address, IPv6Address) else ip


class Rate:
    """So many a minute of each peer: a whole minute's worth at once, and then evenly as time passes.

    The table forgets whoever was longest untouched first. Known limit: it counts in this process.
    """

    def __init__(self, per_minute: int, *, entries: int = RATED) -> None:
        self._per_minute, self._entries = per_minute, entries
        self._due: OrderedDict[str, float] = OrderedDict()

    def __len__(self) -> int:
        return len(self._due)

    def change(self, per_minute: int) -> None:
        """Another rate from now on. What was counted at the old one says nothing at the new one."""
        if per_minute != self._per_minute:
            self._per_minute = per_minute
            self._due.clear()

    def allow(self, peer: str, now: float) -> bool:
        """Count one more, unless that is too many. `now`: seconds on a clock that only grows."""
        gap = _MINUTE / self._per_minute
        due = max(self._due.pop(peer, now), now) + gap
        allowed = due - now <= _MINUTE + gap / 2
        self._due[peer] = due if allowed else due - gap
        if len(self._due) > self._entries:
            self._due.popitem(last=False)
        return allowed


class Connections:
    """Open connections, in all and per peer (`one_peer`). The limits may be changed while connections are open.

    `show` is told how many there are, each time.
    """

    def __init__(self, *, total: int, per_ip: int, show: Callable[[int], None] | None = None) -> None:
        self.total = total
        self.per_ip = per_ip
        self.open = 0
        self._show = show
        self._by_ip: dict[str, int] = {}

    @property
    def crowded(self) -> bool:
        """Whether connections are short: who only holds one gives way."""
        return self.open > CROWDED * self.total

    def enter(self, ip: str) -> Literal["full", "too many from one address"] | None:
        """Count a new connection; why it is not let in (and not counted), else None."""
        ip = one_peer(ip)
        mine = self._by_ip.get(ip, 0)
        if self.open >= self.total:
            return "full"
        if mine >= self.per_ip:
            return "too many from one address"
        self.open += 1
        self._by_ip[ip] = mine + 1
        if self._show is not None:
            self._show(self.open)
        return None

    def leave(self, ip: str) -> None:
        """Give back what `enter` counted."""
        self.open -= 1
        if self._show is not None:
            self._show(self.open)
        ip = one_peer(ip)
        left = self._by_ip[ip] - 1
        if left:
            self._by_ip[ip] = left
        else:
            del self._by_ip[ip]


class Budget:
    """Messages under way, in number and in octets.

    A message that does not fit waits its turn for at most `patience` seconds, so that a tool with many connections is
    slowed rather than refused. What arrives beyond the octets reserved is charged as it comes.
    """

    def __init__(self, *, messages: int, octets: int, patience: float = PATIENCE_SECONDS) -> None:
        self.messages = messages
        self.octets = octets
        self.patience = patience
        self.under_way = 0
        self.held = 0
        self._queue: deque[tuple[int, asyncio.Future[None]]] = deque()

    async def enter(self, octets: int) -> bool:
        """Reserve room for a message of about so many octets; False when none came free in time."""
        if octets > self.octets:
            return False
        if not self._queue and self._fits(octets):
            self._take(octets)
            return True
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        entry = (octets, turn)
        self._queue.append(entry)
        try:
            async with asyncio.timeout(self.patience):
                await turn
        except TimeoutError:
            return turn.done() and not turn.cancelled()  # the turn may have come in the same instant
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.leave(octets)
            raise
        finally:
            if entry in self._queue:
                self._queue.remove(entry)
                self._admit()
        return True

    def grow(self, octets: int) -> bool:
        """Reserve more for a message under way; False when that is more than there is."""
        if self.held + octets > self.octets:
            return False
        self.held += octets
        return True

    def leave(self, octets: int) -> None:
        """A message is done; `octets` is all it reserved."""
        self.under_way -= 1
        self.held -= octets
        self._admit()

    def _fits(self, octets: int) -> bool:
        return self.under_way < self.messages and self.held + octets <= self.octets

    def _take(self, octets: int) -> None:
        self.under_way += 1
        self.held += octets

    def _admit(self) -> None:
        while self._queue and self._fits(self._queue[0][0]):
            octets, turn = self._queue.popleft()
            if not turn.done():
                self._take(octets)
                turn.set_result(None)
