"""The tokens in links: stateless, opaque, never expiring (RULES.md 5.2.4, 5.2.5; P10).

AES-SIV (RFC 5297, 512-bit key) over fixed-width fields; the key id and the kind are associated data, so a token of one
kind never opens another and old keys still open old links. A token names its recipient by recipient key alone: it
carries no address and survives erasure and restore. At most 120 characters of the base64url alphabet.
"""

import base64
import binascii
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV

Kind = Literal["unsubscribe", "preferences", "why", "rights", "confirm"]

# Positions are part of every link ever sent: append, never reorder.
BASES: Final = (
    None, "opt_in", "soft_opt_in", "charity", "b2b", "implied", "opt_out_regime", "transactional", "notice", "doi",
)  # fmt: skip
_FIELDS = struct.Struct(">I16sIIB16s")
_SIV_BYTES = 16
LENGTH: Final = len(base64.urlsafe_b64encode(bytes(1 + _SIV_BYTES + _FIELDS.size)).rstrip(b"="))


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkToken:
    """Who clicked what: numbers are 32 bits, given once and never reused; 0 means none."""

    kind: Kind
    controller_no: int
    recipient_key: bytes
    stream_no: int
    purpose_no: int
    basis: str | None
    message_id: bytes


class TokenKeys:
    """Makes and opens tokens. `keys` are 64 bytes each, by key id (1 to 255); the highest id makes new ones."""

    def __init__(self, keys: Mapping[int, bytes]) -> None:
        self._ciphers = {key_id: AESSIV(key) for key_id, key in keys.items()}
        self._current = max(self._ciphers)

    def make(self, token: LinkToken) -> str:
        """The token as it stands in a URL."""
        plain = _FIELDS.pack(
            token.controller_no, token.recipient_key, token.stream_no, token.purpose_no,
            BASES.index(token.basis), token.message_id,
        )  # fmt: skip
        sealed = self._ciphers[self._current].encrypt(plain, _bound(self._current, token.kind))
        return _text(bytes([self._current]) + sealed)

    def open(self, kind: Kind, text: str) -> LinkToken | None:
        """What the token says; None where it is not one of ours, of another kind, or changed."""
        if len(text) != LENGTH or not text.isascii():
            return None
        try:
            raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        except binascii.Error:
            return None
        if _text(raw) != text:  # the last character has two spare bits: one link has one spelling
            return None
        cipher = self._ciphers.get(raw[0])
        if cipher is None:
            return None
        try:
            fields = _FIELDS.unpack(cipher.decrypt(raw[1:], _bound(raw[0], kind)))
        except InvalidTag:
            return None
        controller_no, recipient_key, stream_no, purpose_no, basis, message_id = fields
        if basis >= len(BASES):
            return None
        return LinkToken(
            kind=kind, controller_no=controller_no, recipient_key=recipient_key, stream_no=stream_no,
            purpose_no=purpose_no, basis=BASES[basis], message_id=message_id,
        )  # fmt: skip


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode("ascii")


def _bound(key_id: int, kind: Kind) -> list[bytes]:
    return [bytes([key_id]), kind.encode()]
