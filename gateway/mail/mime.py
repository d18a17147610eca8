"""What a message is: one pass over its bytes, giving spans (RFC 5322, RFC 2045-2047).

Nothing is copied out or decoded here. Bodies of message/rfc822 parts are leaves: what is forwarded is nobody's to edit.
Where parsers differ, this one sides with the standard library's email package and common mail servers: the first field
of a name counts, a line that is a delimiter of any open multipart closes the ones inside, a delimiter must match the
whole line (so boundaries may prefix each other), a missing final delimiter is forgiven.

Failures: Unparsable, for what has no header, holds NUL or bare CR or LF, or goes over the limits below. Time is linear
in the size of the message whatever it holds.
"""

from dataclasses import dataclass

from gateway.mail.headers import MBOX_LINE, Field, Unparsable, media_type, read_fields, value_of, values_of
from suppression.frozen import quick_init

MAX_DEPTH = 50
"""Multiparts inside each other, at most."""

MAX_PARTS = 2000
"""Parts of one message, at most."""

MAX_DASHED = 300_000
"""Lines that begin with two hyphens, at most: each could be a delimiter and must be looked at."""


@quick_init
@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One MIME part. All numbers are positions in `raw`; `path` is IMAP's part number ("" for a multipart root).

    `type` is in lower case, text/plain (in a digest message/rfc822) when absent or unreadable. `head_end` is where the
    fields end and `body_start` where the body begins, two octets later when there is an empty line. `end` does not
    count the CRLF before the next delimiter (RFC 2046 section 5.1.1). A multipart without readable delimiters has no
    children.
    """

    raw: bytes
    path: str
    type: bytes
    parameters: dict[bytes, bytes]
    fields: tuple[Field, ...]
    start: int
    head_end: int
    body_start: int
    end: int
    children: "tuple[Part, ...]"

    @property
    def body(self) -> bytes:
        """The body as it is in the message, still in its transfer encoding."""
        return self.raw[self.body_start : self.end]

    @property
    def is_multipart(self) -> bool:
        """Whether the part holds other parts, or says so."""
        return self.type.startswith(b"multipart/")

    @property
    def charset(self) -> bytes | None:
        """The charset parameter as given; None when there is none."""
        return self.parameters.get(b"charset")

    @property
    def disposition(self) -> tuple[bytes | None, dict[bytes, bytes]]:
        """Content-Disposition: (`attachment`, `inline`, another word or None; its parameters). RFC 2183."""
        value = self.get(b"content-disposition")
        if value is None:
            return None, {}
        return value.partition(b";")[0].strip().lower(), media_type(value)[1]

    def get(self, name: bytes) -> bytes | None:
        """The unfolded value of the first field of that name (lower case), or None."""
        return value_of(self.raw, self.fields, name)


@quick_init
@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A whole message: its bytes, its own header fields, its parts."""

    raw: bytes
    fields: tuple[Field, ...]
    head_end: int
    body_start: int
    root: Part

    def get(self, name: bytes) -> bytes | None:
        """The unfolded value of the first field of that name (lower case), or None when there is none."""
        return value_of(self.raw, self.fields, name)

    def get_all(self, name: bytes) -> list[bytes]:
        """The unfolded values of all fields of that name (lower case), in their order."""
        return values_of(self.raw, self.fields, name)

    def parts(self) -> list[Part]:
        """All parts, multiparts included, in the order of the message."""
        found, waiting = [], [self.root]
        while waiting:
            part = waiting.pop()
            found.append(part)
            waiting.extend(reversed(part.children))
        return found


class _Open:
    """A part whose end has not been seen. `reading`: its delimiters still count (false after its closing one)."""

    __slots__ = (
        "body_start",
        "boundary",
        "children",
        "fields",
        "head_end",
        "parameters",
        "path",
        "reading",
        "start",
        "type",
    )  # fmt: skip

    def __init__(self, raw: bytes, path: str, start: int, stops: dict[bytes, int], default: bytes) -> None:
        self.path = path
        self.start = start
        self.fields, self.head_end, self.body_start = read_fields(raw, start, stops)
        content_type = value_of(raw, self.fields, b"content-type")
        named: bytes | None = None
        self.parameters: dict[bytes, bytes] = {}
        if content_type is not None:
            named, self.parameters = media_type(content_type)
            default = b"text/plain"
        self.type = named or default
        self.children: list[Part] = []
        self.boundary: bytes | None = None
        if self.type.startswith(b"multipart/"):
            self.boundary = self.parameters.get(b"boundary", b"").rstrip(b" \t") or None
        self.reading = self.boundary is not None and self.boundary not in stops

    def close(self, raw: bytes, end: int) -> Part:
        return Part(
            raw=raw,
            path=self.path,
            type=self.type,
            parameters=self.parameters,
            fields=self.fields,
            start=self.start,
            head_end=min(self.head_end, max(end, self.start)),
            body_start=min(self.body_start, max(end, self.start)),
            end=max(end, self.start),
            children=tuple(self.children),
        )


