"""Header fields as spans of the message's own bytes (RFC 5322 section 2.2, RFC 2045 section 5, RFC 2047, RFC 2231).

A field is never taken apart and put together again: it keeps the bytes it came with, and is either left, left out or
replaced as a whole. Values are read only where something is decided on them.

Never does: repair a header. The first line that is neither a field nor a continuation ends the header, as it does in
common mail servers and in the standard library's parser.
"""

import base64
import binascii
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from gateway.mail.charset import characters, text_codec

MAX_FIELDS = 2000
"""Fields in one header, at most; more is no mail but an attack on the reader."""

MAX_HEADER = 1_000_000
"""Octets in one header, at most."""

MAX_LINE = 998
"""Octets in a line, without its CRLF (RFC 5321 section 4.5.3.1.6, RFC 5322 section 2.1.1)."""

MBOX_LINE = b"from "
"""Name given to the envelope line of a mailbox file at the top of a message; no field has a space in its name."""

_MBOX_LINE = re.compile(rb">?From [^\r]*\r\n")
_FIELD = re.compile(rb"([!-9;-~]+)[ \t]*:[^\r]*(?:\r\n[ \t][^\r]*)*(?:\r\n|\Z)")
_TYPE = re.compile(rb"[ \t]*([!#$%&'*+.^_`{|}~0-9a-z-]+/[!#$%&'*+.^_`{|}~0-9a-z-]+)", re.IGNORECASE)
PARAMETER = re.compile(rb';\s*([^\s;=]+)\s*=\s*(?:"((?:[^"\\]|\\.)*+)"|([^\s;]*))', re.DOTALL)
"""One parameter of a structured field: its name, its quoted value or its plain one (RFC 2045 section 5.1)."""

_COMMENTED = re.compile(rb'"(?:[^"\\]|\\.)*+"?|(?<![^\s;])\((?:[^()\\]|\\.)*+\)', re.DOTALL)
_WORD = re.compile(rb"=\?([^?\s]+)\?([bBqQ])\?([^?]*)\?=(?:\s+(?==\?[^?\s]+\?[bBqQ]\?[^?]*\?=))?")
_Q_ESCAPE = re.compile(rb"=([0-9A-Fa-f]{2})")
_QUOTED = re.compile(rb'"(?:[^"\\]|\\.)*+"?', re.DOTALL)
_ANGLED = re.compile(rb"<[^>]*+>?")
_URI = re.compile(rb"<([^<>]*)>")


class Unparsable(Exception):
    """These bytes are no mail message that could be read one way only. `reason` holds nothing of the message."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Field(NamedTuple):
    """One header field; a named tuple and not a dataclass since a message has dozens and they are made per message.

    `name` is lower case, without the colon. `start:end` spans the field in the message, its last CRLF included.
    `value` is where the value begins: the octet behind the colon.
    """

    name: bytes
    start: int
    end: int
    value: int


def read_fields(raw: bytes, at: int, stops: Mapping[bytes, object]) -> tuple[tuple[Field, ...], int, int]:
    """Read fields from `at` on: the fields, where the header ends, where the body begins.

    Header end and body begin differ by the two octets of the empty line, where there is one. `stops` holds the
    boundaries of the multiparts around: a line that is a delimiter of one of them ends the header (a boundary may hold
    a colon, RFC 2046 section 5.1.1). Raises Unparsable over MAX_FIELDS or MAX_HEADER.
    """
    fields: list[Field] = []
    match = _FIELD.match
    if at == 0 and (envelope := _MBOX_LINE.match(raw)):
        at = envelope.end()
        fields.append(Field(MBOX_LINE, 0, at, 0))
    while True:
        if raw.startswith(b"\r\n", at):
            return tuple(fields), at, at + 2
        if stops and raw.startswith(b"--", at) and _is_delimiter(raw, at, stops):
            return tuple(fields), at, at
        found = match(raw, at)
        if found is None:
            return tuple(fields), at, at
        at, colon = found.end(), found.end(1)
        if raw[colon] != 58:
            colon = raw.index(b":", colon)
        fields.append(Field(found[1].lower(), found.start(), at, colon + 1))
        if len(fields) > MAX_FIELDS or at - fields[0].start > MAX_HEADER:
            raise Unparsable("header too large")


def _is_delimiter(raw: bytes, at: int, stops: Mapping[bytes, object]) -> bool:
    end = raw.find(b"\r\n", at)
    line = raw[at + 2 : end if end >= 0 else len(raw)].rstrip(b" \t")
    return line in stops or (line.endswith(b"--") and line[:-2] in stops)


def unfold(value: bytes) -> bytes:
    """A field's value on one line, without white space at either end (RFC 5322 section 2.2.3)."""
    if b"\r\n" in value:
        value = value.replace(b"\r\n", b"")
    return value.strip(b" \t")


def value_of(raw: bytes, fields: Sequence[Field], name: bytes) -> bytes | None:
    """The unfolded value of the first field of that name (lower case), or None."""
    for field in fields:
        if field.name == name:
            return unfold(raw[field.value : field.end])
    return None


def values_of(raw: bytes, fields: Sequence[Field], name: bytes) -> list[bytes]:
    """The unfolded values of all fields of that name (lower case), in their order."""
    return [unfold(raw[field.value : field.end]) for field in fields if field.name == name]


