"""Transfer encodings (RFC 2045 section 6): decode a body, encode one, and find a decoded place in the encoded bytes.

What is put into an encoded body is put between bytes that stay as they are; `decode` of the whole must give the decoded
original with exactly the addition. Decoding sides with `binascii`, which is what the standard library's parser uses.

Never produces a bare CR or LF, or a line over 76 octets.
"""

import binascii
import re
from collections.abc import Sequence
from typing import Literal

Encoding = Literal["identity", "quoted-printable", "base64"]

_NAMES: dict[bytes, Encoding] = {
    b"": "identity",
    b"7bit": "identity",
    b"8bit": "identity",
    b"binary": "identity",
    b"7-bit": "identity",
    b"8-bit": "identity",
    b"7bits": "identity",
    b"8bits": "identity",
    b"none": "identity",
    b"plain": "identity",
    b"text/plain": "identity",
    b"text/html": "identity",
    b"us-ascii": "identity",
    b"utf-8": "identity",
    b"quoted-printable": "quoted-printable",
    b"base64": "base64",
}
_COMMENT = re.compile(rb"\((?:[^()\\]|\\.)*+\)")
_WIDTH = 75
_NEAR_END = 2000
_QP_SPECIAL = re.compile(
    rb"[^\t\r\n -<>-~]|\r(?!\n)|(?<!\r)\n|(?<![ \t])[ \t]++(?=\r\n|\Z)|^\.(?=\r\n|\Z)", re.MULTILINE
)
_QP_TOKEN = re.compile(rb"=(?:\r\n|[0-9A-Fa-f]{2}|=)?")


def encoding_of(value: bytes | None) -> Encoding | None:
    """The encoding a Content-Transfer-Encoding value names; identity when absent or empty, None when unknown.

    Words that common tools put there by mistake, and every reader takes for none, count as identity; comments are none
    (RFC 2045 section 6.1).
    """
    if value is None:
        return "identity"
    if b"(" in value:
        value = _COMMENT.sub(b"", value)
    return _NAMES.get(value.partition(b";")[0].strip().lower())


def decode(encoding: Encoding, body: bytes) -> bytes:
    """The decoded body. Total: what is no valid encoding is decoded as far as it goes."""
    if encoding == "quoted-printable":
        return binascii.a2b_qp(body) if b"=" in body else body
    if encoding == "base64":
        try:
            return binascii.a2b_base64(body)
        except binascii.Error:
            return _decode_broken_base64(body)
    return body


def _decode_broken_base64(body: bytes) -> bytes:
    """Missing padding is added; a single digit left over, which carries no octet, is dropped."""
    digits = re.sub(rb"[^A-Za-z0-9+/]", b"", body)
    digits = digits[: len(digits) - (len(digits) % 4 == 1)]
    return binascii.a2b_base64(digits + b"=" * (-len(digits) % 4))


def encode_qp(data: bytes) -> bytes:
    """Quoted-printable; CRLF stays a line end, any other CR or LF is quoted. The last line gets no CRLF of its own.

    Every line is at most 75 octets, so that a soft break may still be put behind the last.
    """
    data = _QP_SPECIAL.sub(_quote, data)
    if len(data) <= _WIDTH:
        return data
    return b"\r\n".join([line if len(line) <= _WIDTH else _wrap_qp(line) for line in data.split(b"\r\n")])


def _quote(found: re.Match[bytes]) -> bytes:
    text = found[0]
    if len(text) == 1:
        return b"=%02X" % text[0]
    return text[:-1] + b"=%02X" % text[-1]


def _wrap_qp(line: bytes) -> bytes:
    pieces, at = [], 0
    while len(line) - at > _WIDTH:
        cut = at + _WIDTH
        quote = line.rfind(b"=", cut - 2, cut)
        if quote >= 0:
            cut = quote
        pieces.append(line[at:cut])
        at = cut
    pieces.append(line[at:])
    return b"=\r\n".join(pieces)


def encode_qp_link(url: bytes) -> bytes:
    """A URL that begins at the start of a line and ends in a soft break, so that anything may follow."""
    url = url.replace(b"=", b"=3D")
    return (url if len(url) <= _WIDTH else _wrap_qp(url)) + b"=\r\n"


def encode_base64(data: bytes) -> bytes:
    """Base64 in lines of 76, each with its CRLF; nothing for nothing."""
    text = binascii.b2a_base64(data, newline=False)
    if len(text) <= 76:
        return text + b"\r\n" if text else b""
    return b"\r\n".join([text[i : i + 76] for i in range(0, len(text), 76)]) + b"\r\n"


def qp_positions(body: bytes, decoded: bytes, wanted: Sequence[int]) -> list[int] | None:
    """Where decoded octets (ascending) begin in a quoted-printable body; None if the body is too odd to say.

    Walks from the nearer end: the footer's place is usually a few octets before the end.
    """
    if wanted and len(decoded) - wanted[0] <= _NEAR_END:
        found = [_qp_from_end(body, len(decoded) - at) for at in wanted]
        positions = [position for position in found if position is not None]
        return positions if len(positions) == len(wanted) else None
    return _qp_from_start(body, wanted)


def _qp_from_start(body: bytes, wanted: Sequence[int]) -> list[int] | None:
    """Encoded and decoded positions drift apart by two at each `=XX`, by three at each soft break."""
    positions: list[int] = []
    drift = 0
    waiting = iter(wanted)
    at = next(waiting, None)
    for token in _QP_TOKEN.finditer(body):
        while at is not None and token.start() - drift >= at:
            positions.append(at + drift)
            at = next(waiting, None)
        if at is None:
            return positions
        drift += _lost(token[0], token.end() == len(body))
    while at is not None:
        positions.append(at + drift)
        at = next(waiting, None)
    return positions if not positions or positions[-1] <= len(body) else None


def _lost(token: bytes, last: bool) -> int:
    """Octets that decoding a token takes away."""
    if token == b"=":
        return 1 if last else 0
    return {2: 1, 3: 3 if token[1:] == b"\r\n" else 2}[len(token)]


def _qp_from_end(body: bytes, wanted: int) -> int | None:
    """The same, from the last line back: a line decodes by itself."""
    if not wanted:
        return len(body)
    line_start = len(body)
    while line_start > 0:
        line_end = line_start
        line_start = body.rfind(b"\n", 0, line_end - 1) + 1
        size = len(binascii.a2b_qp(body[line_start:line_end]))
        if size >= wanted:
            within = _qp_from_start(body[line_start:line_end], (size - wanted,))
            return None if within is None else line_start + within[0]
        wanted -= size
    return None


def base64_line(body: bytes, at: int) -> tuple[int, int]:
    """The last place up to decoded octet `at` where a line of the body begins on a full group of four digits.

    Gives (position in the body, decoded octets before it); (0, 0) when the body is not in even lines.
    """
    width = body.find(b"\r\n")
    if width <= 0 or width % 4:
        return 0, 0
    lines = at // (width // 4 * 3)
    position = lines * (width + 2)
    if position > len(body) or (lines and body[position - 2 : position] != b"\r\n"):
        return 0, 0
    before = body[:position]
    if before.count(b"\r\n") != lines or b"=" in before or b" " in before or b"\t" in before:
        return 0, 0
    return position, lines * (width // 4 * 3)
