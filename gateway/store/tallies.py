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
    """What is added to the counters of campaigns in one transaction."""

    def __init__(self) -> None:
        self._campaigns: dict[tuple[str, str, str], Counter[str]] = {}

    def of(self, controller_id: str, stream: str, campaign: str) -> Counter[str]:
        return self._campaigns.setdefault((controller_id, stream, campaign), Counter())

    def write(self, handles: Handles) -> None:
        """In one order everywhere, so that two nodes never wait for each other's rows."""
        handles.db.executemany(QUEUE.count.sql, [
            {"controller_id": controller_id, "stream": stream, "campaign": campaign, "name": name, "n": n}
            for (controller_id, stream, campaign), counts in sorted(self._campaigns.items())
            for name, n in sorted(counts.items()) if n
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
