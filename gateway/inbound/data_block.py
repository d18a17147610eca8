"""One DATA block as it arrives in chunks (RFC 5321 4.1.1.4, 4.5.2).

Purpose: find the end (CRLF.CRLF and nothing else), keep the content while it is within the limit, then say whether
it can be taken. It never ends a block at a bare CR, bare LF or NUL: those are read over and refused at the end, so
no byte of a message is ever run as a command (SMTP smuggling).
Failures: `content` returns the Reply to give. Memory: at most `limit` octets plus one chunk are kept; twice that for a
moment in `content`.
"""

from __future__ import annotations

from gateway.mail import reply
from gateway.mail.reply import Reply

_END = b"\r\n.\r\n"
HEADER_LINE_OCTETS = 998  # RFC 5322 2.1.1, without CRLF


class DataBlock:
    """`limit`: most octets of content, counted as sent (dots still stuffed).

    `octets`: how many came so far; `kept`: how many of them are in memory.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.octets = 0
        self.kept = 0
        self._kept = bytearray()
        self._refusal: Reply | None = None
        self._tail = b"\r\n"  # the block begins at a line's beginning, so "." CRLF at once is an empty message

    def feed(self, chunk: bytes) -> int | None:
        """Take a chunk. None: the end has not come yet. Else how many octets of the chunk belong to this block."""
        used = self._end_in(chunk)
        mine = chunk if used is None or used == len(chunk) else chunk[:used]
        self._tail = mine[-4:] if len(mine) >= 4 else (self._tail + mine)[-4:]
        self.octets += len(mine)
        if self.octets - 3 > self.limit:  # the final dot and its CRLF are not content
            self.drop(reply.TOO_LARGE)
        if self._refusal is None:
            self._kept += mine
            self.kept = self.octets
        return used

    def drop(self, refusal: Reply) -> None:
        """Keep nothing from here on; the block is read to its end and then refused. The first reason stays."""
        self._refusal = self._refusal or refusal
        self._kept.clear()
        self.kept = 0

    def content(self) -> bytes | Reply:
        """The message with dots unstuffed, or why it is refused. Only after the end was found."""
        if self._refusal is not None:
            return self._refusal
        kept, self._kept = self._kept, bytearray()
        del kept[-3:]
        raw = bytes(kept)
        del kept
        line_ends = raw.count(b"\r\n")
        if raw.count(b"\n") != line_ends or raw.count(b"\r") != line_ends or b"\0" in raw:
            return reply.BARE_LINE_END
        if raw.startswith(b"."):
            raw = raw[1:]
        if b"\r\n." in raw:
            raw = raw.replace(b"\r\n.", b"\r\n")
        return reply.HEADER_TOO_LONG if _has_long_header_line(raw) else raw

    def _end_in(self, chunk: bytes) -> int | None:
        # A terminator that began in an earlier chunk ends within the first four octets of this one.
        across = (self._tail + chunk[:4]).find(_END)
        if across >= 0:
            return across + len(_END) - len(self._tail)
        at = chunk.find(_END)
        return None if at < 0 else at + len(_END)


def _has_long_header_line(message: bytes) -> bool:
    if message.startswith(b"\r\n"):
        return False
    end = message.find(b"\r\n\r\n")
    header = message if end < 0 else message[:end]
    return len(header) > HEADER_LINE_OCTETS and max(map(len, header.split(b"\r\n"))) > HEADER_LINE_OCTETS
