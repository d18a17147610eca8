"""People's secrets in boxes, in a keys database on PostgreSQL: sealed once more, five hundred under one key.

A row that is deleted there stays in its page for long, and writing a table of millions anew keeps all who look into it
waiting. So when somebody is erased, whoever else is in their box is sealed anew in another one, and it is the box's key
that is destroyed: boxes are a small table, written anew in milliseconds. What lingers of the person anywhere is then
sealed under a key that is nowhere.

A box is found by a random number that means one key for ever and stands in front of what is sealed under it. The
database itself sees to it that nobody is in a box that is not there: whoever adds to one holds on to it until their
commit, and where it was emptied before them, they begin again with another (Again). People of one box came one after
the other, at whatever controller, so that they are neighbours on the disk.
"""

import contextlib
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from time import monotonic
from typing import Final

import asyncpg

from gateway.store.ahead import Random, person_row
from gateway.store.connection import Database
from gateway.store.keys import Keys
from suppression.vault import NONCE_BYTES, SECRET_BYTES, KeyRing, Unreadable, seal, unseal

BOXED: Final = "person_keys"
"""The table whose rows are in boxes."""
ROOM: Final = 500
"""Secrets in a box. So many are sealed anew for one who is erased, and for every so many there is a row of boxes."""
NUMBER_BYTES: Final = 8
KNOWN: Final = 1 << 16
"""Keys of boxes that a process remembers, some 200 octets each: those of 32 million people."""
KNOWN_SECONDS: Final = 3600.0
"""For how long, so that a destroyed one is not in memory for ever either."""
AT_ONCE: Final = 8
"""Boxes emptied in one go: whoever writes through the same connection waits meanwhile."""

_ADD: Final = "INSERT INTO boxes (box, wrapped) VALUES (?, ?)"
_WITH_BOXES: Final = (
    "SELECT p.recipient_key, p.wrapped, b.wrapped FROM person_keys p LEFT JOIN boxes b ON b.box = p.box "
    "WHERE p.controller_id = :controller_id AND p.recipient_key IN (KEYS)"
)
_BROKEN: Final = "SELECT box FROM broken_boxes WHERE box > ? ORDER BY box LIMIT ?"
_ANY_BROKEN: Final = "SELECT 1 FROM broken_boxes LIMIT 1"
_HELD: Final = "SELECT wrapped FROM boxes WHERE box = ? FOR UPDATE"
_LEFT_IN: Final = "SELECT controller_id, recipient_key, wrapped FROM person_keys WHERE box = ? FOR UPDATE NOWAIT"
_MOVED: Final = (
    "UPDATE person_keys SET wrapped = n.wrapped FROM unnest(CAST(? AS text[]), CAST(? AS bytea[]), CAST(? AS bytea[])) "
    "AS n (controller_id, recipient_key, wrapped) "
    "WHERE person_keys.controller_id = n.controller_id AND person_keys.recipient_key = n.recipient_key"
)
_DESTROYED: Final = "DELETE FROM boxes WHERE box = ?"
_MENDED: Final = "DELETE FROM broken_boxes WHERE box = ?"

Row = tuple[str, bytes, bytes]
"""Controller, recipient key, and the secret as it is stored."""


class Boxes:
    """Boxes by number, and the one that is being filled."""

    def __init__(self, ring: KeyRing, add: Callable[[tuple[bytes, bytes]], object]) -> None:
        """`add`: called with the number of each new box and its wrapped key, before anything is in it."""
        self._ring = ring
        self._add = add
        self._random = Random()
        self._keys: dict[bytes, bytes] = {}
        self._until = monotonic() + KNOWN_SECONDS
        self._filling, self._room = (b"", b""), 0

    def put(self, rows: Iterable[Row]) -> list[Row]:
        """Wrapped secrets as they stand in a box."""
        placed = []
        for controller_id, recipient_key, wrapped in rows:
            if not self._room:
                self._filling, self._room = self._made(), ROOM
            self._room -= 1
            (number, key), bound = self._filling, person_row(controller_id, recipient_key)
            sealed = number + seal(key, wrapped, bound, self._random.take(NONCE_BYTES))
            placed.append((controller_id, recipient_key, sealed))
        return placed

    def take(self, controller_id: str, recipient_key: bytes, sealed: bytes) -> bytes | None:
        """The wrapped secret, empty where it does not open; None where its box is not known."""
        key = self._keys.get(sealed[:NUMBER_BYTES])
        if key is None:
            return None
        try:
            return unseal(key, sealed[NUMBER_BYTES:], person_row(controller_id, recipient_key))
        except Unreadable:
            return b""

    def learn(self, number: bytes, wrapped: bytes) -> None:
        """Get to know a box. Unreadable where no live installation key opens it."""
        self._keys[number] = self._ring.unwrap(wrapped, _bound(number))

    def close(self) -> None:
        """Put nothing more into the box that was being filled."""
        self._filling, self._room = (b"", b""), 0

    def forget(self) -> None:
        """Begin to know them anew, now and then."""
        if len(self._keys) > KNOWN or monotonic() > self._until:
            self._keys.clear()
            self.close()
            self._until = monotonic() + KNOWN_SECONDS

    def _made(self) -> tuple[bytes, bytes]:
        number, key = os.urandom(NUMBER_BYTES), os.urandom(SECRET_BYTES)
        self._add((number, self._ring.wrap(key, _bound(number), self._random.take(NONCE_BYTES))))
        self._keys[number] = key
        return number, key


