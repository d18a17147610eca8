"""A message that came back, taken apart as far as it goes: its fields, its words, and the mail it is about.

Reports are written by every mail server there ever was. Nothing is refused here: line ends are mended, NUL goes, what
cannot be read as parts is read as text, and only the first `MOST` octets are looked at (a report stands before the mail
it returns).

Total: never raises, whatever the bytes. Time and memory are linear in what is looked at.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import islice

from gateway.mail import transfer
from gateway.mail.charset import characters, text_codec
from gateway.mail.event import Original
from gateway.mail.headers import Unparsable, decode_words
from gateway.mail.mime import Message, Part, parse

MOST = 1_000_000
"""Octets of a message that are looked at."""
MOST_TEXT = 100_000
"""Characters of its words that are looked at."""
MOST_PARTS = 100
TOKEN_LENGTH = 83
"""Characters of a token in our links (suppression/link_token.py, which would take long to load for one number)."""
FORWARDED = b"x-hmxmroriginalrecipient"
"""Microsoft's field in a mail that was complained of; in the oldest form that mail itself comes, with it on top."""
FEW = 20
"""Tokens, ids and the like that are kept."""

_LINE_END = re.compile(rb"\r\n|\r|\n")
_TOKEN = re.compile(rf"(?<![A-Za-z0-9_-])[A-Za-z0-9_-]{{{TOKEN_LENGTH}}}(?![A-Za-z0-9_-])")
_RETURN_ID = re.compile(rb"(?<![a-z0-9])b\+([a-z2-7]{26,60})@", re.IGNORECASE)
_MESSAGE_ID = re.compile(r"<[^<>\s]{1,250}>")
_ANGLED = re.compile(r"<([^<>]{1,320})>")
_REDACTED = re.compile(
    r"redacted|hashed|undisclosed|anonym[a-z]*|removed|hidden|masked|concealed|withheld|suppressed|x{3,}|\*+|_+",
    re.IGNORECASE,
)
# Begins where a word does: else a long word without an @ would be read again from each of its characters.
ADDRESS = re.compile(
    r"""(?<![^\s<>()"',;:=\[\]{}|])(?!//)[^\s<>()"',;:=\[\]{}|@]{1,128}+@[^\s<>()"',;:\[\]{}|@!?*\\/]{1,255}""",
)
_HEADERS = frozenset((
    b"text/rfc822-headers", b"text/rfc822-header", b"message/rfc822-headers", b"message/global-headers",
))  # fmt: skip
_WHOLE = frozenset((b"message/rfc822", b"message/global", b"message/partial", b"message/rfc822-original"))
_SEPARATORS = (
    "this is a copy of", "below this line is", "here is a copy of", "start of original message",
    "start of the original", "original message", "the original message", "your original m", "original mail",
    "the original mail", "original e-mail", "original email", "original header", "original text", "copy of original",
    "copy of the ", "copy of your", "the header page of", "unsent message", "undelivered message", "returned message",
    "returned mail follows", "returned content", "message header", "header of the", "headers of the",
    "the following is", "the message follows", "the text of your", "returned text follows", "content of ",
    "contents of ", "message text follows", "message follows", "transcript of the message", "the first ",
    "mail header", "begin forwarded", "begin returned", "forwarded message", "urspr\u00fcngliche nachricht",
    "message d'origine", "oorspronkelijk bericht", "\u0438\u0441\u0445\u043e\u0434\u043d\u043e\u0435",
)  # fmt: skip
"""How the line begins behind which reports quote the mail they return; what stands there must look like a header."""
_SEPARATOR = re.compile(
    rf"^[ \t>*=_.#-]{{0,40}}+(?:{'|'.join(map(re.escape, _SEPARATORS))})[^\n]{{0,100}}$", re.IGNORECASE | re.MULTILINE
)
_HEADER_LINE = re.compile(
    r"(?:received|return-path|from|to|subject|date|message-id|mime-version|content-type|x-[a-z0-9-]{1,40}|sender"
    r"|reply-to|delivered-to|dkim-signature|content-transfer-encoding|x-mailer|cc|importance|thread-index)\s?:",
    re.IGNORECASE,
)
_TAG = re.compile(r"<[^<>]*+>")
_BREAK = re.compile(r"<(?:br|/?p|/?div|/?tr|/?li|/?h[1-6]|/?table|/?pre|hr)\b[^<>]*+>", re.IGNORECASE)
_TABS = re.compile(r"[ \t\xa0\u200b\u200c\u200d\ufeff]++")


