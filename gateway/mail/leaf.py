"""A displayed leaf, and how footer and links get into it: in its own transfer encoding and charset where these can.

Text that cannot carry the footer moves to UTF-8 in quoted-printable; only the charset of its Content-Type and its
Content-Transfer-Encoding change then (RFC 2045 sections 5 and 6). An edited leaf with lines over 998 octets goes to
quoted-printable too, in the charset it has.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal, NamedTuple

from gateway.mail import transfer
from gateway.mail.charset import text_codec
from gateway.mail.footer import Footer, Piece, Shape, Slot, footer_pieces, merged
from gateway.mail.headers import PARAMETER, Field, has_long_line
from gateway.mail.mime import Part
from gateway.mail.transfer import Encoding
from suppression.frozen import quick_init

STALE_FIELDS = frozenset((b"content-md5", b"content-length", b"lines"))
"""Fields about a body's octets (RFC 1864 and old mailbox formats): wrong as soon as the body is edited."""


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


@quick_init
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
    contents = _contents(leaf, footer)
    if contents is None:
        moved = _as_utf8(leaf)
        leaf = moved or leaf
        contents = _contents(leaf, footer, last_resort=moved is None) or ()
    decoded = _changed(leaf, contents)
    if not (anew or leaf.whole or leaf.transcoded or _makes_long_line(leaf, contents, decoded, lengths)):
        body = _splice(leaf, contents, decoded, lengths)
        if body is not None:
            return _opened(Fitted(leaf=leaf, header=tuple(_stale(leaf.part)), body=tuple(body), decoded=tuple(decoded)))
    whole = Edit(leaf.part.body_start, leaf.part.end, _qp_pieces(tuple(decoded), True, False))
    declares = text_codec(leaf.part.charset or b"us-ascii")
    charset = b"utf-8" if leaf.transcoded and declares != "utf-8" else None
    header = _declared(leaf.part, b"quoted-printable", charset)
    return _opened(Fitted(leaf=leaf, header=tuple(header), body=(whole,), decoded=tuple(decoded)))


def _opened(fitted: Fitted) -> Fitted:
    """The same with an empty line before a body that had none: its CRLF belonged to the delimiter behind it."""
    part = fitted.leaf.part
    if not part.start or part.body_start > part.head_end:
        return fitted
    added = [edit for edit in fitted.header if edit.start == edit.end]
    pieces = [piece for edit in (*added, Edit(0, 0, (b"\r\n",)), *fitted.body) for piece in edit.pieces]
    body = (Edit(part.head_end, part.end, tuple(pieces)),)
    return replace(fitted, header=tuple(edit for edit in fitted.header if edit not in added), body=body)


def reencode(part: Part) -> Fitted:
    """The edits that take lines over 998 octets, and octets over 127, out of a leaf that is otherwise left alone."""
    encoding = transfer.encoding_of(part.get(b"content-transfer-encoding")) or "identity"
    data = transfer.decode(encoding, part.body)
    if part.type.startswith(b"text/") and encoding != "base64":
        body, name = transfer.encode_qp(data), b"quoted-printable"
    else:
        body, name = transfer.encode_base64(data), b"base64"
    header = _stale(part) if encoding == name.decode() else _declared(part, name, None)
    leaf = Leaf(part=part, kind="text", encoding=encoding, codec=None, data=data, changes=())
    return Fitted(leaf=leaf, header=tuple(header), body=(Edit(part.body_start, part.end, (body,)),), decoded=(data,))


def relabelled(part: Part) -> list[Edit]:
    """The edits of a multipart's header that say that nothing in it is 8-bit any more (RFC 2045 6.2)."""
    said = (part.get(b"content-transfer-encoding") or b"").strip().lower()
    return _declared(part, b"7bit", None) if part.is_multipart and said in (b"8bit", b"binary") else []


