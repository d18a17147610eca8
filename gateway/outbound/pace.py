"""A rate that holds over all who share its name: turns, taken from the store a slice at a time.

Turns are spread evenly; those that pass unused are lost, so that nothing is saved up for a burst. A slice is small when
copies are few, and at most a quarter of a second of turns, so that nobody waits long for turns that another worker
took and does not need; a worker takes the next slice when its last one is nearly over.
"""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta

Reserve = Callable[[timedelta, timedelta], Awaitable[float]]
"""Take a span of the shared time, given how far off it may begin at most; in how many seconds it begins."""

SLICE = 0.25
"""Seconds of turns that are taken at once, at most, unless it is one turn."""
LATE = 0.05
"""Seconds that a turn may be used too late."""
AHEAD = 0.05
"""Seconds before the end of a slice when the next one is taken."""
FAR = timedelta(minutes=1)
SHARING = 1000
"""So many others may be before us, each with a turn, and their time is still believed."""


class Pace:
    """Turns at one rate, for one event loop."""

    def __init__(self, per_second: float, reserve: Reserve) -> None:
        self._gap = 1 / per_second
        self._reserve = reserve
        self._most = max(1, int(per_second * SLICE))
        self._at = 0.0  # loop time of the next turn of our slice
        self._left = 0
        self._size = 1
        self._asking = 0
        self._lock: asyncio.Lock | None = None

    async def turn(self) -> None:
        """Wait for the next turn, which is thereby taken. Whatever `reserve` raises passes through."""
        self._lock = self._lock or asyncio.Lock()
        self._asking += 1
        try:
            async with self._lock:
                await self._have_turns()
                at = self._at
                self._at += self._gap
                self._left -= 1
        finally:
            self._asking -= 1
        if (seconds := at - asyncio.get_running_loop().time()) > 0:
            await asyncio.sleep(seconds)

    async def _have_turns(self) -> None:
        loop = asyncio.get_running_loop()
        missed = 0
        if self._left and (over := loop.time() - LATE - self._at) > 0:
            missed = min(self._left, int(over / self._gap) + 1)
            self._left -= missed
            self._at += missed * self._gap
        if missed:
            self._size = max(1, self._size // 2)
        if self._left:
            return
        # the slice is used up: the next one only when its last turn has nearly come, so that others get theirs
        if (seconds := self._at - self._gap - AHEAD - loop.time()) > 0:
            await asyncio.sleep(seconds)
        number = min(self._most, max(self._size, self._asking))
        span = timedelta(seconds=self._gap * number)
        most = max(FAR, timedelta(seconds=self._gap * SHARING))
        begins = min(await self._reserve(span, most), most.total_seconds())  # or a clock was set back meanwhile
        self._at, self._left = loop.time() + begins, number
        self._size = min(self._most, number if missed else 2 * number)
