"""The two SASL mechanisms offered, PLAIN (RFC 4616) and LOGIN (draft-murchison-sasl-login), as RFC 4954 carries them.

Purpose: what the client's responses say. It never checks a password. Failures: the Reply to give.
"""

from __future__ import annotations

import binascii
from base64 import b64decode, b64encode
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from gateway.mail import reply
from gateway.mail.reply import Reply

MECHANISMS = ("PLAIN", "LOGIN")
RESPONSE_OCTETS = 12_288  # RFC 4954 4, longest line with its CRLF

Ask = Callable[[bytes], Awaitable[bytes | Reply]]
"""Send a challenge (base64, without code and CRLF) and read the response line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    name: str
    password: str

    def __repr__(self) -> str:
        return "Credentials()"


async def exchange(mechanism: str, initial: bytes | None, ask: Ask) -> Credentials | Reply:
    """Run one of MECHANISMS. `initial`: the initial response, None without one."""
    if mechanism == "PLAIN":
        response = initial if initial is not None else await ask(b"")
        return plain(decoded) if isinstance(decoded := _decode(response), bytes) else decoded
    name = initial if initial is not None else await ask(b64encode(b"Username:"))
    if not isinstance(user := _decode(name), bytes):
        return user
    if not isinstance(password := _decode(await ask(b64encode(b"Password:"))), bytes):
        return password
    return _credentials(user, password)


def plain(message: bytes) -> Credentials | Reply:
    """authzid NUL authcid NUL password. Acting for somebody else is not offered: authzid is empty or the same name."""
    parts = message.split(b"\0")
    if len(parts) != 3:
        return reply.BAD_BASE64
    authzid, authcid, password = parts
    if authzid not in (b"", authcid):
        return reply.LOGIN_WRONG
    return _credentials(authcid, password)


def _credentials(name: bytes, password: bytes) -> Credentials | Reply:
    try:
        return Credentials(name=name.decode(), password=password.decode())
    except UnicodeDecodeError:
        return reply.LOGIN_WRONG


def _decode(response: bytes | Reply) -> bytes | Reply:
    if isinstance(response, Reply):
        return response
    if response == b"*":
        return reply.AUTH_CANCELLED
    if response == b"=":  # RFC 4954 4: an empty initial response
        return b""
    try:
        return b64decode(response, validate=True)
    except (binascii.Error, ValueError):
        return reply.BAD_BASE64
