"""Keys of the API: how one looks, how it is made and checked.

A key is `cg_` and 59 characters of base64url: the controller's number (4 bytes), the key's id (8) and a secret (32
random bytes). What is stored is SHA-256 over the whole: with 256 random bits in it there is nothing to guess, and a
slow hash would only slow down every request. The prefix lets scanners of source code recognise a key in it.
"""

import base64
import binascii
import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass
from typing import Final

from gateway.store.access import ApiKey

SCOPES: Final = {
    "consents:write": "record consents given at the controller's own forms",
    "decisions:read": "ask why a message was or was not sent to somebody",
}
"""What a key may be allowed, and what each says."""

_PREFIX: Final = "cg_"
_NUMBER, _ID, _SECRET = 4, 8, 32
_FORM: Final = re.compile(r"cg_[A-Za-z0-9_-]{59}")


@dataclass(frozen=True, slots=True)
class Presented:
    """What a key says of itself; only `fits` says whether it is true."""

    controller_no: int
    key_id: bytes
    digest: bytes


def make(controller_no: int) -> tuple[str, bytes, bytes]:
    """A new key: the text that is shown once, its id, and the digest that is kept."""
    key_id = secrets.token_bytes(_ID)
    raw = controller_no.to_bytes(_NUMBER, "big") + key_id + secrets.token_bytes(_SECRET)
    return _PREFIX + base64.urlsafe_b64encode(raw).rstrip(b"=").decode("ascii"), key_id, _digest(raw)


def read(text: str) -> Presented | None:
    """What a presented key says; None where it has not the form of one."""
    if not _FORM.fullmatch(text):
        return None
    try:
        raw = base64.urlsafe_b64decode(text.removeprefix(_PREFIX) + "=")
    except binascii.Error:
        return None
    number, key_id = raw[:_NUMBER], raw[_NUMBER : _NUMBER + _ID]
    return Presented(controller_no=int.from_bytes(number, "big"), key_id=key_id, digest=_digest(raw))


def fits(presented: Presented, kept: ApiKey) -> bool:
    """Whether the presented key is the one that is on file; in constant time."""
    return hmac.compare_digest(presented.digest, kept.digest)


def _digest(raw: bytes) -> bytes:
    return hashlib.sha256(b"consentgate api key\0" + raw).digest()