def parse(raw: bytes, *, lines_checked: bool = False) -> Message:
    """Read a message. `lines_checked`: the caller has already seen that there is no NUL, bare CR or bare LF.

    Raises Unparsable.
    """
    if not lines_checked:
        if b"\0" in raw:
            raise Unparsable("NUL octet")
        ends = raw.count(b"\r\n")
        if raw.count(b"\n") != ends or raw.count(b"\r") != ends:
            raise Unparsable("bare CR or LF")
    root = _Open(raw, "", 0, {}, b"text/plain")
    if not any(field.name != MBOX_LINE for field in root.fields):
        raise Unparsable("no header")
    if root.reading:
        _Scan(raw).read(root)
    if not root.children:
        root.path = "1"
    part = root.close(raw, len(raw))
    return Message(raw=raw, fields=part.fields, head_end=part.head_end, body_start=part.body_start, root=part)


class _Scan:
    """The walk from delimiter to delimiter. `levels`: boundary -> index in `open`, of the multiparts still read."""

    def __init__(self, raw: bytes) -> None:
        self.raw = raw
        self.open: list[_Open] = []
        self.leaf: _Open | None = None
        self.levels: dict[bytes, int] = {}
        self.count = 1
        self.dashed = 0

    def read(self, root: _Open) -> None:
        """Find all parts; they are left as the root's children."""
        raw = self.raw
        self._push(root)
        at = root.body_start - 1  # a header always ends in a line end, with an empty line behind it or without
        while True:
            hit = raw.find(b"\n--", at)
            if hit < 0:
                break
            line_end = raw.find(b"\r\n", hit + 3)
            if line_end < 0:
                line_end = len(raw)
            at = line_end
            self.dashed += 1
            if self.dashed > MAX_DASHED:
                raise Unparsable("too many lines like delimiters")
            level, final = self._match(raw[hit + 3 : line_end].rstrip(b" \t"))
            if level >= 0:
                if self.leaf is not None and self.leaf.start == hit + 1 and level + 1 == len(self.open):
                    self.leaf = None  # two delimiters in a row: the grammar has no part between them
                self._close_to(level, hit - 1)
                if final:
                    self._stop(level)
                else:
                    at = self._begin(level, min(line_end + 2, len(raw)))
        self._close_to(0, len(raw))

    def _match(self, line: bytes) -> tuple[int, bool]:
        """(index of the multipart whose delimiter this line is, or -1; whether it is the closing one).

        Where a line could be both (boundaries `x` and `x--`), the outer multipart wins.
        """
        level = self.levels.get(line, -1)
        if line.endswith(b"--"):
            closing = self.levels.get(line[:-2], -1)
            if closing >= 0 and (level < 0 or closing < level):
                return closing, True
        return level, False

    def _begin(self, level: int, start: int) -> int:
        """Begin the next part of a multipart; gives where to look for the next delimiter."""
        self.count += 1
        if self.count > MAX_PARTS:
            raise Unparsable("too many parts")
        parent = self.open[level]
        path = f"{parent.path}.{len(parent.children) + 1}" if parent.path else str(len(parent.children) + 1)
        default = b"message/rfc822" if parent.type == b"multipart/digest" else b"text/plain"
        part = _Open(self.raw, path, start, self.levels, default)
        if part.reading:
            self._push(part)
        else:
            self.leaf = part
        return part.body_start - 1

    def _push(self, part: _Open) -> None:
        if len(self.open) >= MAX_DEPTH:
            raise Unparsable("parts too deeply nested")
        assert part.boundary is not None
        self.levels[part.boundary] = len(self.open)
        self.open.append(part)

    def _stop(self, level: int) -> None:
        """From here to the next outer delimiter is epilogue: this multipart's own delimiters mean nothing any more."""
        part = self.open[level]
        part.reading = False
        self.levels.pop(part.boundary or b"", None)

    def _close_to(self, level: int, end: int) -> None:
        """End the leaf and every multipart inside `level`; each goes to the one around it."""
        if self.leaf is not None:
            self.open[-1].children.append(self.leaf.close(self.raw, end))
            self.leaf = None
        while len(self.open) > level + 1:
            inner = self.open[-1]
            if inner.reading:
                self._stop(len(self.open) - 1)
            self.open.pop()
            self.open[-1].children.append(inner.close(self.raw, end))