def _contents(leaf: Leaf, footer: Footer | None, *, last_resort: bool = False) -> tuple[Piece, ...] | None:
    """The footer's pieces, nothing where none is due; None if charset or transfer encoding cannot carry it."""
    if not any(change.footer for change in leaf.changes):
        return ()
    if footer is None:
        raise ValueError("a footer is due and none was given")
    if leaf.kind == "html":
        return footer_pieces(footer.html, Shape(True, None, False, leaf.lead, leaf.trail))
    flowed = leaf.part.parameters.get(b"format", b"").lower() == b"flowed"
    codec = None if last_resort else leaf.codec or "ascii"
    pieces = footer_pieces(footer.text, Shape(False, codec, flowed, leaf.lead, leaf.trail))
    if pieces is None or leaf.encoding != "identity" or leaf.transcoded or last_resort:
        return pieces
    octets = b"".join([piece for piece in pieces if isinstance(piece, bytes)])
    declared = (leaf.part.get(b"content-transfer-encoding") or b"").strip().lower()
    if not octets.isascii() and declared not in (b"8bit", b"binary") and leaf.data.isascii():
        return None
    return pieces


def _makes_long_line(
    leaf: Leaf, contents: Sequence[Piece], decoded: Sequence[Piece], lengths: dict[str, tuple[int, int]]
) -> bool:
    """Whether, put in as it is, footer or links would make a line over 998 octets.

    A footer stands on lines of its own; a link on a line that was there.
    """
    if leaf.encoding != "identity":
        return False
    pieces = contents if all(change.footer for change in leaf.changes) else decoded
    octets = b"".join([
        piece if isinstance(piece, bytes) else b"x" * lengths[piece.link][piece.escaped] for piece in pieces
    ])  # fmt: skip
    return has_long_line(octets, 0, len(octets))


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


def _changed(leaf: Leaf, contents: Sequence[Piece]) -> list[Piece]:
    """The whole decoded leaf with its changes made."""
    pieces: list[Piece] = []
    at = 0
    for change in leaf.changes:
        pieces.append(leaf.data[at : change.start])
        pieces.extend(contents if change.footer else (_page(leaf),))
        at = change.end
    pieces.append(leaf.data[at:])
    return merged(pieces)


def _page(leaf: Leaf) -> Slot:
    return Slot("page", leaf.kind == "html", "identity")


def _splice(
    leaf: Leaf, contents: tuple[Piece, ...], decoded: list[Piece], lengths: dict[str, tuple[int, int]]
) -> list[Edit] | None:
    """Edits that leave the encoded octets before and after as they are; None when the body is too odd for that."""
    start = leaf.part.body_start
    if leaf.encoding == "identity":
        return [
            Edit(start + change.start, start + change.end, contents if change.footer else (_page(leaf),))
            for change in leaf.changes
        ]
    body = leaf.part.body
    if leaf.encoding == "base64":
        position, before = transfer.base64_line(body, leaf.changes[0].start)
        first = decoded[0] if isinstance(decoded[0], bytes) else b""
        pieces = _base64_pieces([first[before:], *decoded[1 if first else 0 :]], lengths)
        if not body.endswith(b"\r\n") and isinstance(pieces[-1], bytes):
            pieces[-1] = pieces[-1].removesuffix(b"\r\n")
        return [Edit(start + position, leaf.part.end, tuple(pieces))]
    wanted = [at for change in leaf.changes for at in (change.start, change.end)]
    places = transfer.qp_positions(body, leaf.data, wanted)
    if places is None:
        return None
    edits = []
    for change, from_, to in zip(leaf.changes, places[::2], places[1::2], strict=True):
        fresh = from_ == 0 or body[from_ - 1 : from_] == b"\n"
        added = contents if change.footer else (_page(leaf),)
        edits.append(Edit(start + from_, start + to, _remembered_qp_pieces(added, fresh, to < len(body))))
    return edits


def _qp_pieces(pieces: tuple[Piece, ...], fresh: bool, followed: bool) -> tuple[Piece, ...]:
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
    return tuple(merged(encoded))


_remembered_qp_pieces = lru_cache(maxsize=512)(_qp_pieces)


def _base64_pieces(pieces: Sequence[Piece], lengths: dict[str, tuple[int, int]]) -> list[Piece]:
    """Base64 pieces: each slot takes up to two octets of its neighbours, so that every piece is in full groups."""
    waiting = merged(pieces)
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
    """The edit that sets the charset parameter of a Content-Type, or adds one."""
    value = part.raw[field.value : field.end]
    for found in PARAMETER.finditer(value):
        name = found[1].partition(b"*")[0]
        if name.lower() == b"charset":
            return Edit(field.value + found.start(1), field.value + found.end(), (b"%s=%s" % (name, charset),))
    at = field.value + len(value.rstrip(b"; \t\r\n"))
    return Edit(at, field.end, (b"; charset=%s\r\n" % charset,))
