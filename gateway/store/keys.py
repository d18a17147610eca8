"""The keys database: secrets of persons and of hours, wrapped under the installation key.

It stands apart from the data, with secure deletion, so that destroying a row destroys what it sealed, in the
database's logs, in free pages and in old copies of the data too. Used inside a database thread, beside that thread's
connection; a new secret is committed before the row that needs it.
"""

import contextlib
import hmac
import os
from collections.abc import Iterator, Mapping, Sequence
from importlib.resources import files
from time import monotonic
from typing import Any, Final

import aiosql

from gateway.store.ahead import person_row
from gateway.store.connection import Database
from gateway.store.contract import StoreUnavailable
from suppression.chain import TailKeys
from suppression.vault import (
    NONCE_BYTES,
    RECIPIENT_KEY_BYTES,
    SECRET_BYTES,
    KeyRing,
    PersonSecret,
    Unreadable,
    seal,
    unseal,
)

SQL = aiosql.from_path(str(files("gateway.store") / "sql" / "keys.sql"), "sqlite3")
HOUR_SECONDS: Final = 60.0
"""How long the key of an hour is believed to be there still: where a clock was wrong and is put right, another process
may have destroyed the key of what is this hour again."""
STAND_IN: Final = b"/stand-in"
"""Behind a recipient key: the row of what stands in for a secret that is lost."""
APART: Final = b"/write-back"
"""Behind a recipient key: the row of what seals what must still be said of somebody who was erased."""


