"""The content of PKCS#7 signed-data that carries its content with it (RFC 5652 section 5, RFC 8551 section 3.5.2).

Only looked into, never changed, and no signature is checked: the question is whether a reader is shown an opt-out.
Reads BER (X.690), definite and indefinite lengths; anything unexpected gives None.
"""

from typing import NamedTuple

_SIGNED_DATA = bytes.fromhex("2a864886f70d010702")
_MOST = 10_000


class _Item(NamedTuple):
    tag: int
    start: int
    end: int
    after: int


def signed_content(data: bytes) -> bytes | None:
    """The octets that were signed, or None when this is no signed-data with content."""
    try:
        info = _item(data, 0)
        kind = _item(data, info.start)
        if data[kind.start : kind.end] != _SIGNED_DATA:
            return None
        signed = _item(data, _item(data, kind.after).start)
        version = _item(data, signed.start)
        algorithms = _item(data, version.after)
        encapsulated = _item(data, algorithms.after)
        content_kind = _item(data, encapsulated.start)
        if content_kind.after >= encapsulated.end:
            return None
        return _octets(data, _item(data, _item(data, content_kind.after).start))
    except (IndexError, ValueError):
        return None


def _item(data: bytes, at: int) -> _Item:
    """The tag-length-value at a position; multi-octet tags do not occur in what is read here."""
    tag, length, start = data[at], data[at + 1], at + 2
    if tag & 0x1F == 0x1F:
        raise ValueError("long tag")
    if length == 0x80:
        end = _indefinite_end(data, start)
        return _Item(tag, start, end, end + 2)
    if length > 0x80:
        size = length & 0x7F
        if size > 8:
            raise ValueError("length")
        length = int.from_bytes(data[start : start + size], "big")
        start += size
    if start + length > len(data):
        raise ValueError("length")
    return _Item(tag, start, start + length, start + length)


def _indefinite_end(data: bytes, at: int) -> int:
    """Where the end-of-contents octets of an indefinite length are, without calling itself for what is nested."""
    depth, steps = 1, 0
    while True:
        steps += 1
        if steps > _MOST:
            raise ValueError("too many items")
        if data[at] == 0 and data[at + 1] == 0:
            depth -= 1
            if not depth:
                return at
            at += 2
        elif data[at + 1] == 0x80:
            depth += 1
            at += 2
        else:
            at = _item(data, at).after


def _octets(data: bytes, item: _Item) -> bytes | None:
    """An OCTET STRING, in one piece or in several."""
    if item.tag == 0x04:
        return data[item.start : item.end]
    if item.tag != 0x24:
        return None
    pieces: list[bytes] = []
    at = item.start
    while at < item.end:
        piece = _item(data, at)
        if piece.tag != 0x04 or len(pieces) > _MOST:
            return None
        pieces.append(data[piece.start : piece.end])
        at = piece.after
    return b"".join(pieces)
