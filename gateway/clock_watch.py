"""Whether the time of day may be believed: it is held against seconds that only grow.

A clock that was set wrong is put right, or the other way round, while the gateway runs. Backward: what was dated by
the clock of before would wait until it says that time again, so its times are put right (store/redated.py). Forward:
all that waits seems to be over, and a moment in which the clock is a year ahead must not end mail that came in today,
nor sweep what is to be kept. So after a step forward nothing is given up or deleted for its age alone until the clock
has stood by it for an hour. The same after an absence of more than that: mail that waited meanwhile is tried before its
time is over, and a machine that starts with a wrong clock has an hour to be put right.
"""

import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

STEP: Final = timedelta(seconds=5)
"""What a time of day may differ by from the seconds that passed: clocks are slewed by far less."""
CLOCKS_APART: Final = timedelta(minutes=1)
"""How far ahead the clock of another machine of ours may be by which something was dated."""
BELIEVED_AFTER: Final = timedelta(hours=1)
_CLOCK: Final = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def seconds_passed() -> float:
    """Seconds that only grow, on a clock that nobody sets; those of a machine that sleeps count, where the platform has
    such a clock (clock_gettime(2), CLOCK_BOOTTIME; the monotonic one stands still meanwhile)."""
    return time.clock_gettime(_CLOCK)


class ClockWatch:
    """Watches one process's time of day. `clock` gives aware UTC; `seconds` counts on a clock that only grows."""

    def __init__(
        self, clock: Callable[[], datetime], seconds: Callable[[], float] = seconds_passed, *,
        stepped: Callable[[timedelta], None] = lambda _: None,
    ) -> None:  # fmt: skip
        """`stepped` is told by how much the clock was set, forward or back (negative)."""
        self._clock, self._seconds, self._stepped = clock, seconds, stepped
        self._last = clock(), seconds()
        self._believed_from = self._last[1]
        self._went_back = False

    def since(self, before: datetime) -> None:
        """This process takes up what it was at last at that instant, by the clock of then."""
        now = self._clock()
        if now - before > BELIEVED_AFTER:
            self._doubt()
        elif before - now > STEP:
            self._went_back = True

    @property
    def believed(self) -> bool:
        """Whether something may be ended because of its age alone."""
        self._look()
        return self._last[1] >= self._believed_from

    def went_back(self) -> bool:
        """Whether the clock was set back since this was asked last."""
        self._look()
        went_back, self._went_back = self._went_back, False
        return went_back

    def _look(self) -> None:
        now, seconds = self._clock(), self._seconds()
        step = now - self._last[0] - timedelta(seconds=seconds - self._last[1])
        self._last = now, seconds
        if step > STEP:
            self._doubt()
        elif step < -STEP:
            self._went_back = True
        else:
            return
        self._stepped(step)

    def _doubt(self) -> None:
        self._believed_from = self._seconds() + BELIEVED_AFTER.total_seconds()
