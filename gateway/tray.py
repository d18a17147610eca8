"""Parcels in memory that wait for their turn: service mail first, but every fourth place is left to marketing.

So a large mailing does not delay a password reset, and a flood of service mail does not stop a mailing.
"""

from collections import Counter, deque
from collections.abc import Iterable, Iterator
from typing import Final

from gateway.parcel import Parcel

EVERY: Final = 4


class Tray:
    """In order of arrival within each of the two. `octets`: of the messages of which copies lie here."""

    def __init__(self) -> None:
        self._service: deque[Parcel] = deque()
        self._marketing: deque[Parcel] = deque()
        self._taken = 0
        self._copies: Counter[int] = Counter()
        self.octets = 0

    def __len__(self) -> int:
        return len(self._service) + len(self._marketing)

    def __iter__(self) -> Iterator[Parcel]:
        yield from self._service
        yield from self._marketing

    def of_kind(self, marketing: bool) -> int:
        """How many of one kind lie here."""
        return len(self._marketing if marketing else self._service)

    def put(self, parcels: Iterable[Parcel]) -> None:
        for parcel in parcels:
            self._side_of(parcel).append(parcel)
            self._copies[id(parcel.original)] += 1
            if self._copies[id(parcel.original)] == 1:
                self.octets += parcel.original.size

    @property
    def first(self) -> Parcel | None:
        """What `take` gives next."""
        side = self._next_side()
        return side[0] if side else None

    def take(self) -> Parcel:
        """The next one. IndexError where there is none."""
        parcel = self._next_side().popleft()
        self._taken += 1
        original = id(parcel.original)
        self._copies[original] -= 1
        if not self._copies[original]:
            del self._copies[original]
            self.octets -= parcel.original.size
        return parcel

    def clear(self) -> list[Parcel]:
        """Take all of them."""
        return [self.take() for _ in range(len(self))]

    def _side_of(self, parcel: Parcel) -> deque[Parcel]:
        return self._marketing if parcel.original.case.marketing else self._service

    def _next_side(self) -> deque[Parcel]:
        if not self._service or (self._marketing and self._taken % EVERY == EVERY - 1):
            return self._marketing
        return self._service