def media_type(value: bytes) -> tuple[bytes | None, dict[bytes, bytes]]:
    """Read an unfolded Content-Type or Content-Disposition: (type in lower case, parameters by lower-case name).

    The type is None when it is no `type/subtype`. Of a parameter given twice the first counts. Comments are skipped,
    quoted strings unquoted, the pieces and percent signs of RFC 2231 put together.
    """
    if b"(" in value:
        value = _COMMENTED.sub(lambda m: b" " if m[0].startswith(b"(") else m[0], value)
    named = _TYPE.match(value)
    parameters: dict[bytes, bytes] = {}
    extended = False
    for found in PARAMETER.finditer(value):
        name = found[1].lower()
        extended = extended or b"*" in name
        text = found[2]
        if text is None:
            text = found[3].lstrip(b'"')
        elif b"\\" in text:
            text = re.sub(rb"\\(.)", rb"\1", text, flags=re.DOTALL)
        parameters.setdefault(name, text)
    if extended:
        _put_together(parameters)
    return (named[1].lower() if named else None), parameters


def _put_together(parameters: dict[bytes, bytes]) -> None:
    """Replace `name*`, `name*0`, `name*1*` ... by `name` (RFC 2231 sections 3 and 4)."""
    for key in [k for k in parameters if b"*" in k]:
        name, _, rest = key.partition(b"*")
        if name in parameters or rest not in (b"", b"0", b"0*"):
            continue
        if not rest:
            parameters[name] = _percent(parameters[key])
            continue
        pieces, number = [], 0
        while True:
            plain, coded = parameters.get(b"%s*%d" % (name, number)), parameters.get(b"%s*%d*" % (name, number))
            if plain is None and coded is None:
                break
            pieces.append(plain if plain is not None else _percent(coded or b"", first=number == 0))
            number += 1
        parameters[name] = b"".join(pieces)


def _percent(text: bytes, *, first: bool = True) -> bytes:
    if first and text.count(b"'") >= 2:
        text = text.split(b"'", 2)[2]
    return re.sub(rb"%([0-9A-Fa-f]{2})", lambda m: bytes((int(m[1], 16),)), text)


def decode_words(value: bytes) -> str:
    """A header value as people read it: RFC 2047 words decoded, raw octets as UTF-8. Total: never raises."""
    pieces: list[str] = []
    at = 0
    for word in _WORD.finditer(value):
        pieces.append(value[at : word.start()].decode("utf-8", "replace"))
        pieces.append(_decode_word(word[1], word[2], word[3]))
        at = word.end()
    pieces.append(value[at:].decode("utf-8", "replace"))
    return "".join(pieces)


def _decode_word(charset: bytes, encoding: bytes, text: bytes) -> str:
    if encoding in b"bB":
        try:
            octets = base64.b64decode(text + b"=" * (-len(text) % 4))
        except binascii.Error:
            return text.decode("ascii", "replace")
    else:
        octets = _Q_ESCAPE.sub(lambda m: bytes((int(m[1], 16),)), text.replace(b"_", b" "))
    codec = text_codec(charset.split(b"*", 1)[0]) or "utf-8"
    return characters(octets, codec)


def encode_words(text: str) -> bytes:
    """The text as RFC 2047 words, folded, each at most 75 octets; plain ASCII without specials stays as it is."""
    if text.isascii() and text.isprintable():
        return text.encode("ascii")
    words: list[bytes] = []
    piece = b""
    for character in text:
        octets = character.encode("utf-8", "replace")
        if len(piece) + len(octets) > 45:
            words.append(piece)
            piece = b""
        piece += octets
    words.append(piece)
    return b"\r\n ".join(b"=?utf-8?B?%s?=" % base64.b64encode(word) for word in words)


def count_addresses(value: bytes) -> int:
    """How many mailboxes an unfolded To or Cc value shows; the members of a group are counted, an empty one is none.

    What cannot be read is counted rather than overlooked: too many shown addresses is the harmless mistake here.
    Source: RFC 5322 section 3.4.
    """
    value = _without_comments(_QUOTED.sub(b"q", value))
    items = _ANGLED.sub(b"a", value).replace(b";", b",").split(b",")
    return sum(1 for item in items if item.rpartition(b":")[2].strip())


def _without_comments(value: bytes) -> bytes:
    if b"(" not in value:
        return value
    kept, depth = bytearray(), 0
    skip = False
    for octet in value:
        if skip:
            skip = False
        elif octet == 92 and depth:
            skip = True
        elif octet == 40:
            depth += 1
        elif octet == 41 and depth:
            depth -= 1
        elif not depth:
            kept.append(octet)
    return bytes(kept)


def list_uris(value: bytes) -> tuple[str, ...]:
    """The URIs of a List-* field, in their order (RFC 2369 section 2); white space inside `<>` is folding, and goes."""
    return tuple(re.sub(rb"\s+", b"", uri).decode("ascii", "replace") for uri in _URI.findall(_without_comments(value)))


def has_long_line(raw: bytes, start: int, end: int) -> bool:
    """Whether a line that begins in `start:end` is over 998 octets. Jumps from line end to line end, back to front."""
    limit = MAX_LINE + 2
    while end - start > MAX_LINE:
        found = raw.rfind(b"\n", start, min(start + limit, end))
        if found < 0:
            return True
        start = found + 1
    return False
