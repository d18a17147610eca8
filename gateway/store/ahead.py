"""The first row of somebody who is probably new, sealed before anybody looks in the database.

What an import writes about a new person depends on nothing that is stored, so that it can be made before the
transaction begins, in another process too. It counts for nothing where the person turns out to be known. Pure but for
the system's random bytes.
"""

import json
import os
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import uuid_utils

from suppression import ledger, standing
from suppression.vault import NONCE_BYTES, PLACE_BYTES, SECRET_BYTES, KeyRing, PersonSecret, seal


class Fresh(NamedTuple):
    """A person who is new, with their first row sealed; `facts` is None where that has to be worked out.

    `wrapped`: the secret as the keys database holds it. `entry_id`, `private`, `commitment`: the row's first entry in
    the ledger, under an id that was made for it. Empty where they are made when they are written.
    """

    secret: PersonSecret
    key: bytes
    subject: bytes
    profile: bytes
    facts: bytes | None
    wrapped: bytes = b""
    entry_id: bytes = b""
    private: bytes = b""
    commitment: bytes = b""


class Encoded(Mapping[str, Any]):
    """Fields that stand as JSON, or in what was sealed ahead, and are read when somebody asks for one."""

    __slots__ = ("_fields", "_kept")

    def __init__(self, kept: bytes | Fresh) -> None:
        """`kept`: the JSON, or the person with the entry that has these fields."""
        self._kept = kept
        self._fields: dict[str, Any] | None = None

    @property
    def plain(self) -> bytes:
        """The fields as canonical JSON."""
        if isinstance(self._kept, Fresh):
            return ledger.opened(self._kept.key, self._kept.private, self._kept.entry_id)
        return self._kept

    def _read(self) -> dict[str, Any]:
        if self._fields is None:
            self._fields = json.loads(self.plain)
        return self._fields

    def __getitem__(self, name: str) -> Any:
        return self._read()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._read())

    def __len__(self) -> int:
        return len(self._read())


def new_id() -> bytes:
    """A UUIDv7: 16 bytes that sort by time."""
    return uuid_utils.uuid7().bytes


class Random:
    """Fresh random bytes, asked of the system in large pieces: a call for each nonce costs as much as sealing does."""

    def __init__(self) -> None:
        self._bytes, self._at = b"", 0

    def take(self, n: int) -> bytes:
        """The next n bytes, used once."""
        if self._at + n > len(self._bytes):
            self._bytes, self._at = os.urandom(8192), 0
        taken = self._bytes[self._at : self._at + n]
        self._at += n
        return taken


def new_secret(random: Random) -> PersonSecret:
    """A secret for one of many who are met at once: the subjects of those made one after the other are neighbours."""
    return PersonSecret(new_id()[:PLACE_BYTES] + random.take(SECRET_BYTES - PLACE_BYTES))


def first_row(
    controller_id: str, recipient_key: bytes, address: str, profile: Mapping[str, str], kind: str, plain: bytes,
    *, alone: bool, random: Random,
) -> Fresh:  # fmt: skip
    """Seal what a row says of somebody new. `alone`: the entry of this kind is the only one of the row."""
    secret = new_secret(random)
    key = secret.key
    facts = standing.opening(kind, plain) if alone else None
    nonces = random.take(2 * NONCE_BYTES)
    return Fresh(
        secret, key, secret.subject(recipient_key),
        seal(key, _filed(address, profile), profile_row(controller_id, recipient_key), nonces[:NONCE_BYTES]),
        facts and seal(key, facts, standing_row(controller_id, recipient_key), nonces[NONCE_BYTES:]),
    )  # fmt: skip


def with_entry(
    fresh: Fresh, controller_id: str, recipient_key: bytes, plain: bytes, *, entry_id: bytes, ring: KeyRing,
    random: Random,
) -> Fresh:  # fmt: skip
    """The same with the entry in the ledger and the secret as they are stored."""
    taken = random.take(ledger.RANDOM_BYTES + NONCE_BYTES)
    private, commitment = ledger.sealed(fresh.key, plain, entry_id, taken[:-NONCE_BYTES])
    wrapped = ring.wrap(fresh.secret.secret, person_row(controller_id, recipient_key), taken[-NONCE_BYTES:])
    return Fresh(*fresh[:5], wrapped, entry_id, private, commitment)


def standing_row(controller_id: str, recipient_key: bytes) -> bytes:
    """What a sealed standing is bound to."""
    return b"standing/" + controller_id.encode() + b"/" + recipient_key


def profile_row(controller_id: str, recipient_key: bytes) -> bytes:
    """What a sealed profile is bound to."""
    return b"profile/" + controller_id.encode() + b"/" + recipient_key


def person_row(controller_id: str, recipient_key: bytes) -> bytes:
    """What a wrapped secret is bound to."""
    return b"person/" + controller_id.encode() + b"/" + recipient_key


def _filed(address: str, said: Mapping[str, str]) -> bytes:
    """A profile as it is stored. Most rows have an address alone, which needs no escapes."""
    if said or not address.isascii() or '"' in address or "\\" in address:
        return ledger.encode({"address": address, **said})
    return b'{"address":"%s"}' % address.encode()
