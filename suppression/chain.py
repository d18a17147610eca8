"""The chain that makes the ledger tamper-evident: entry hash, sealing, its end. No I/O, no clock.

Each controller has a chain of its own. An entry's hash covers every column of the entry, its number, and the hash of
the entry before; the first one rests on a hash of the controller's name. Numbers follow the order of entry ids. Where
the chain ends is kept apart (`Tail`), under a MAC of the installation key, so that cutting off the end shows; a `Head`
says the same to strangers, signed with Ed25519 (RFC 8032). chain_check.py looks whether a chain is whole.

What it cannot see: a database that was put back whole to an older state, tail included. A head kept outside shows that.
"""

import hashlib
import hmac
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

ENTRY_MARK: Final = b"consentgate-ledger entry 1\n"
LINK_MARK: Final = b"consentgate-ledger link 1\n"
GENESIS_MARK: Final = b"consentgate-ledger genesis 1\n"
TAIL_MARK: Final = b"consentgate-ledger tail 1\n"
HEAD_MARK: Final = b"consentgate-ledger head 1\n"
MANIFEST_MARK: Final = b"consentgate-proof manifest 1\n"

_CONTENT: Final = struct.Struct(">q7i")
_LINK: Final = struct.Struct(">qi")
_END: Final = struct.Struct(">qq3i")


class Stored(NamedTuple):
    """An entry as it is stored; texts as UTF-8. `seq`, `previous`, `hash` are None until it is sealed."""

    controller_id: bytes
    entry_id: bytes
    at: int
    kind: bytes
    subject: bytes
    public: bytes
    private: bytes | None
    commitment: bytes | None
    seq: int | None
    previous: bytes | None
    hash: bytes | None


class Sealed(NamedTuple):
    """The place an entry got in the chain."""

    entry_id: bytes
    seq: int
    previous: bytes
    hash: bytes


@dataclass(frozen=True, slots=True)
class Tail:
    """Where a controller's chain ends: the last sealed entry."""

    controller_id: str
    seq: int
    entry_id: bytes
    hash: bytes


@dataclass(frozen=True, slots=True)
class Head:
    """What a chain amounts to at one time, signed for others to keep. `at`: milliseconds since 1970 UTC."""

    controller_id: str
    seq: int
    hash: bytes
    at: int


def content_hash(entry: Stored) -> bytes:
    """What an entry says: SHA-256 over its instant, the lengths of its fields (-1: NULL), and the fields."""
    controller_id, entry_id, at, kind, subject, public, private, commitment, *_ = entry
    header = _CONTENT.pack(
        at, len(controller_id), len(entry_id), len(kind), len(subject), len(public),
        -1 if private is None else len(private), -1 if commitment is None else len(commitment),
    )  # fmt: skip
    fields = (
        ENTRY_MARK, header, controller_id, entry_id, kind, subject, public, private or b"", commitment or b"",
    )  # fmt: skip
    return hashlib.sha256(b"".join(fields)).digest()


def link_hash(content: bytes, seq: int, previous: bytes) -> bytes:
    """The hash of an entry at its place, from the hash of what it says: SHA-256 over number, hash before, content.

    Two steps, so that a proof about one person need not show what the entries of others say.
    """
    return hashlib.sha256(LINK_MARK + _LINK.pack(seq, len(previous)) + previous + content).digest()


def entry_hash(entry: Stored, seq: int, previous: bytes) -> bytes:
    """The hash of an entry at its place: over every column."""
    return link_hash(content_hash(entry), seq, previous)


def genesis(controller_id: str) -> bytes:
    """What the first entry of a controller rests on."""
    return hashlib.sha256(GENESIS_MARK + controller_id.encode()).digest()


def seal(entries: Iterable[Stored], tail: Tail | None, controller_id: str) -> list[Sealed]:
    """Places for unsealed entries, in the order given, behind the tail; None: at the beginning of the chain."""
    seq, previous = (tail.seq, tail.hash) if tail is not None else (0, genesis(controller_id))
    sealed = []
    for entry in entries:
        seq += 1
        made = entry_hash(entry, seq, previous)
        sealed.append(Sealed(entry.entry_id, seq, previous, made))
        previous = made
    return sealed


class TailKeys:
    """Authenticates tails: whoever has the database alone cannot make one that fits a chain of their own."""

    def __init__(self, keys: Mapping[int, bytes]) -> None:
        """`keys`: by id of the installation key, newest first."""
        self._keys = dict(keys)
        self._current = next(iter(self._keys))

    def mac(self, tail: Tail) -> bytes:
        """Key id and HMAC-SHA256."""
        return bytes([self._current]) + hmac.digest(self._keys[self._current], _end(TAIL_MARK, tail), "sha256")

    def genuine(self, tail: Tail, mac: bytes) -> bool:
        """Whether the tail is as it was written."""
        key = self._keys.get(mac[0]) if mac else None
        return key is not None and hmac.compare_digest(hmac.digest(key, _end(TAIL_MARK, tail), "sha256"), mac[1:])


class HeadKeys:
    """Signs heads with Ed25519; the public key is for those who verify without us."""

    def __init__(self, seeds: Mapping[int, bytes]) -> None:
        """`seeds`: 32 bytes each, by id of the installation key, newest first."""
        self._current = Ed25519PrivateKey.from_private_bytes(next(iter(seeds.values())))
        self.public = self._current.public_key().public_bytes_raw()
        """The public key of what is signed now (32 bytes)."""
        self.known = [
            Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw() for seed in seeds.values()
        ]
        """The public keys of all live installation keys, newest first."""

    def sign(self, head: Head) -> bytes:
        """The signature (64 bytes)."""
        return self._current.sign(_end(HEAD_MARK, head))

    def sign_manifest(self, manifest: bytes) -> bytes:
        """The signature (64 bytes) of the list of files of a proof."""
        return self._current.sign(MANIFEST_MARK + manifest)

    def genuine(self, head: Head, signature: bytes, public: bytes) -> bool:
        """Whether one of our keys, old or new, signed this head."""
        if public not in self.known:
            return False
        try:
            Ed25519PublicKey.from_public_bytes(public).verify(signature, _end(HEAD_MARK, head))
        except InvalidSignature:
            return False
        return True


def _end(mark: bytes, end: Tail | Head) -> bytes:
    """A tail or head as it is authenticated: numbers and lengths, then controller, hash and entry id.

    The number beside `seq` is a head's instant, 0 for a tail; the last length is that of a tail's entry id, else 0.
    """
    controller_id = end.controller_id.encode()
    at, entry_id = (0, end.entry_id) if isinstance(end, Tail) else (end.at, b"")
    header = _END.pack(end.seq, at, len(controller_id), len(end.hash), len(entry_id))
    return mark + header + controller_id + end.hash + entry_id


def born(entry_id: bytes) -> int:
    """When an entry was written: the milliseconds since 1970 that its id, a UUIDv7, begins with (RFC 9562)."""
    return int.from_bytes(entry_id[:6], "big")


def following(last: bytes | None, fresh: bytes) -> bytes:
    """The id of the next entry: the fresh one, or the one next to the last where the clock went back."""
    if last is None or fresh > last:
        return fresh
    return (int.from_bytes(last, "big") + 1).to_bytes(len(last), "big")
