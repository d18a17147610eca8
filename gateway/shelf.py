"""Where copies wait for their domain's turn, if one domain may be sent only so fast (`routes.*.domain_rates`).

No session and no connection waits with them, so copies for other domains pass by. The shelf of a lane holds, rendered,
what leaves within seconds; the rest goes back to the queue until about its time, so that a campaign to one large domain
keeps neither memory nor the lane busy. Turns are shared by all workers and nodes (outbound/pace.py). Where a route has
no such rates nothing here is asked.
"""

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from gateway import log
from gateway.outbound.pace import Pace
from gateway.parcel import Parcel
from gateway.store.contract import StoreUnavailable
from suppression.address import domain_of

SHELF_SECONDS = 2.0
"""Copies of one domain are kept ready for so long; one always is."""
SHELF = 48
"""Copies that are kept ready, of all domains, per lane; and no more than so many bytes, unless it is one copy."""
SHELF_BYTES = 8 << 20
REMEMBERED = 10_000
"""Domains whose copies were put off and are remembered; when there are more, those whose time is over are not."""
NO_LIMIT = float("inf")


class Shelf:
    """The limited domains of one lane."""

    def __init__(
        self, go: Callable[[Parcel], None], spawn: Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]]
    ) -> None:
        """`go` takes a copy whose turn has come; `spawn` runs what waits for turns, until the lane ends."""
        self._go, self._spawn = go, spawn
        self._rates: Mapping[str, float] = {}
        self._pace: Callable[[str, float], Pace]
        self._admitted: Counter[str] = Counter()
        self._bytes = 0
        self._waiting: dict[str, deque[Parcel]] = {}
        self._gone: dict[str, asyncio.Event] = {}
        self._callers: dict[str, asyncio.Task[None]] = {}
        self._ends: dict[str, float] = {}

    def configure(self, rates: Mapping[str, float], pace: Callable[[str, float], Pace]) -> None:
        """Take rates into use; `pace` gives that of one domain."""
        self._rates, self._pace = rates, pace
        self._ends.clear()
        for domain, caller in self._callers.items():  # a turn at the old rate may be far off
            caller.cancel()
            self._callers[domain] = self._spawn(self._call_in_turn(domain))

    @property
    def in_use(self) -> bool:
        """Whether any domain is limited."""
        return bool(self._rates)

    @property
    def parcels(self) -> list[Parcel]:
        """The copies that wait."""
        return [parcel for waiting in self._waiting.values() for parcel in waiting]

    def admit(self, parcel: Parcel) -> float | None:
        """In how many seconds a copy is better looked at again; None: it may be made ready now, and then `put`."""
        written = parcel.rcpt.address.rpartition("@")[2].lower()
        domain = domain_of(written) or written
        rate = self._rate(domain)
        if rate == NO_LIMIT:
            return None
        mine, size = self._admitted[domain], parcel.original.size
        room = not self._admitted.total() or (
            self._admitted.total() < SHELF and self._bytes + size <= SHELF_BYTES
        )  # fmt: skip
        if room and mine < max(1, int(rate * SHELF_SECONDS)):
            parcel.paced = domain
            self._admitted[domain] += 1
            self._bytes += size
            return None
        now = asyncio.get_running_loop().time()
        if len(self._ends) > REMEMBERED:
            self._ends = {name: end for name, end in self._ends.items() if end > now}
        self._ends[domain] = max(self._ends.get(domain, 0.0), now + mine / rate) + 1 / rate
        return self._ends[domain] - now

    def put(self, parcel: Parcel) -> None:
        """Let a copy that was admitted wait for the turn of its domain."""
        assert parcel.paced is not None
        waiting = self._waiting.get(parcel.paced)
        if waiting is None:
            self._waiting[parcel.paced] = deque((parcel,))
            self._gone[parcel.paced] = asyncio.Event()
            self._callers[parcel.paced] = self._spawn(self._call_in_turn(parcel.paced))
        else:
            waiting.append(parcel)

    def clear(self) -> list[Parcel]:
        """Take everything off, what was called and has not left among it; the next copies begin anew."""
        parcels = self.parcels
        for parcel in parcels:
            assert parcel.paced is not None
            self._admitted[parcel.paced] -= 1
            self._bytes -= parcel.original.size
        for domain, waiting in self._waiting.items():
            waiting.clear()
            self._gone[domain].set()
        return parcels

    def taken(self, parcel: Parcel) -> None:
        """A session has the copy whose turn it was; the next turn may come."""
        if parcel.paced is not None and (gone := self._gone.get(parcel.paced)) is not None:
            gone.set()

    def _rate(self, domain: str) -> float:
        return self._rates.get(domain) or self._rates.get("*") or NO_LIMIT

    async def _call_in_turn(self, domain: str) -> None:
        """The copies of one domain, one a turn; the next not before a session took the last, or they would bunch."""
        waiting, gone, rate = self._waiting[domain], self._gone[domain], self._rate(domain)
        pace = self._pace(domain, rate) if rate != NO_LIMIT else None
        while waiting:
            try:
                if pace is not None:
                    await pace.turn()
            except StoreUnavailable as down:
                log.store_unavailable(where="turns", error=down)
                await asyncio.sleep(1.0)
                continue
            if not waiting:  # the shelf was cleared
                break
            parcel = waiting.popleft()
            self._admitted[domain] -= 1
            self._bytes -= parcel.original.size
            gone.clear()
            self._go(parcel)
            await gone.wait()
        del self._waiting[domain], self._gone[domain], self._callers[domain]
        if not self._admitted[domain]:
            del self._admitted[domain]
