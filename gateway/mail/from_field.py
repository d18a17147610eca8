"""Who a message says it is from: the one address of its one From field (RFC 5322 3.4, 3.6.2).

Purpose: the address that everybody who reads the field would read. It never repairs and never guesses: two fields, two
addresses, a group, an address literal, or a display name that is itself another address conceal the sender (ePD 13(4)).
Failures: None. Time is linear in the length of the field.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from suppression.address import domain_of
from suppression.frozen import quick_init

_TOKEN = re.compile(
    rb"""
      (?P<quoted> " (?: [^"\\] | \\. )*+ " )
    | (?P<angle> < [^<>]*+ > )
    | (?P<special> [,;:<>()"] )
    | (?P<blank> [ \t\r\n]++ )
    | (?P<text> [^ \t\r\n,;:<>()"]++ )
    """,
    re.VERBOSE | re.DOTALL,
)
_ROUTE_OR_LITERAL = re.compile(rb"^@|@\[")
REMEMBERED = 400
"""Octets of a field up to which its author is remembered: all messages of a campaign have the same."""


@quick_init
@dataclass(frozen=True, slots=True, kw_only=True)
class Author:
    """`address` as written, without comments; `domain` its domain as lower-case A-label."""

    address: str
    domain: str


def read_author(values: list[bytes]) -> Author | None:
    """The author by the unfolded values of all From fields of a message, or None when there is not exactly one."""
    if len(values) != 1:
        return None
    return _remembered(values[0]) if len(values[0]) <= REMEMBERED else _read(values[0])


def _read(value: bytes) -> Author | None:
    bare = _without_comments(value)
    if bare is None:
        return None
    phrase: list[bytes] = []
    angles: list[bytes] = []
    for token in _TOKEN.finditer(bare):
        if token["special"]:
            return None  # a list, a group, or brackets that do not match
        if token["angle"]:
            angles.append(token["angle"][1:-1])
        elif not token["blank"]:
            if angles:
                return None  # text behind the address
            phrase.append(token[0])
    if len(angles) > 1:
        return None
    if not angles:
        return _author(bare)
    author = _author(angles[0])
    shown = [word for word in phrase if b"@" in word and not word.startswith(b'"')]
    if author is None or any(word.decode("utf-8", "replace").casefold() != author.address.casefold() for word in shown):
        return None
    return author


_remembered = lru_cache(maxsize=256)(_read)


def _author(text: bytes) -> Author | None:
    """An addr-spec; blanks are allowed beside the @ (RFC 5322 4.4) and nowhere else outside quotes."""
    text = text.strip(b" \t\r\n")
    if _ROUTE_OR_LITERAL.search(text):
        return None
    local, at, domain = text.rpartition(b"@")
    local, domain = local.rstrip(b" \t\r\n"), domain.lstrip(b" \t\r\n")
    if not at or not local or len(local) > 64:
        return None
    if local.startswith(b'"'):
        if not re.fullmatch(rb'"(?:[^"\\]|\\.)*+"', local, re.DOTALL):
            return None
    elif re.search(rb'[\s@<>()\[\]:;,"\\]', local) or local.startswith(b".") or local.endswith(b".") or b".." in local:
        return None
    try:
        name = domain_of(domain.decode("utf-8"))
        address = f"{local.decode('utf-8')}@{name}"
    except UnicodeDecodeError:
        return None
    return Author(address=address, domain=name) if name is not None else None


def _without_comments(value: bytes) -> bytes | None:
    """The value with each comment as one blank; None when a comment or a quoted string does not end."""
    if b"(" not in value and b")" not in value:
        return value
    kept = bytearray()
    depth, quoted, at = 0, False, 0
    while at < len(value):
        octet = value[at : at + 1]
        if octet == b"\\" and (quoted or depth):
            octet = value[at : at + 2]
        elif octet == b'"' and not depth:
            quoted = not quoted
        elif octet == b"(" and not quoted:
            depth += 1
            if depth == 1:
                kept += b" "
        elif octet == b")" and not quoted:
            depth -= 1
            if depth < 0:
                return None
            at += 1
            continue
        if not depth:
            kept += octet
        at += len(octet)
    return None if depth or quoted else bytes(kept)