@dataclass(frozen=True)
class CameBack:
    """One message. Made by `open_message`; everything is read when it is asked for."""

    message: Message

    def field(self, name: bytes) -> str:
        """The first field of that name, decoded; "" without."""
        return decode_words(self.message.get(name) or b"")

    def fields(self, name: bytes) -> list[str]:
        """All fields of that name, decoded."""
        return [decode_words(value) for value in self.message.get_all(name)[:FEW]]

    @cached_property
    def parts(self) -> list[Part]:
        """The parts that hold something, in their order."""
        return [part for part in self.message.parts()[:MOST_PARTS] if not part.children]

    @cached_property
    def written(self) -> str:
        """The words for people: all text parts before the mail that came back, else the first HTML part."""
        said: list[str] = []
        for part in self._readable(b"text/plain"):
            said.append(text_of(part))
            if sum(map(len, said)) > MOST_TEXT:
                break
        if not "".join(said).strip():
            said = [html_to_text(text_of(part)) for part in islice(self._readable(b"text/html"), 1)]
        return "\n".join(said)[:MOST_TEXT]

    @cached_property
    def report(self) -> str:
        """`written` up to where a mail that came back is quoted in it."""
        return self.written[: self._cut]

    @cached_property
    def returned_head(self) -> Message | None:
        """The header of the mail that came back: of an attached message, attached headers, or quoted in the text."""
        if self.message.get(FORWARDED) is not None:
            return self.message
        for part in self.parts:
            if part.type in _WHOLE or part.type in _HEADERS:
                found = _head(decoded(part)[:MOST])
                if found is not None:
                    return found
        quoted = self.written[self._cut :]
        start = _header_block(quoted, 2)
        return _head(quoted[start:].encode("utf-8", "replace")) if start is not None else None

    @cached_property
    def inner(self) -> CameBack | None:
        """The first attached message; None when there is none."""
        part = next((part for part in self.parts if part.type in _WHOLE), None)
        return open_message(decoded(part)[:MOST]) if part is not None else None

    def original(self, *, texts: bool = True) -> Original:
        """What tells which mail this is about. `texts`: links in quoted text count too."""
        head = self.returned_head
        sources = [self.field(b"subject")]
        if head is not None:
            sources = [*map(decode_words, head.get_all(b"list-unsubscribe")), *sources]
        if texts:
            sources += [_soft(self.message.raw[: self.message.head_end]), self.written, _soft(self.message.raw)]
        tokens = dict.fromkeys(token for text in sources for token in islice(_TOKEN.findall(text), FEW))
        ids = dict.fromkeys(found.lower().decode() for found in islice(_RETURN_ID.findall(self.message.raw), FEW))
        return Original(
            tokens=tuple(tokens)[:FEW], return_ids=tuple(ids)[:FEW], message_ids=self._message_ids(head),
            author=_one_address(head, b"from"), recipient=_one_address(head, b"to"),
        )  # fmt: skip

    def _message_ids(self, head: Message | None) -> tuple[str, ...]:
        """The last Message-ID of the mail that came back: those before it were put in by others on its way."""
        values = [value.decode("utf-8", "replace").strip() for value in head.get_all(b"message-id")] if head else []
        found = [(_MESSAGE_ID.findall(value) or [f"<{value}>"])[-1] for value in values[-1:] if value]
        for name in (b"in-reply-to", b"references"):
            found += reversed(_MESSAGE_ID.findall(self.field(name))[-FEW:])
        return tuple(dict.fromkeys(found))[:FEW]

    @cached_property
    def _cut(self) -> int:
        """Where in `written` the mail that came back begins; its end when it is not there."""
        text = self.written
        for found in islice(_SEPARATOR.finditer(text), FEW):
            ruled = found[0].lstrip().startswith("---")
            behind = text[found.end() : found.end() + 2000]
            start = _header_block(behind, 1)
            if ruled or (start is not None and not behind[:start].strip(" \t\n-=*_|#.")):
                return found.start()
        block = _header_block(text, 3)
        return len(text) if block is None else block

    def _readable(self, kind: bytes) -> Iterator[Part]:
        for part in self.parts:
            if part.type in _WHOLE:
                return
            if part.type == kind and part.disposition[0] != b"attachment":
                yield part


def open_message(raw: bytes) -> CameBack:
    """Take a message apart. Total."""
    raw = raw[:MOST].replace(b"\0", b"").lstrip(b"\r\n")
    if raw.count(b"\r\n") != raw.count(b"\n") or raw.count(b"\r") != raw.count(b"\n"):
        raw = _LINE_END.sub(b"\r\n", raw)
    try:
        return CameBack(parse(raw, lines_checked=True))
    except Unparsable:
        return CameBack(parse(b"Content-Type: text/plain\r\n\r\n" + raw, lines_checked=True))


