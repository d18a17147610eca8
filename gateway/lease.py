"""Until when a worker may send what it claimed, and when it may judge the leases of others.

No time of day decides here: it may jump, and those of two machines differ. The holder counts the seconds since it last
renewed. The others watch the lease in the database: one that stays as it is for its whole length, before the eyes of
somebody who looks all the while, is over, whatever time stands in it. Who did not look meanwhile, because the database
was away, the process stood still or the machine slept, begins to watch anew: others may not have renewed either.
"""

from collections.abc import Callable, Iterable
from datetime import timedelta
from math import inf

from gateway.clock_watch import seconds_passed
from gateway.store.contract import Holder


class Lease:
    """The lease of one worker, from one renewal to the next."""

    def __init__(self, sure: timedelta, seconds: Callable[[], float] = seconds_passed) -> None:
        """`sure`: for how long after a renewal something may be begun; shorter than others wait."""
        self._sure, self._seconds = sure.total_seconds(), seconds
        self._begun = seconds()
        self._renewed: float | None = None

    def begin(self) -> None:
        """A renewal is about to be written. It counts from now, once it is: `took` says so."""
        self._begun = self._seconds()

    def took(self) -> None:
        """The renewal that began last is in the database."""
        self._renewed = self._begun

    def lose(self) -> None:
        """Others may have what was claimed, until a renewal that begins later."""
        self._begun = -inf
        if self._renewed is not None:
            self._renewed = -inf

    @property
    def lapsed(self) -> bool:
        """Whether the last renewal came too late for a lease that was held: others may have what was claimed."""
        return self._renewed is not None and self._begun - self._renewed >= self._sure

    def holds(self) -> bool:
        """Whether what was claimed is still ours; if not, another may be sending it."""
        return self._renewed is not None and self._seconds() - self._renewed < self._sure


class Watch:
    """One worker's view of the others' leases."""

    def __init__(self, length: timedelta, seconds: Callable[[], float] = seconds_passed) -> None:
        """`length`: how long a lease has to stay as it is. Half of that is the longest that nobody may look."""
        self._length, self._seconds = length.total_seconds(), seconds
        self._seen: dict[Holder, float] = {}
        self._looked = seconds()

    def over(self, holders: Iterable[Holder]) -> list[Holder]:
        """Who holds copies under a lease that is over, or without one. `holders`: all that hold some, as they stand."""
        now = self._seconds()
        if now - self._looked > self._length / 2:
            self._seen = {}
        self._looked = now
        self._seen = {holder: self._seen.get(holder, now) for holder in holders}
        return [one for one, since in self._seen.items() if one.until is None or now - since >= self._length]
