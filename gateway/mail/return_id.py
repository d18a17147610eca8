"""The address that reports on a copy come back to (VERP): which copy it was, proven by a MAC.

`b+ID@RETURN-DOMAIN`, ID = base32 in lower case of message id, number of the copy, and 64 bits of HMAC-SHA256 under a
key of the controller. Nothing of the recipient stands in it, it never expires, and a server that folds the case of
local parts does no harm. Whoever has not seen the copy, or a report on it, cannot make one.

Total: `open` gives None for what is not ours. ValueError for an id that cannot be made.
"""

from __future__ import annotations

import binascii
import hmac
import struct
from base64 import b32decode, b32encode
from collections.abc import Sequence
from typing import NamedTuple

PREFIX = "b+"
_COPY = struct.Struct(">16sI")
_MAC_BYTES = 8
_CHARACTERS = -(-(_COPY.size + _MAC_BYTES) * 8 // 5)
_PADDING = "=" * (-_CHARACTERS % 8)


class ReturnId(NamedTuple):
    """One copy: the message (UUIDv7, 16 bytes) and which of its recipients."""

    message_id: bytes
    copy_no: int


class ReturnKeys:
    """Makes and opens the local parts of one controller. `keys`: newest first; the first makes, each opens."""

    __slots__ = ("_keys",)

    def __init__(self, keys: Sequence[bytes]) -> None:
        if not keys:
            raise ValueError("at least one key")
        self._keys = tuple(keys)

    def make(self, message_id: bytes, copy_no: int) -> str:
        """The local part, 47 characters."""
        if len(message_id) != 16 or not 0 <= copy_no < 1 << 32:
            raise ValueError("a message id has 16 bytes, a copy's number 32 bits")
        copy = _COPY.pack(message_id, copy_no)
        return PREFIX + b32encode(copy + _mac(self._keys[0], copy)).decode("ascii").rstrip("=").lower()

    def open(self, local: str) -> ReturnId | None:
        """The copy a local part names; None where it is not one of ours or was changed."""
        if len(local) != len(PREFIX) + _CHARACTERS or local[: len(PREFIX)].lower() != PREFIX or not local.isascii():
            return None
        written = local[len(PREFIX) :].upper()
        try:
            raw = b32decode(written + _PADDING)
        except binascii.Error:
            return None
        copy, mac = raw[: _COPY.size], raw[_COPY.size :]
        if b32encode(raw).decode("ascii").rstrip("=") != written:
            return None  # the last character has a spare bit: one copy has one spelling
        if not any(hmac.compare_digest(_mac(key, copy), mac) for key in self._keys):
            return None
        return ReturnId(*_COPY.unpack(copy))


def _mac(key: bytes, copy: bytes) -> bytes:
    return hmac.digest(key, copy, "sha256")[:_MAC_BYTES]