def decoded(part: Part) -> bytes:
    """A part's body, its transfer encoding undone as far as it goes."""
    encoding = transfer.encoding_of(part.get(b"content-transfer-encoding"))
    return transfer.decode(encoding or "identity", part.body)


def text_of(part: Part) -> str:
    """A part's text, lines ended by LF. Japanese mail servers write ISO-2022-JP without saying so."""
    data = decoded(part)[: 4 * MOST_TEXT]
    return as_text(data, part.charset)[:MOST_TEXT]


def as_text(data: bytes, charset: bytes | None = None) -> str:
    """Octets as text. Total."""
    codec = text_codec(charset or b"utf-8") or "utf-8"
    if b"\x1b$" in data:
        codec = "iso2022_jp_2"
    elif codec in ("utf-8", "ascii"):
        try:
            return data.decode("utf-8").replace("\r\n", "\n")
        except UnicodeDecodeError:
            codec = "cp1252"
    try:
        return characters(data, codec).replace("\r\n", "\n")
    except (UnicodeError, ValueError):
        return data.decode("latin-1").replace("\r\n", "\n")


def html_to_text(page: str) -> str:
    """What of an HTML page can be read, a line per block."""
    kept, at = [], 0
    for name in ("style", "script", "head", "title"):
        page = _without(page, name)
    while (start := page.find("<!--", at)) >= 0:
        kept.append(page[at:start])
        end = page.find("-->", start)
        at = len(page) if end < 0 else end + 3
    kept.append(page[at:])
    import html  # its table of names takes longer to load than most reports to read

    text = _TAG.sub(" ", _BREAK.sub("\n", "".join(kept)))
    return "\n".join(_TABS.sub(" ", line).strip() for line in html.unescape(text).splitlines())


def _without(page: str, name: str) -> str:
    """The page without the elements of a name."""
    lowered = page.lower()
    if len(lowered) != len(page):  # a few letters grow when they become small
        page = lowered
    kept, at = [], 0
    while (start := lowered.find(f"<{name}", at)) >= 0:
        after = lowered[start + len(name) + 1 : start + len(name) + 2]
        end = lowered.find(f"</{name}", start) if after in (">", " ", "\n", "\t", "\r") else start + 1
        if end == start + 1:
            kept.append(page[at:end])
        else:
            kept.append(page[at:start])
            end = len(page) if end < 0 else end
        at = end
    kept.append(page[at:])
    return "".join(kept)


def bare_address(value: str) -> str | None:
    """The address in a value such as `rfc822; <bob@example.net> (Bob)`, as it is written; None where there is none."""
    angled: list[str] = [inside.strip() for inside in _ANGLED.findall(value) if "@" in inside]
    if angled:
        return angled[-1][:320]
    found = ADDRESS.search(value)
    return found[0].rstrip(".")[:320] if found else None


def is_redacted(address: str) -> bool:
    """Whether an address stands where the reporter took the real one out."""
    local, _, domain = address.rpartition("@")
    return bool(_REDACTED.fullmatch(local)) or domain.lower() in ("redacted", "redacted.invalid", "hidden.invalid")


def _one_address(head: Message | None, name: bytes) -> str | None:
    values = head.get_all(name) if head is not None else []
    found = [bare_address(decode_words(value)) for value in values[:2]]
    if len(found) != 1 or found[0] is None or is_redacted(found[0]):
        return None
    return None if len(ADDRESS.findall(_ANGLED.sub(r" \1 ", decode_words(values[0])))) > 2 else found[0]


def _head(data: bytes) -> Message | None:
    data = _LINE_END.sub(b"\r\n", data.lstrip(b"\r\n \t")[:MOST])
    end = data.find(b"\r\n\r\n")
    try:
        return parse(data[: end + 4] if end >= 0 else data + b"\r\n\r\n", lines_checked=True)
    except Unparsable:
        return None


def _header_block(text: str, wanted: int) -> int | None:
    """Where so many lines in a row are fields of a mail header; folded lines do not break the row."""
    start, run, at = 0, 0, 0
    for line in text.splitlines(keepends=True):
        if _HEADER_LINE.match(line):
            start, run = (start, run + 1) if run else (at, 1)
            if run >= wanted and (wanted > 1 or line):
                return start
        elif not (run and line[:1] in " \t" and line.strip()):
            run = 0
        at += len(line)
    return None


def _soft(data: bytes) -> str:
    """Raw octets to look for tokens in: quoted-printable's soft line breaks gone."""
    return data.replace(b"=\r\n", b"").decode("ascii", "replace")
