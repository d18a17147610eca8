"""What stands of those whose copies leave next, asked for together: one by one it would cost several times as much.

The session that is about to write MAIL FROM decides (parcel.py), on state that was committed less than a second ago
(P2, P3). Whoever asks for its own copy asks for some of those behind it too, so that their sessions find an answer that
is a quarter of that old at most. An older answer is not used: the store is asked again.
"""

from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Final

from gateway.clock_watch import seconds_passed
from gateway.parcel import Parcel, Seen
from gateway.store.contract import Person, Store

LOOK_SECONDS: Final = 0.25
"""How old an answer may be that a session finds. Measured from before it was asked for, by a clock that nobody sets."""


class Looks:
    """Of one lane. `ready`: its copies in about the order in which they leave."""

    def __init__(self, store: Store, ready: Iterable[Parcel]) -> None:
        self._store, self._ready = store, ready
        self._found = 0  # answers that sessions found since one had to ask

    async def __call__(self, parcel: Parcel) -> Seen:
        """What stands of the recipient of a copy that leaves now. Raises StoreUnavailable."""
        seen = parcel.seen
        if seen is not None and seconds_passed() - seen.asked < LOOK_SECONDS:
            self._found += 1
            return seen
        asked = seconds_passed()
        person = (await self.together([parcel, *self._behind(asked)]))[0]
        return Seen(person, asked)

    async def together(self, parcels: Sequence[Parcel]) -> list[Person]:
        """The same of several. Raises StoreUnavailable."""
        asked = seconds_passed()
        for parcel in parcels:
            parcel.asked = asked
        people = await self._store.people([parcel.who for parcel in parcels])
        for parcel, person in zip(parcels, people, strict=True):
            parcel.seen = Seen(person, asked)
        return people

    def _behind(self, now: float) -> list[Parcel]:
        """The next ones of whom nobody just asked: more where the last were of use, one where copies leave slowly."""
        some, self._found = 2 * self._found + 1, 0
        return list(islice((one for one in self._ready if now - one.asked >= LOOK_SECONDS), some))
