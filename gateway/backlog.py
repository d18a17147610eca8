"""What waits to leave, in numbers and reasons. It costs the same however much waits."""

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from gateway.hold import Wanted, waiting
from gateway.store.contract import Store

LOOKED_AT: Final = 500
"""Copies that are read at most to say why they wait."""
REASONS: Final = 5
LETTERS: Final = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Backlog:
    """Of some controllers. `since`: when the first of them was due, None where none is late. `reasons`: what was last
    said of those of the next `LOOKED_AT` copies that were tried before, and of how many, the most frequent first."""

    waiting: int
    held: int
    since: datetime | None
    reasons: tuple[tuple[str, int], ...]


async def backlog(store: Store, controllers: Collection[str], now: datetime) -> Backlog:
    """What waits of these controllers' mail."""
    depths = [one for one in await store.depths() if one.controller_id in controllers]
    since: datetime | None = None
    reasons: Counter[str] = Counter()
    if any(one.waiting for one in depths):
        looked_at = 0
        async for copy in waiting(store, Wanted(controllers=None, states=frozenset({"queued"}))):
            if copy.key.controller_id in controllers:
                if since is None and copy.due_at is not None and copy.due_at <= now:
                    since = copy.due_at
                if copy.said:
                    reasons[copy.said[:LETTERS]] += 1
            looked_at += 1
            if looked_at == LOOKED_AT:
                break
    return Backlog(
        waiting=sum(one.waiting for one in depths), held=sum(one.held for one in depths), since=since,
        reasons=tuple(reasons.most_common(REASONS)),
    )  # fmt: skip


async def late(store: Store, routes: Collection[str], now: datetime) -> dict[str, float]:
    """For how many seconds the first copy of each route has been due; 0 where none is."""
    found = {}
    for route in routes:
        due = await store.next_due(route)
        found[route] = 0.0 if due is None else max(0.0, (now - due).total_seconds())
    return found
