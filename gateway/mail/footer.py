"""The footer, and how it gets into a leaf: in the leaf's own charset and transfer encoding where these can carry it.

A footer is rendered by the shell, with marks where a link goes. Here its constant pieces are encoded once per message;
what is left per copy is a handful of slots, each filled with one link.

HTML gets character references for all that is not ASCII, so no charset stands in its way, nor a `<meta>` that claims
another one. Text that cannot carry the footer moves to UTF-8 in quoted-printable; only the charset of its Content-Type
and its Content-Transfer-Encoding change then (RFC 2045 sections 5 and 6).
"""

import html
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from gateway.mail import transfer
from gateway.mail.charset import is_ascii_superset
from gateway.mail.headers import MAX_LINE, Field, has_long_line
from gateway.mail.mime import Part
from gateway.mail.transfer import Encoding

UNSUBSCRIBE = "\x02u\x02"
WHY = "\x02w\x02"
PREFERENCES = "\x02p\x02"
LINK_MARKS = {UNSUBSCRIBE: "page", WHY: "why", PREFERENCES: "preferences"}
"""Mark in a rendered footer -> the name in Links of what takes its place. In HTML a mark stands inside an attribute."""

STALE_FIELDS = frozenset((b"content-md5", b"content-length", b"lines"))
"""Fields about a body's octets (RFC 1864 and old mailbox formats): wrong as soon as the body is edited."""