class Keys:
    """Secrets by person and hour."""

    def __init__(self, db: Database, ring: KeyRing) -> None:
        """`db`: a connection to the keys database, used by one thread, and closed with this."""
        self._db = db
        self._ring = ring
        self.tails = TailKeys(ring.derived("ledger", "tail"))
        """What authenticates the end of the ledger."""
        self._hours: dict[int, tuple[bytes, float]] = {}  # and when it was last seen in the database
        self._unsettled = False  # a unit of work that is not over has destroyed something
        self._hashing: dict[str, list[bytes]] = {}

    def close(self) -> None:
        self._db.close()

    def begin(self, *, adding: bool = False) -> None:
        """Open a writing transaction, unless one is open. Taken after the data's own, always in this order.

        `adding`: a key that nothing is sealed with does no harm, so that it may be committed at once.
        """
        if not self._db.in_transaction:
            self._db.begin(adding=adding)

    def settle(self, *, failed: bool) -> None:
        """A unit of work is over: what it destroyed is, unless it failed: what that sealed is then still there."""
        if self._unsettled:
            self._unsettled = False
            if failed:
                self._db.execute("ROLLBACK TO destroyed")
            self._db.execute("RELEASE destroyed")

    def commit(self) -> None:
        self._unsettled = False
        if self._db.in_transaction:
            self._db.execute("COMMIT")

    def rollback(self) -> None:
        self._hours.clear()
        self._unsettled = False
        if self._db.in_transaction:
            self._db.execute("ROLLBACK")

    def _begin_to_destroy(self) -> None:
        """What is destroyed from here on can be had back until the unit of work is settled."""
        self.begin()
        if not self._unsettled:
            self._db.execute("SAVEPOINT destroyed")
            self._unsettled = True

    def person(self, controller_id: str, recipient_key: bytes) -> PersonSecret | None:
        """The secret of a person; None where there is none, or where it was destroyed."""
        row = SQL.person_key(self._db, controller_id=controller_id, recipient_key=recipient_key)
        if row is None:
            return None
        stored = self._taken_out(controller_id, {recipient_key: row[0]})
        return self.unwrapped(controller_id, recipient_key, stored[recipient_key]) if stored else None

    def people(self, controller_id: str, recipient_keys: Sequence[bytes]) -> dict[bytes, PersonSecret]:
        """The secrets of those people who have one, by recipient key."""
        return {
            key: self.unwrapped(controller_id, key, wrapped)
            for key, wrapped in self.wrapped(controller_id, recipient_keys).items()
        }

    def readable(self, controller_id: str, recipient_keys: Sequence[bytes]) -> dict[bytes, PersonSecret]:
        """The same without those whose stored secret does not open: for them nobody may think that there is none."""
        return self.opened(controller_id, self.wrapped(controller_id, recipient_keys))

    def opened(self, controller_id: str, stored: Mapping[bytes, bytes]) -> dict[bytes, PersonSecret]:
        """Those of the stored secrets that open."""
        found = {}
        for key, wrapped in stored.items():
            with contextlib.suppress(Unreadable):
                found[key] = self.unwrapped(controller_id, key, wrapped)
        return found

    def wrapped(
        self, controller_id: str, recipient_keys: Sequence[bytes], *, neighbours: bool = False
    ) -> dict[bytes, bytes]:
        """The same secrets, wrapped. `neighbours`: the keys are likely to follow each other."""
        between, each = SQL.person_keys_between.sql, SQL.person_keys_of_many.sql
        if not neighbours:
            return self._taken_out(controller_id, dict(self._db.of_many(each, controller_id, recipient_keys)))
        wanted = set(recipient_keys)
        found = of_neighbours(self._db, between, each, controller_id, recipient_keys)
        return self._taken_out(controller_id, {key: stored for key, stored in found if key in wanted})

    def unwrapped(self, controller_id: str, recipient_key: bytes, wrapped: bytes) -> PersonSecret:
        """A stored secret, opened."""
        return PersonSecret(self._ring.unwrap(wrapped, person_row(controller_id, recipient_key)))

    def keys_after(self, controller_id: str, after: bytes, n: int) -> list[bytes]:
        """The next n recipient keys of people who have a secret."""
        rows = SQL.person_keys_after(self._db, controller_id=controller_id, after=after, n=n)
        return [row[0] for row in rows]

    def make_person(self, controller_id: str, recipient_key: bytes) -> tuple[PersonSecret, bool]:
        """The secret of a person, made where there is none; and whether it was made now."""
        self.begin(adding=True)
        known = self.person(controller_id, recipient_key)
        if known is not None:
            return known, False
        secret = os.urandom(SECRET_BYTES)
        bound = person_row(controller_id, recipient_key)
        wrapped = self._ring.wrap(secret, bound, os.urandom(NONCE_BYTES))
        [(_, _, stored)] = self._put_away([(controller_id, recipient_key, wrapped)])
        if SQL.add_person_key(self._db, controller_id=controller_id, recipient_key=recipient_key, wrapped=stored):
            return PersonSecret(secret), True
        known = self.person(controller_id, recipient_key)  # another node was faster
        if known is None:
            raise StoreUnavailable("a key was made and destroyed meanwhile")
        return known, False

    def stand_in(self, controller_id: str, recipient_key: bytes) -> PersonSecret | None:
        """What stands in for a person's own secret, where one was made."""
        return self.person(controller_id, recipient_key + STAND_IN)

    def stand_ins(self, controller_id: str, recipient_keys: Sequence[bytes]) -> dict[bytes, PersonSecret]:
        """The same for several people, by their recipient keys."""
        found = self.readable(controller_id, [key + STAND_IN for key in recipient_keys])
        return {key.removesuffix(STAND_IN): secret for key, secret in found.items()}

    def make_stand_in(self, controller_id: str, recipient_key: bytes) -> PersonSecret:
        """A secret for entries about a person whose own cannot be read, made where there is none.

        Their standing waits for the own one; an opt-out must be recorded all the same. It goes when the person is
        erased.
        """
        return self.make_person(controller_id, recipient_key + STAND_IN)[0]

    def apart(self, controller_id: str, recipient_key: bytes) -> PersonSecret | None:
        """What seals what must still be said of somebody who was erased; None where there is nothing left to say."""
        return self.person(controller_id, recipient_key + APART)

    def make_apart(self, controller_id: str, recipient_key: bytes) -> PersonSecret:
        """The same, made where there is none."""
        return self.make_person(controller_id, recipient_key + APART)[0]

    def forget_apart(self, controller_id: str, recipient_key: bytes) -> None:
        """Destroy it: everything was said, or given up."""
        self._begin_to_destroy()
        SQL.drop_person_key(self._db, controller_id=controller_id, recipient_key=recipient_key + APART)

    def add_people(self, made: Sequence[tuple[str, bytes, PersonSecret, bytes]]) -> None:
        """Keep the secrets of people who have none yet: controller, recipient key, secret, and the same wrapped.

        What is not wrapped yet (empty) is wrapped here.
        """
        rows = []
        nonces = os.urandom(NONCE_BYTES * len(made))
        for number, (controller_id, recipient_key, new, wrapped) in enumerate(made):
            nonce = nonces[number * NONCE_BYTES : (number + 1) * NONCE_BYTES]
            stored = wrapped or self._ring.wrap(new.secret, person_row(controller_id, recipient_key), nonce)
            rows.append((controller_id, recipient_key, stored))
        self.add_wrapped(rows)

    def add_wrapped(self, rows: Sequence[tuple[str, bytes, bytes]]) -> None:
        """The same for secrets that are wrapped: controller, recipient key, wrapped secret."""
        if rows:
            self.begin(adding=True)
            self._db.executemany(SQL.add_person_keys.sql, self._put_away(rows))

    def holds_only(self, controller_id: str, recipient_key: bytes) -> bool:
        """Whether there is no other secret than this one, if there is any."""
        return SQL.other_key(self._db, controller_id=controller_id, recipient_key=recipient_key) is None

    def make_controller(self, controller_id: str) -> PersonSecret:
        """A controller's own secret, for what is about no single person; it goes when the controller goes."""
        return self.controller(controller_id) or self.make_person(controller_id, b"")[0]

    def controller(self, controller_id: str) -> PersonSecret | None:
        """A controller's own secret; None where it has none yet."""
        return self.person(controller_id, b"")

    def hash_keys(self, controller_id: str, algorithm: str, digest: bytes) -> tuple[bytes, ...]:
        """What the hash of an address is filed under, for each live key id, newest first (16 bytes each)."""
        keys = self._hashing.get(controller_id)
        if keys is None:
            keys = self._hashing[controller_id] = list(self._ring.derived("hash list", controller_id).values())
        plain = algorithm.encode() + b"/" + digest
        return tuple(hmac.digest(key, plain, "sha256")[:RECIPIENT_KEY_BYTES] for key in keys)

    def hour(self, hour: int, *, make: bool = False) -> bytes:
        """The spool key of an hour (hours since 1970). Unreadable where it was destroyed."""
        secret, seen = self._hours.get(hour, (b"", 0.0))
        if secret and monotonic() - seen < HOUR_SECONDS:
            return secret
        if make:
            self.begin(adding=True)
        row = SQL.spool_key(self._db, hour=hour)
        if row is not None:
            secret = self._ring.unwrap(row[0], b"hour/%d" % hour)
        elif make:
            secret = os.urandom(SECRET_BYTES)
            wrapped = self._ring.wrap(secret, b"hour/%d" % hour, os.urandom(NONCE_BYTES))
            if not SQL.add_spool_key(self._db, hour=hour, wrapped=wrapped):  # another node was faster
                return self.hour(hour)
        else:
            raise Unreadable("the spool key of that hour is gone")
        if len(self._hours) > 256:
            self._hours.clear()
        self._hours[hour] = secret, monotonic()
        return secret

    def hours(self) -> list[int]:
        """The hours that still have a key."""
        return [row[0] for row in SQL.spool_hours(self._db)]

    def drop_hour(self, hour: int) -> None:
        """Destroy the key of an hour: whatever was sealed under it is unreadable from the commit on."""
        self._begin_to_destroy()
        SQL.drop_spool_key(self._db, hour=hour)
        self._hours.pop(hour, None)

    def forget(self, controller_id: str, recipient_key: bytes) -> bool:
        """Destroy the secret of a person: what it sealed is unreadable from the commit on. Whether there was one."""
        self._begin_to_destroy()
        dropped = [
            SQL.drop_person_key(self._db, controller_id=controller_id, recipient_key=key)
            for key in (recipient_key, recipient_key + STAND_IN)
        ]
        return any(dropped)

    def truncate(self) -> bool:
        """See that no destroyed key lingers on the disk. False while somebody else is in the way."""
        return self._db.emptied()

    def _put_away(self, rows: Sequence[tuple[str, bytes, bytes]]) -> Sequence[tuple[str, bytes, bytes]]:
        """Wrapped secrets of people (controller, recipient key, secret) as they are stored."""
        return rows

    def _taken_out(self, controller_id: str, stored: dict[bytes, bytes]) -> dict[bytes, bytes]:
        """The wrapped secrets again, by recipient key; without those that are not there any more."""
        return stored


def of_neighbours(
    db: Database, between: str, each: str, controller_id: str, keys: Sequence[bytes]
) -> Iterator[tuple[Any, ...]]:
    """The rows over several keys that are often neighbours, as in a sorted file; rows of keys in between may come too.

    Reading all between the first and the last takes a fifth of the time. `each` is for where that would be too many.
    """
    if not keys:
        return
    most = 2 * len(keys) + 16
    named = {"controller_id": controller_id, "first": min(keys), "last": max(keys), "n": most}
    rows = db.execute(between, named).fetchall()
    yield from rows if len(rows) < most else db.of_many(each, controller_id, keys)


def sealed(key: bytes, plain: bytes, bound_to: bytes) -> bytes:
    """Sealed with a fresh nonce."""
    return seal(key, plain, bound_to, os.urandom(NONCE_BYTES))


def opened(key: bytes | None, stored: bytes | None, bound_to: bytes) -> bytes | None:
    """The plain bytes; None where nothing is stored, or the key is gone."""
    if key is None or stored is None:
        return None
    try:
        return unseal(key, stored, bound_to)
    except Unreadable:
        return None
