"""Growing pauses after wrong passwords and keys, at every door.

Counts live in this process and are lost when it ends: they slow a guesser down, they prove nothing. The table forgets
whoever was longest untouched first, so that memory stays bounded (DESIGN.md P11).
"""

from collections import OrderedDict
from datetime import datetime, timedelta
from typing import Final

ENTRIES: Final = 10_000
_DOUBLINGS: Final = 20


class Backoff:
    """`free` failures of a key cost nothing; then 1 s, 2 s, 4 s ... up to `longest`.

    A key without failures for `forget` starts anew. At most `entries` keys are kept, the oldest goes first.
    """

    def __init__(
        self, *, free: int, longest: timedelta = timedelta(minutes=5), forget: timedelta = timedelta(minutes=15),
        entries: int = ENTRIES,
    ) -> None:  # fmt: skip
        self._free, self._longest, self._forget, self._entries = free, longest, forget, entries
        self._failures: OrderedDict[str, tuple[int, datetime]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._failures)

    def wait(self, key: str, now: datetime) -> timedelta:
        """How long this key must still wait; zero when it may try."""
        count, last = self._failures.get(key, (0, now))
        if last > now:  # the clock was put back: the pause counts from now, it does not grow by the hours between
            self._failures[key] = count, last = count, now
        if count <= self._free:
            return timedelta(0)
        pause = min(timedelta(seconds=1 << min(count - self._free - 1, _DOUBLINGS)), self._longest)
        return max(last + pause - now, timedelta(0))

    def failed(self, key: str, now: datetime) -> None:
        """Count a failure."""
        count, last = self._failures.pop(key, (0, now))
        self._failures[key] = (1 if now - last > self._forget else count + 1, now)
        if len(self._failures) > self._entries:
            self._failures.popitem(last=False)

    def passed(self, key: str) -> None:
        """Forget the failures of a key: they are who they say."""
        self._failures.pop(key, None)
