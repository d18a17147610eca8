"""Where the clock went backwards while a ledger was written. No I/O, no clock.

Ids of entries are UUIDv7 and begin with the millisecond of writing; they grow all the same when the clock goes back,
because an entry then gets the id next to the last one (chain.following). Such neighbours, which chance does not make,
are how it shows. The chain is whole; the instants in these entries are what is doubtful.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from suppression.chain import Stored, born

TOLERANCE_MS: Final = 60_000
"""Steps up to this are left unsaid: clocks are put right by small steps, and an act may be dated a little back (ms)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClockStep:
    """Entries `first` to `last` (numbers) are dated up to `by_ms` milliseconds before the entry before them."""

    controller_id: str
    first: int
    last: int
    entry_id: bytes
    by_ms: int

    @property
    def text(self) -> str:
        """What happened, for people."""
        which = f"entry {self.first} is" if self.first == self.last else f"entries {self.first} to {self.last} are"
        return (
            f"the clock went back: {which} dated up to {self.by_ms / 1000:.0f} s before entry {self.first - 1}; their "
            "order is sure, their times are not"
        )


class ClockSteps:
    """Watches one controller's entries in the order of their ids."""

    def __init__(self, controller_id: str) -> None:
        self._controller_id = controller_id
        self._last = 0
        self._run: list[ClockStep] = []

    def take(self, rows: Iterable[Stored]) -> Iterator[ClockStep]:
        """The next sealed entries; a step is told when it is over."""
        for row in rows:
            last, self._last = self._last, int.from_bytes(row.entry_id, "big")
            if self._last != last + 1:
                if self._run:
                    yield from self.end()
            elif isinstance(row.seq, int) and isinstance(row.at, int) and born(row.entry_id) - row.at > TOLERANCE_MS:
                self._add(row.seq, row.entry_id, born(row.entry_id) - row.at)

    def end(self) -> Iterator[ClockStep]:
        """The step that is not over yet, if there is one."""
        run, self._run = self._run, []
        yield from run

    def _add(self, seq: int, entry_id: bytes, by_ms: int) -> None:
        first = self._run[0] if self._run else None
        self._run = [
            ClockStep(
                controller_id=self._controller_id, first=first.first if first else seq, last=seq,
                entry_id=first.entry_id if first else entry_id, by_ms=max(by_ms, first.by_ms if first else 0),
            )
        ]  # fmt: skip
