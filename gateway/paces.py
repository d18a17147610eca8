"""The rates of routes and of recipient domains, which hold over all workers and nodes: one row of the store for each.

A row's name is a keyed hash: the domain of somebody's address may be about that person.
"""

from collections.abc import Callable
from datetime import datetime, timedelta

from gateway.outbound.pace import Pace
from gateway.store.contract import Store
from suppression.vault import KeyRing, keyed_hash


class Paces:
    """Makes the paces of one worker."""

    def __init__(self, store: Store, ring: KeyRing, clock: Callable[[], datetime]) -> None:
        self._store, self._clock = store, clock
        self._key = next(iter(ring.derived("paces").values()))

    def __call__(self, route: str, per_second: float, domain: str | None = None) -> Pace:
        """The pace of a route, or that of one domain on it."""
        name = keyed_hash(self._key, "\0".join((route, *filter(None, (domain,)))).encode())[:16]

        async def reserve(span: timedelta, most: timedelta) -> float:
            begins = await self._store.reserve_turns(name, now=self._clock(), span=span, most=most)
            return (begins - self._clock()).total_seconds()

        return Pace(per_second, reserve)