_MARK = re.compile("(\x02[uwp]\x02)")
_CHARSET = re.compile(rb';\s*charset\*?(?:0\*?)?\s*=\s*(?:"(?:[^"\\]|\\.)*"|[^\s;]*)', re.IGNORECASE | re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Footer:
    """A rendered footer with LINK_MARKS, as text and as an HTML fragment. Lines may end in LF or CRLF."""

    text: str
    html: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Links:
    """One copy's links. `page` is what people click, `one_click` the RFC 8058 address, `mailto` a whole mailto: URI.

    All are ASCII; any other one makes `rewrite` raise ValueError.
    """

    page: str
    one_click: str
    mailto: str | None
    why: str
    preferences: str


class Slot(NamedTuple):
    """A place for one link: which, escaped as an attribute or not, in which encoding, with which neighbours.

    `lead` and `trail` are decoded octets around the link that share base64 groups with it.
    """

    link: str
    escaped: bool
    encoding: Encoding
    lead: bytes = b""
    trail: bytes = b""


Piece = bytes | Slot


class Edit(NamedTuple):
    """Octets `start:end` of the message give way to the pieces."""

    start: int
    end: int
    pieces: tuple[Piece, ...]


class Change(NamedTuple):
    """In the decoded leaf, `start:end` give way to our unsubscribe link, or (`footer`) to the footer."""

    start: int
    end: int
    footer: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaf:
    """A displayed leaf that gets something.

    `data` is the decoded body, `changes` are in order and apart. `lead` and `trail` go around the footer. `codec` is
    None when the charset is unknown or does not fit the body. `transcoded`: `data` is UTF-8, made from a charset in
    which nothing can be put as it is. `whole`: the body must be encoded anew since it has lines over 998 octets.
    """

    part: Part
    kind: Literal["text", "html"]
    encoding: Encoding
    codec: str | None
    data: bytes
    changes: tuple[Change, ...]
    lead: bytes = b""
    trail: bytes = b""
    transcoded: bool = False
    whole: bool = False


def link_values(links: Links) -> dict[str, tuple[bytes, bytes]]:
    """Each link that a body may hold, as it is and as an HTML attribute value. Raises ValueError if not ASCII."""
    values = {}
    for name, url in (("page", links.page), ("why", links.why), ("preferences", links.preferences)):
        plain = url.encode("ascii")
        values[name] = (plain, html.escape(url).encode("ascii") if "&" in url or "'" in url else plain)
    return values


def fill(slot: Slot, values: dict[str, tuple[bytes, bytes]]) -> bytes:
    """The octets of one slot for one copy."""
    url = values[slot.link][slot.escaped]
    if slot.encoding == "quoted-printable":
        return transfer.encode_qp_link(url)
    if slot.encoding == "base64":
        return transfer.encode_base64(slot.lead + url + slot.trail)
    return url


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitted:
    """How one leaf takes its changes: edits of its header and of its body, and what it decodes to afterwards.

    `decoded` has slots where the links go, in the charset that the leaf then has.
    """

    leaf: Leaf
    header: tuple[Edit, ...]
    body: tuple[Edit, ...]
    decoded: tuple[Piece, ...]


def fit(leaf: Leaf, footer: Footer | None, lengths: dict[str, tuple[int, int]], *, anew: bool = False) -> Fitted:
    """Fit footer and links into a leaf.

    `lengths` are those of the links' two forms, on which base64 depends. `anew` encodes the whole body again instead of
    splicing. Raises ValueError when a footer is due and none is given, or one without unsubscribe link.
    """
    codec = leaf.codec
    contents = _footer_pieces(leaf, footer)
    if contents is None:
        moved = _as_utf8(leaf)
        leaf = moved or leaf
        contents = _footer_pieces(leaf, footer, ascii_only=moved is None) or []
    decoded = _joined(leaf, contents)
    if not (anew or leaf.whole or leaf.transcoded):
        body = _splice(leaf, contents, lengths)
        if body is not None:
            return Fitted(leaf=leaf, header=tuple(_stale(leaf.part)), body=tuple(body), decoded=tuple(decoded))
    whole = Edit(leaf.part.body_start, leaf.part.end, tuple(_qp_pieces(decoded, fresh=True, followed=False)))
    charset = b"utf-8" if leaf.transcoded and (codec != "utf-8" or leaf.part.charset is None) else None
    header = _declared(leaf.part, b"quoted-printable", charset)
    return Fitted(leaf=leaf, header=tuple(header), body=(whole,), decoded=tuple(decoded))


def reencode(part: Part) -> Fitted:
    """The edits that take lines over 998 octets out of a leaf that is otherwise left alone."""
    encoding = transfer.encoding_of(part.get(b"content-transfer-encoding")) or "identity"
    data = transfer.decode(encoding, part.body)
    if part.type.startswith(b"text/") and encoding != "base64":
        body, name = transfer.encode_qp(data), b"quoted-printable"
    else:
        body, name = transfer.encode_base64(data), b"base64"
    header = _stale(part) if encoding == name.decode() else _declared(part, name, None)
    leaf = Leaf(part=part, kind="text", encoding=encoding, codec=None, data=data, changes=())
    return Fitted(leaf=leaf, header=tuple(header), body=(Edit(part.body_start, part.end, (body,)),), decoded=(data,))


def _footer_pieces(leaf: Leaf, footer: Footer | None, *, ascii_only: bool = False) -> list[bytes | str] | None:
    """The footer in the leaf's charset: octets, and names of links between them; None if the leaf cannot carry it."""
    if not any(change.footer for change in leaf.changes):
        return []
    if footer is None:
        raise ValueError("a footer is due and none was given")
    text = footer.html if leaf.kind == "html" else footer.text
    if UNSUBSCRIBE not in text:
        raise ValueError("a footer without unsubscribe link")
    lines = text.replace("\r\n", "\n").replace("\r", "\n").strip("\n").split("\n")
    if leaf.kind == "text":
        lines = [_stuffed(line.rstrip(), leaf) for line in lines]
    pieces: list[bytes | str] = [leaf.lead]
    for index, piece in enumerate(_MARK.split("\r\n".join(lines))):
        if index % 2:
            pieces.append(LINK_MARKS[piece])
        elif leaf.kind == "html":
            pieces.append(piece.encode("ascii", "xmlcharrefreplace"))
        elif ascii_only:
            pieces.append(unicodedata.normalize("NFKD", piece).encode("ascii", "ignore"))
        else:
            encoded = _carried(piece, leaf)
            if encoded is None:
                return None
            pieces.append(encoded)
    pieces.append(leaf.trail)
    return pieces


def _stuffed(line: str, leaf: Leaf) -> str:
    """Space-stuffing of format=flowed (RFC 3676 section 4.4)."""
    flowed = leaf.part.parameters.get(b"format", b"").lower() == b"flowed"
    return " " + line if flowed and line.startswith((" ", ">", "From ")) else line


def _carried(text: str, leaf: Leaf) -> bytes | None:
    """The text in the leaf's charset, or None when charset or transfer encoding cannot carry it."""
    try:
        encoded = text.encode(leaf.codec or "ascii")
    except UnicodeError:
        return None
    if leaf.encoding != "identity" or leaf.transcoded:
        return encoded
    declared = (leaf.part.get(b"content-transfer-encoding") or b"").strip().lower()
    if not encoded.isascii() and declared not in (b"8bit", b"binary") and leaf.data.isascii():
        return None
    return encoded if max(map(len, encoded.split(b"\r\n"))) < MAX_LINE - 200 else None


def _as_utf8(leaf: Leaf) -> Leaf | None:
    """The leaf with its data in UTF-8, or None when its charset does not say what the octets mean."""
    if leaf.transcoded:
        return leaf
    codec = leaf.codec or "ascii"
    data: list[bytes] = []
    changes: list[Change] = []
    at = size = 0
    try:
        for change in leaf.changes:
            for start, end in ((at, change.start), (change.start, change.end)):
                data.append(leaf.data[start:end].decode(codec).encode("utf-8"))
            size += len(data[-2])
            changes.append(Change(size, size + len(data[-1]), change.footer))
            size += len(data[-1])
            at = change.end
        data.append(leaf.data[at:].decode(codec).encode("utf-8"))
    except UnicodeError:
        return None
    return Leaf(
        part=leaf.part, kind=leaf.kind, encoding=leaf.encoding, codec="utf-8", data=b"".join(data),
        changes=tuple(changes), lead=leaf.lead, trail=leaf.trail, transcoded=True,
    )  # fmt: skip


def _joined(leaf: Leaf, contents: Sequence[bytes | str]) -> list[bytes | Slot]:
    """The whole decoded leaf with its changes made; slots know only which link, and how to escape it."""
    pieces: list[bytes | Slot] = []
    at = 0
    for change in leaf.changes:
        pieces.append(leaf.data[at : change.start])
        pieces.extend(_change_pieces(leaf, change, contents))
        at = change.end
    pieces.append(leaf.data[at:])
    return _merged(pieces)


def _change_pieces(leaf: Leaf, change: Change, contents: Sequence[bytes | str]) -> list[bytes | Slot]:
    escaped = leaf.kind == "html"
    if not change.footer:
        return [Slot("page", escaped, "identity")]
    return [Slot(piece, escaped, "identity") if isinstance(piece, str) else piece for piece in contents]


def _merged(pieces: Sequence[bytes | Slot]) -> list[bytes | Slot]:
    merged: list[bytes | Slot] = []
    for piece in pieces:
        last = merged[-1] if merged else None
        if isinstance(piece, bytes) and isinstance(last, bytes):
            merged[-1] = last + piece
        elif piece:
            merged.append(piece)
    return merged


def _splice(leaf: Leaf, contents: Sequence[bytes | str], lengths: dict[str, tuple[int, int]]) -> list[Edit] | None:
    """Edits that leave the encoded octets before and after as they are; None when the body is too odd for that."""
    start = leaf.part.body_start
    if leaf.encoding == "identity":
        return [
            Edit(start + change.start, start + change.end, tuple(_change_pieces(leaf, change, contents)))
            for change in leaf.changes
        ]
    body = leaf.part.body
    if leaf.encoding == "base64":
        position, before = transfer.base64_line(body, leaf.changes[0].start)
        changed = _joined(leaf, contents)
        first = changed[0] if changed and isinstance(changed[0], bytes) else b""
        pieces = _base64_pieces([first[before:], *changed[1 if first else 0 :]], lengths)
        if not body.endswith(b"\r\n") and isinstance(pieces[-1], bytes):
            pieces[-1] = pieces[-1].removesuffix(b"\r\n")
        return [Edit(start + position, leaf.part.end, tuple(pieces))]
    edits = []
    for change in leaf.changes:
        from_, to = (transfer.qp_position(body, leaf.data, at) for at in (change.start, change.end))
        if from_ is None or to is None or to < from_:
            return None
        fresh = from_ == 0 or body[from_ - 1 : from_] == b"\n"
        added = _merged(_change_pieces(leaf, change, contents))
        pieces = _qp_pieces(added, fresh=fresh, followed=to < len(body))
        edits.append(Edit(start + from_, start + to, tuple(pieces)))
    return edits


def _qp_pieces(pieces: Sequence[bytes | Slot], *, fresh: bool, followed: bool) -> list[Piece]:
    """Quoted-printable pieces. `fresh`: they begin at the start of a line; `followed`: other octets come after them."""
    encoded: list[Piece] = []
    for piece in pieces:
        if not fresh:
            encoded.append(b"=\r\n")
        if isinstance(piece, Slot):
            encoded.append(piece._replace(encoding="quoted-printable"))
            fresh = True
        else:
            encoded.append(transfer.encode_qp(piece))
            fresh = piece.endswith(b"\r\n")
    if followed and not fresh:
        encoded.append(b"=\r\n")
    return encoded


def _base64_pieces(pieces: Sequence[bytes | Slot], lengths: dict[str, tuple[int, int]]) -> list[Piece]:
    """Base64 pieces: each slot takes up to two octets of its neighbours, so that every piece is in full groups."""
    waiting = _merged(pieces)
    encoded: list[Piece] = []
    carry = b""
    for index, piece in enumerate(waiting):
        following = waiting[index + 1] if index + 1 < len(waiting) else None
        if isinstance(piece, bytes):
            data = carry + piece
            spare = 0 if following is None else len(data) % 3
            carry = data[len(data) - spare :]
            encoded.append(transfer.encode_base64(data[: len(data) - spare]))
            continue
        trail = b""
        if isinstance(following, bytes):
            missing = -(len(carry) + lengths[piece.link][piece.escaped]) % 3
            trail = following[:missing]
            waiting[index + 1] = following[missing:]
        encoded.append(piece._replace(encoding="base64", lead=carry, trail=trail))
        carry = b""
    return encoded


def _stale(part: Part) -> list[Edit]:
    return [Edit(field.start, field.end, ()) for field in part.fields if field.name in STALE_FIELDS]


def _declared(part: Part, encoding: bytes, charset: bytes | None) -> list[Edit]:
    """The edits of a leaf's header that say its new transfer encoding, and charset if that changes too."""
    edits = _stale(part)
    content_type = encoding_field = None
    for field in part.fields:
        if field.name == b"content-type" and content_type is None:
            content_type = field
        elif field.name == b"content-transfer-encoding":
            if encoding_field is None:
                encoding_field = field
            else:
                edits.append(Edit(field.start, field.end, ()))
    added = b""
    if content_type is None and charset is not None:
        added += b"Content-Type: %s; charset=%s\r\n" % (part.type, charset)
    elif content_type is not None and charset is not None:
        edits.append(_with_charset(part, content_type, charset))
    if encoding_field is None:
        added += b"Content-Transfer-Encoding: %s\r\n" % encoding
    else:
        edits.append(Edit(encoding_field.value, encoding_field.end, (b" %s\r\n" % encoding,)))
    if added:
        if part.start == 0 and part.get(b"mime-version") is None:
            added = b"MIME-Version: 1.0\r\n" + added
        edits.append(Edit(part.head_end, part.head_end, (added,)))
    return sorted(edits)


def _with_charset(part: Part, field: Field, charset: bytes) -> Edit:
    value = part.raw[field.value : field.end]
    found = _CHARSET.search(value)
    if found is None:
        at = field.value + len(value.rstrip(b"; \t\r\n"))
        return Edit(at, field.end, (b"; charset=%s\r\n" % charset,))
    name = found[0].partition(b"=")[0].split(b"*", 1)[0].rstrip()
    return Edit(field.value + found.start(), field.value + found.end(), (b"%s=%s" % (name, charset),))


def can_hold_ascii(codec: str | None) -> bool:
    """Whether ASCII octets may be put into a body of that charset as they are."""
    return codec is None or is_ascii_superset(codec)


def too_long(part: Part) -> bool:
    """Whether the leaf has a line over 998 octets as it stands."""
    return has_long_line(part.raw, part.body_start, part.end)
