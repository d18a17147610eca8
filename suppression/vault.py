"""What is encrypted under which key. Keys and random bytes are arguments; nothing here reads a file.

One installation key (32 bytes, with an id; several may be live) derives everything else by HKDF-SHA256:

- recipient keys: HMAC-SHA256, 16 bytes, of the normalised address, per controller; a separate derivation serves
  global scope, so that controllers stay strangers to each other (P8);
- the wrapping key of the keys database. A person's secret (32 random bytes) and the spool key of an hour stand there
  wrapped; destroying the row makes everything sealed under it unreadable, in backups too (GDPR art. 17, 32);
- the keys of link tokens and of signed form values.

Sealing is AES-256-GCM with a random 96-bit nonce in front (NIST SP 800-38D).
"""

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

SECRET_BYTES = 32
PLACE_BYTES = 8
"""So many bytes of a person's secret are none: they stand in front of the person's subject."""
NONCE_BYTES = 12
RECIPIENT_KEY_BYTES = 16


_INNER = bytes(byte ^ 0x36 for byte in range(256))
_OUTER = bytes(byte ^ 0x5C for byte in range(256))


def keyed_hash(key: bytes, plain: bytes) -> bytes:
    """HMAC-SHA256 (RFC 2104) under a key that is used again and again; `key`: at most 64 bytes.

    hmac.digest prepares the key anew each time, which takes twice as long as the hashing.
    """
    inner, outer = (state.copy() for state in _begun(key))
    inner.update(plain)
    outer.update(inner.digest())
    return outer.digest()


@lru_cache(maxsize=64)
def _begun(key: bytes) -> tuple["hashlib._Hash", "hashlib._Hash"]:
    """Both hashes of an HMAC after the key, a block of 64 bytes."""
    block = key.ljust(64, b"\0")
    return hashlib.sha256(block.translate(_INNER)), hashlib.sha256(block.translate(_OUTER))


class Unreadable(Exception):
    """A sealed value whose key does not fit, or that was changed."""


def derive(secret: bytes, *labels: str, length: int = 32) -> bytes:
    """HKDF-SHA256 (RFC 5869) of a secret for one use; labels are length-prefixed, so that no two uses meet."""
    info = b"consentgate" + b"".join(len(x.encode()).to_bytes(2, "big") + x.encode() for x in labels)
    return HKDF(algorithm=hashes.SHA256(), length=length, salt=None, info=info).derive(secret)


@lru_cache(maxsize=256)
def _cipher(key: bytes) -> AESGCM:
    """Takes 2.5 kB and 4 us to make: kept for what seals many values, not for each person of a large list."""
    return AESGCM(key)


def seal(key: bytes, plain: bytes, bound_to: bytes, nonce: bytes) -> bytes:
    """Nonce, ciphertext and tag. `bound_to` (row key) is authenticated, so that a value cannot move to another row."""
    return nonce + _cipher(key).encrypt(nonce, plain, bound_to)


def seal_long(key: bytes, plain: bytes, bound_to: bytes, nonce: bytes) -> tuple[bytes, bytes]:
    """The same in two pieces, nonce and the rest, since joining them would take the memory once more."""
    return nonce, _cipher(key).encrypt(nonce, plain, bound_to)


def unseal(key: bytes, sealed: bytes, bound_to: bytes) -> bytes:
    """The plain bytes; Unreadable where key, row or a bit is wrong."""
    try:
        return _cipher(key).decrypt(sealed[:NONCE_BYTES], memoryview(sealed)[NONCE_BYTES:], bound_to)
    except (InvalidTag, ValueError) as wrong:
        raise Unreadable("sealed value does not open") from wrong


@dataclass(frozen=True, slots=True)
class PersonSecret:
    """The secret of one person at one controller; without it nothing of that person can be read or linked.

    Its first PLACE_BYTES stand in the ledger, in front of what is hashed. For whoever is met alone they are random like
    the rest (which has 192 bits); for many who are met at once they grow in the order in which they are written, so
    that an index by subject is appended to, and not written all over. They are told by nothing but the secret, and tell
    nothing that the order of the entries does not tell.
    """

    secret: bytes

    @property
    def key(self) -> bytes:
        """The key under which this person's fields are sealed."""
        return hmac.digest(self.secret, b"seal", "sha256")

    def subject(self, recipient_key: bytes) -> bytes:
        """The pseudonym in the ledger: place, then SHA-256 of salt and recipient key; unlinkable without the secret."""
        hashed = hashlib.sha256(hmac.digest(self.secret, b"salt", "sha256") + recipient_key).digest()
        return self.secret[:PLACE_BYTES] + hashed[PLACE_BYTES:]


class KeyRing:
    """All live installation keys; the highest id makes new values, every one opens old ones (P10)."""

    def __init__(self, installation_keys: Mapping[int, bytes]) -> None:
        if not installation_keys or any(len(key) != SECRET_BYTES for key in installation_keys.values()):
            raise ValueError("an installation key has 32 bytes, and there is at least one")
        if not all(0 < key_id < 256 for key_id in installation_keys):
            raise ValueError("key ids run from 1 to 255")
        self._keys = dict(sorted(installation_keys.items(), reverse=True))
        self.current = next(iter(self._keys))
        self._wrapping = {key_id: derive(key, "wrap") for key_id, key in self._keys.items()}
        self._addressing: dict[str, list[bytes]] = {}

    @property
    def key_ids(self) -> tuple[int, ...]:
        """The ids of the live keys, newest first, as every tuple of keys here is ordered."""
        return tuple(self._keys)

    def recipient_keys(self, controller_id: str, address: str) -> tuple[bytes, ...]:
        """The keys of one normalised address at one controller, newest key id first (16 bytes each)."""
        return self._address_keys("recipient/" + controller_id, address)

    def global_keys(self, address: str) -> tuple[bytes, ...]:
        """The keys of one normalised address for suppressions of global scope."""
        return self._address_keys("everywhere", address)

    def _address_keys(self, label: str, address: str) -> tuple[bytes, ...]:
        keys = self._addressing.get(label)
        if keys is None:
            keys = self._addressing[label] = [derive(key, "address", label) for key in self._keys.values()]
        plain = address.encode()
        if len(keys) == 1:
            return (keyed_hash(keys[0], plain)[:RECIPIENT_KEY_BYTES],)
        return tuple(keyed_hash(key, plain)[:RECIPIENT_KEY_BYTES] for key in keys)

    def derived(self, *labels: str, length: int = 32) -> dict[int, bytes]:
        """A key for one use from every installation key, by key id, newest first."""
        return {key_id: derive(key, *labels, length=length) for key_id, key in self._keys.items()}

    def wrap(self, secret: bytes, bound_to: bytes, nonce: bytes) -> bytes:
        """A secret as it may stand in the keys database: key id, nonce, ciphertext."""
        return bytes([self.current]) + seal(self._wrapping[self.current], secret, bound_to, nonce)

    def unwrap(self, wrapped: bytes, bound_to: bytes) -> bytes:
        """The secret again; Unreadable where no live key fits."""
        wrapping = self._wrapping.get(wrapped[0]) if wrapped else None
        if wrapping is None:
            raise Unreadable("no live installation key has this id")
        return unseal(wrapping, wrapped[1:], bound_to)
