"""Until when a worker may send what it claimed, and when it may judge the leases of others.

A lease stands in the database as a time of day, which all processes can compare, and which may jump: a clock that was
set wrong is put right, a machine wakes up. So the holder also counts seconds, which cannot jump, and believes what ends
first. Who sees the time of day jump judges nobody until everybody had the time to renew by the new clock: else a step
forward would hand all that is being sent to the first worker that looks, and it would be sent twice. So does who lost
its own lease: the database was away, most likely, and with it everybody's renewals.
"""

import time
from collections.abc import Callable
from datetime import datetime, timedelta

JUMP = timedelta(seconds=5)
"""What a time of day may differ by from the seconds that passed: clocks are slewed by far less."""


class Lease:
    """The lease of one worker. `clock` gives aware UTC; `seconds` counts on a clock that only grows."""

    def __init__(
        self, length: timedelta, spare: timedelta, clock: Callable[[], datetime],
        seconds: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        """`spare`: how long before its end nothing is begun any more."""
        self._length, self._spare, self._clock, self._seconds = length, spare, clock, seconds
        self._until, self._until_seconds = clock(), seconds()
        self._last = self._until, self._until_seconds
        self._unsure_until = self._until_seconds
        self._held = False

    def begin(self) -> datetime:
        """The end of a lease that is taken now. It holds once it is written: `took` says so."""
        now, seconds = self._clock(), self._seconds()
        passed = timedelta(seconds=seconds - self._last[1])
        if abs((now - self._last[0]) - passed) > JUMP:
            self._unsure_until = seconds + self._length.total_seconds()
        self._last = now, seconds
        return now + self._length

    def took(self, until: datetime) -> None:
        """The lease that `begin` gave is in the database."""
        if self.lapsed:
            self._unsure_until = self._last[1] + self._length.total_seconds()
        self._until = until - self._spare
        self._until_seconds = self._last[1] + (self._length - self._spare).total_seconds()
        self._held = True

    @property
    def lapsed(self) -> bool:
        """Whether a lease that was held had run out when the last one was begun: others may have what was claimed."""
        now, seconds = self._last
        return self._held and (now >= self._until or seconds >= self._until_seconds)

    def holds(self, now: datetime) -> bool:
        """Whether what was claimed is still ours; if not, another may be sending it."""
        return now < self._until and self._seconds() < self._until_seconds

    def may_judge(self) -> bool:
        """Whether a lease of another that seems to have run out has."""
        return self._seconds() >= self._unsure_until
