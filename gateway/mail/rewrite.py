"""A plan and one recipient's links give the bytes of that copy.

All that copies have in common is joined once and remembered with the plan, together with a check that the result reads
as intended; what is left per copy is filling a few slots and one join.

Failures: NotInjectable when marketing would leave without an opt-out. The message itself is never changed.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

from gateway.mail import transfer
from gateway.mail.footer import Footer, Links, Piece, Slot, fill, link_values
from gateway.mail.headers import Unparsable, encode_words
from gateway.mail.leaf import Edit, Fitted, fit, reencode, relabelled
from gateway.mail.list_headers import broken_signatures, list_unsubscribe
from gateway.mail.mime import Message, Part, parse
from gateway.mail.plan import CLIPPED_OVER, FooterKind, Plan, Ready

_RECIPIENT = Slot("recipient", False, "identity")
_LONG = 64 * 1024
"""Octets from which on a run of the original is not copied."""

_MOST_READY = 32
"""Footers (languages, grounds) remembered per message; more are made again."""


class NotInjectable(Exception):
    """Marketing without a visible opt-out, and no place to put one: UNSUBSCRIBE_NOT_INJECTABLE (RULES.md E6)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fill:
    """What one copy needs besides the plan.

    `links` and `footer` may be None when the plan is not for marketing. `recipient` is the envelope recipient.
    `list_id` and `feedback_id` are whole values, used where the message has none. `add_date` and `add_message_id` are
    values without field name, used where the message has none (RFC 6409 section 8). None of them may hold CR or LF:
    ValueError.
    """

    links: Links | None = None
    footer: Footer | None = None
    recipient: str
    list_id: str | None = None
    feedback_id: str | None = None
    add_date: bytes | None = None
    add_message_id: bytes | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rewritten:
    """One copy: `head`, an empty line, `body`. Received and DKIM-Signature are not in yet, they go on top.

    `pieces` are the body's octets one after another; what is long and untouched is a view of the original.
    """

    head: bytes
    pieces: tuple[bytes | memoryview, ...]
    footer: FooterKind
    warnings: tuple[str, ...]

    @property
    def body(self) -> bytes:
        """The body in one piece, which takes memory of its own where it comes in several."""
        first = self.pieces[0]
        return first if len(self.pieces) == 1 and isinstance(first, bytes) else b"".join(self.pieces)

    @property
    def needs_8bit(self) -> bool:
        """Whether the body has octets over 127, so that the next server must offer 8BITMIME (RFC 6152)."""
        return not self.body.isascii()

    @property
    def needs_smtputf8(self) -> bool:
        """Whether the header has octets over 127, so that the next server must offer SMTPUTF8 (RFC 6531)."""
        return not self.head.isascii()


def rewrite(plan: Plan, fill_in: Fill) -> Rewritten:
    """The bytes of one copy. Raises NotInjectable, and ValueError for values that no header may hold."""
    if plan.wants.marketing and plan.unsubscribe == "not_injectable":
        raise NotInjectable
    values = link_values(fill_in.links) if fill_in.links is not None else {}
    lengths = {name: (len(plain), len(escaped)) for name, (plain, escaped) in values.items()}
    key = (fill_in.footer, *lengths.values())
    ready = plan.ready.get(key)
    if ready is None:
        ready = _prepare(plan, fill_in.footer, lengths)
        if len(plan.ready) >= _MOST_READY:
            plan.ready.clear()
        plan.ready[key] = ready
    if ready.long:
        pieces = _filled(ready.body, values)
    else:
        pieces = (b"".join([fill(piece, values) if isinstance(piece, Slot) else piece for piece in ready.body]),)
    return Rewritten(head=_head(plan, ready, fill_in), pieces=pieces, footer=ready.footer, warnings=ready.warnings)


