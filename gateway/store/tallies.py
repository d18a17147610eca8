"""The counters of campaigns, in SQL: written with what they count. Functions of a database thread's handles."""

from collections import Counter
from collections.abc import Mapping
from importlib.resources import files

import aiosql

from gateway.store.connection import Handles
from gateway.store.contract import tally

QUEUE = aiosql.from_path(str(files("gateway.store") / "sql" / "queue.sql"), "sqlite3")
"""The statements of the queue."""


class Counts:
    """What is added to the counters of campaigns in one transaction. `worker`: whose rows are written."""

    def __init__(self, worker: str = "") -> None:
        self._worker = worker
        self._campaigns: dict[tuple[str, str, str], Counter[str]] = {}

    def of(self, controller_id: str, stream: str, campaign: str) -> Counter[str]:
        return self._campaigns.setdefault((controller_id, stream, campaign), Counter())

    def write(self, handles: Handles) -> None:
        """In one order everywhere, so that two nodes never wait for each other's rows."""
        handles.db.executemany(QUEUE.count.sql, [
            {
                "controller_id": controller_id, "stream": stream, "campaign": campaign, "name": name,
                "worker": self._worker, "n": n,
            }
            for (controller_id, stream, campaign), counts in sorted(self._campaigns.items())
            for name, n in sorted(counts.items()) if n
        ])  # fmt: skip


class Depths:
    """How many copies more or less wait or are held, in one transaction. `worker`: whose rows are written."""

    def __init__(self, worker: str = "") -> None:
        self._worker = worker
        self._waiting: Counter[tuple[str, str, str]] = Counter()
        self._held: Counter[tuple[str, str, str]] = Counter()

    def add(self, controller_id: str, stream: str, route: str, *, waiting: int = 0, held: int = 0) -> None:
        self._waiting[controller_id, stream, route] += waiting
        self._held[controller_id, stream, route] += held

    def write(self, handles: Handles) -> None:
        handles.db.executemany(QUEUE.add_depths.sql, [
            {
                "controller_id": place[0], "stream": place[1], "route": place[2], "worker": self._worker,
                "waiting": self._waiting[place], "held": self._held[place],
            }
            for place in sorted(self._waiting.keys() | self._held.keys())
            if self._waiting[place] or self._held[place]
        ])  # fmt: skip


def count(handles: Handles, controller_id: str, stream: str, campaign: str, counts: Mapping[str, int]) -> None:
    """Add to the counters of a campaign."""
    added = Counts()
    added.of(controller_id, stream, campaign).update(counts)
    added.write(handles)


def recount(
    handles: Handles, controller_id: str, stream: str, campaign: str, was: tuple[str, str], now: tuple[str, str]
) -> None:
    """A copy's decision became another one: verdict and reason code before and after."""
    count(handles, controller_id, stream, campaign, {tally(*was): -1, tally(*now): 1} if was != now else {})