class BoxedKeys(Keys):
    """Secrets by person and hour, those of persons in boxes."""

    def __init__(self, db: Database, ring: KeyRing) -> None:
        super().__init__(db, ring)
        self._boxes = Boxes(ring, self._add_box)
        self._emptied_up_to = b""

    def rollback(self) -> None:
        self._boxes.close()  # it may not be there
        super().rollback()

    def truncate(self) -> bool:
        """Empty the boxes of whoever was erased; then what held their keys is written anew.

        Each time goes on where the one before ended: those that cannot be emptied stand in front of no others.
        """
        broken = [number for (number,) in self._db.execute(_BROKEN, (self._emptied_up_to, AT_ONCE)).fetchall()]
        self._emptied_up_to = broken[-1] if len(broken) == AT_ONCE else b""
        for number in broken:
            self._empty(number)
        return super().truncate() and len(broken) < AT_ONCE and self._db.execute(_ANY_BROKEN).fetchone() is None

    def _put_away(self, rows: Sequence[Row]) -> Sequence[Row]:
        return self._boxes.put(rows)

    def _taken_out(self, controller_id: str, stored: Mapping[bytes, bytes]) -> dict[bytes, bytes]:
        self._boxes.forget()
        found = {key: self._boxes.take(controller_id, key, sealed) for key, sealed in stored.items()}
        elsewhere = [key for key, wrapped in found.items() if wrapped is None]
        found.update(self._with_boxes(controller_id, elsewhere))  # each in its place: whoever asks may go by the order
        return {key: wrapped for key, wrapped in found.items() if wrapped is not None}

    def _with_boxes(self, controller_id: str, recipient_keys: Sequence[bytes]) -> dict[bytes, bytes]:
        """Those in boxes that are not known yet: read again together with these, since they may be in others by now."""
        found = {}
        for recipient_key, sealed, box in self._db.of_many(_WITH_BOXES, controller_id, recipient_keys):
            with contextlib.suppress(Unreadable):
                self._boxes.learn(sealed[:NUMBER_BYTES], box or b"")
            wrapped = self._boxes.take(controller_id, recipient_key, sealed)
            found[recipient_key] = wrapped or b""  # what does not open is there all the same
        return found

    def _add_box(self, made: tuple[bytes, bytes]) -> None:
        self._db.execute(_ADD, made)

    def _empty(self, number: bytes) -> None:
        """Put whoever is left in a box into a new one, and destroy its key; not while somebody is in the way.

        In one transaction, so that it is done or not; of two processes the second finds nothing left to do.
        """
        self.begin()
        try:
            held = self._db.execute(_HELD, (number,)).fetchone()  # once all who were adding to it are done
            if held is not None:
                self._move(number, held[0])
            self._db.execute(_MENDED, (number,))
            self.commit()
        except (asyncpg.LockNotAvailableError, Unreadable):
            self.rollback()

    def _move(self, number: bytes, wrapped: bytes) -> None:
        """What does not open stays so."""
        boxes = Boxes(self._ring, self._add_box)
        boxes.learn(number, wrapped)
        left = self._db.execute(_LEFT_IN, (number,)).fetchall()  # who is erasing one of them is not waited for
        moved = boxes.put((owner, key, boxes.take(owner, key, sealed) or b"") for owner, key, sealed in left)
        if moved:
            self._db.execute(_MOVED, [list(column) for column in zip(*moved, strict=True)])
        self._db.execute(_DESTROYED, (number,))


def _bound(number: bytes) -> bytes:
    return b"box/" + number