def _filled(
    pieces: Sequence[Piece | memoryview], values: dict[str, tuple[bytes, bytes]]
) -> tuple[bytes | memoryview, ...]:
    """The pieces with their slots filled; neighbouring short ones are joined."""
    octets = [fill(piece, values) if isinstance(piece, Slot) else piece for piece in pieces]
    joined: list[bytes | memoryview] = []
    for long, run in groupby(octets, lambda piece: isinstance(piece, memoryview)):
        if long:
            joined += run
        else:
            joined.append(b"".join(run))
    return tuple(joined)


def _head(plan: Plan, ready: Ready, fill_in: Fill) -> bytes:
    """The header of one copy, without the empty line."""
    head = plan.head
    pieces = [_to(fill_in.recipient) if isinstance(piece, Slot) else piece for piece in ready.head]
    if head.needs_date and fill_in.add_date is not None:
        pieces.append(b"Date: %s\r\n" % _one_line(fill_in.add_date))
    if head.needs_message_id and fill_in.add_message_id is not None:
        pieces.append(b"Message-ID: %s\r\n" % _one_line(fill_in.add_message_id))
    if head.adds_list_unsubscribe and fill_in.links is not None:
        mailto = fill_in.links.mailto
        _one_line(fill_in.links.one_click.encode() + (mailto or "").encode())
        pieces.append(list_unsubscribe(fill_in.links.one_click, mailto))
    if head.adds_list_id and fill_in.list_id is not None:
        pieces.append(b"List-Id: %s\r\n" % _list_id(fill_in.list_id))
    if head.adds_feedback_id and fill_in.feedback_id is not None:
        pieces.append(b"Feedback-ID: %s\r\n" % _one_line(fill_in.feedback_id.encode("ascii", "replace")))
    return b"".join(pieces)


def _to(recipient: str) -> bytes:
    return b"To: %s\r\n" % _one_line(recipient.encode("utf-8"))


def _one_line(value: bytes) -> bytes:
    if b"\r" in value or b"\n" in value or b"\0" in value:
        raise ValueError("line break in a header value")
    return value


def _list_id(value: str) -> bytes:
    """`"Phrase" <id>`, the phrase as RFC 2047 words when it is not ASCII (RFC 2919 section 3)."""
    _one_line(value.encode("utf-8"))
    if value.isascii():
        return value.encode("ascii")
    phrase, _, rest = value.rpartition("<")
    return encode_words(phrase.strip().strip('"')) + b"\r\n <" + rest.encode("ascii", "replace")


def _prepare(plan: Plan, footer: Footer | None, lengths: dict[str, tuple[int, int]]) -> Ready:
    """Join what copies share, and check it; a splice that does not read back as meant is encoded as a whole instead."""
    for anew in (False, True):
        fitted = [fit(leaf, footer, lengths, anew=anew) for leaf in plan.leaves]
        fitted += [reencode(part) for part in plan.reencoded]
        ready = _joined(plan, fitted)
        if not fitted or _reads_back(plan.message, ready, fitted, lengths):
            return ready
    if plan.leaves:
        raise NotInjectable
    ready = _joined(plan, [])
    return replace(ready, warnings=(*ready.warnings, "round-trip-failed"))


def _joined(plan: Plan, fitted: Sequence[Fitted]) -> Ready:
    message, root = plan.message, plan.message.root
    in_head = [*plan.head.removals]
    in_head += broken_signatures(message, plan.head.touched, body_edited=bool(fitted))
    if plan.head.recipient_field is not None:
        in_head.append(Edit(*plan.head.recipient_field, (_RECIPIENT,)))
    if plan.wants.seven_bit and fitted:
        in_head += relabelled(root)
    in_body: list[Edit] = []
    for one in fitted:
        (in_head if one.leaf.part is root else in_body).extend(one.header)
        in_body.extend(one.body)
    warnings = list(plan.warnings)
    sizes = [_size(one.decoded) for one in fitted if one.leaf.kind == "html"]
    if sizes and max(sizes) > CLIPPED_OVER:
        warnings.append("html-clipped")
    head: list[Piece] = []
    for piece in _pieces(message.raw, 0, message.head_end, in_head):
        octets = bytes(piece) if isinstance(piece, memoryview) else piece
        head.append(octets)
        if isinstance(octets, bytes) and octets and not octets.endswith(b"\r\n"):
            head.append(b"\r\n")  # a last field without line end
    body = _pieces(message.raw, message.body_start, len(message.raw), in_body)
    long = any(isinstance(piece, memoryview) for piece in body)
    return Ready(head=tuple(head), body=tuple(body), long=long, footer=plan.footer, warnings=tuple(warnings))


def _size(pieces: Iterable[Piece]) -> int:
    """Octets of a decoded body, with a usual length for each link."""
    return sum(len(piece) if isinstance(piece, bytes) else 120 for piece in pieces)


def _pieces(raw: bytes, start: int, end: int, edits: Iterable[Edit]) -> list[Piece | memoryview]:
    """`raw[start:end]` with the edits made, neighbouring short pieces joined; long runs of `raw` are not copied."""
    pieces: list[Piece | memoryview] = []
    joined: list[bytes] = []
    for edit in (*sorted(set(edits), key=lambda e: (e.start, e.end)), Edit(end, end, ())):
        if edit.start - start > _LONG:
            pieces += (b"".join(joined), memoryview(raw)[start : edit.start])
            joined = []
        else:
            joined.append(raw[start : edit.start])
        for piece in edit.pieces:
            if isinstance(piece, bytes):
                joined.append(piece)
            else:
                pieces += (b"".join(joined), piece)
                joined = []
        start = edit.end
    pieces.append(b"".join(joined))
    return pieces


def _reads_back(message: Message, ready: Ready, fitted: Sequence[Fitted], lengths: dict[str, tuple[int, int]]) -> bool:
    """Whether the copy, read again, has the same parts, each as it was or as it was meant to be."""
    sample = {name: (_sample(name, plain), _sample(name, escaped)) for name, (plain, escaped) in lengths.items()}
    head = [piece for piece in ready.head if isinstance(piece, bytes)]
    body = [fill(piece, sample) if isinstance(piece, Slot) else piece for piece in ready.body]
    edited = {one.leaf.part.path: one for one in fitted}
    for one in fitted:
        for edit in (*one.header, *one.body):
            for piece in edit.pieces:
                if isinstance(piece, bytes) and not piece.count(b"\n") == piece.count(b"\r") == piece.count(b"\r\n"):
                    return False
    try:
        parts = parse(b"".join((*head, b"\r\n", *body)), lines_checked=True).parts()
    except Unparsable:
        return False
    before = message.parts()
    if len(parts) != len(before):
        return False
    for old, new in zip(before, parts, strict=True):
        if old.path != new.path or old.type != new.type:
            return False
        meant = edited.get(old.path)
        if meant is None:
            if not _same(old, new):
                return False
        elif _decoded(new) != b"".join([_plain(piece, sample) for piece in meant.decoded]):
            return False
    return True


def _sample(name: str, length: int) -> bytes:
    return (b"https://%s.invalid/" % name.encode()).ljust(length, b"x")[:length]


def _plain(piece: Piece, values: dict[str, tuple[bytes, bytes]]) -> bytes:
    return piece if isinstance(piece, bytes) else values[piece.link][piece.escaped]


def _decoded(part: Part) -> bytes | None:
    encoding = transfer.encoding_of(part.get(b"content-transfer-encoding"))
    return None if encoding is None else transfer.decode(encoding, part.body)


def _same(old: Part, new: Part) -> bool:
    """Whether a part that was not edited kept its octets: its body if it has no parts inside, and its header."""
    if old.start and old.raw[old.start : old.head_end] != new.raw[new.start : new.head_end]:
        return False
    if old.children:
        return True
    return memoryview(old.raw)[old.body_start : old.end] == memoryview(new.raw)[new.body_start : new.end]
