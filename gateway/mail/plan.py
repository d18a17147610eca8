"""What will be done to a message: decided once, the same for all its copies.

The displayed leaves are the first text and the first HTML leaf that a reader is shown; they get the footer, or our link
where they bring a place for it. Mail that is signed, encrypted or an invitation keeps its body to the last octet, and
as marketing may leave only when it shows an opt-out by itself (RULES.md 5.1, E6).

Pure and total for a message that parsed.
"""

from dataclasses import dataclass, field, replace
from typing import Literal

from gateway.mail import html_place, html_spans, opt_out, transfer
from gateway.mail.charset import in_ascii_state, is_ascii_superset
from gateway.mail.footer import Piece
from gateway.mail.headers import has_long_line
from gateway.mail.leaf import Change, Leaf
from gateway.mail.list_headers import HeadPlan, plan_head
from gateway.mail.mime import Message, Part
from gateway.mail.shown import Protection, amp_shows_opt_out, displayed, read_leaf, shows_opt_out
from suppression.frozen import quick_init

CLIPPED_OVER = 102_000
"""Octets of HTML over which a large mailbox provider cuts the message off, footer and all."""

_PGP = b"-----BEGIN PGP "
_SIGNATURE_LINES = 20
_NO_LANGUAGE = frozenset(("und", "mul", "zxx", "mis"))  # undetermined, several, none, uncoded (ISO 639-2)
_FOOTED: dict[str, "FooterKind"] = {"html+text": "html+text", "html": "html", "text": "text"}

FooterKind = Literal["html+text", "html", "text", "fields-only", "existing-link"]
Unsubscribe = Literal["present", "injectable", "not_injectable"]


@quick_init
@dataclass(frozen=True, slots=True, kw_only=True)
class Wants:
    """What the sender's stream asks for.

    `marketing`: footer and list fields are due (so too for service mail to Canada, RULES.md 3 note 6). `relay`: the
    copy goes over SMTP, so no line may be over 998 octets. `show_to`, `provider`: see `list_headers.plan_head`.
    `seven_bit`: the next server takes no octets over 127 in a body (RFC 6152 3), so leaves that have some are encoded;
    never those of signed or encrypted mail.
    """

    marketing: bool
    footer: Literal["auto", "always", "never"] = "auto"
    show_to: Literal["auto", "keep", "recipient"] = "auto"
    relay: bool = False
    provider: str | None = None
    seven_bit: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """Pieces of head and body with slots, made for one footer and one set of link lengths.

    What is long and stays as it is, an attachment, is a view of the original: no copy has one of its own. `long`: there
    is such a view.
    """

    head: tuple[Piece, ...]
    body: tuple[Piece | memoryview, ...]
    long: bool
    footer: FooterKind
    warnings: tuple[str, ...]


@quick_init
@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The plan for one message.

    `unsubscribe`: "present" (a reader sees an opt-out already, or our link takes its place), "injectable" (the footer
    brings it) or "not_injectable" (such marketing is blocked, E6). `protection`: why the body is left alone, or None.
    `long_lines`: a line over 998 octets that cannot be re-encoded is left: it cannot be relayed (5.6.3). `language`: of
    the message, as a tag, None when it does not say. `ready` is a memory of `rewrite`, no part of the value.
    """

    message: Message
    wants: Wants
    head: HeadPlan
    leaves: tuple[Leaf, ...]
    reencoded: tuple[Part, ...]
    footer: FooterKind
    unsubscribe: Unsubscribe
    protection: Protection | None
    warnings: tuple[str, ...]
    needs_8bit: bool
    needs_smtputf8: bool
    long_lines: bool
    language: str | None
    ready: dict[object, Ready] = field(default_factory=dict, compare=False, repr=False)

    @property
    def tool_one_click(self) -> str | None:
        """The tool's own RFC 8058 address, to be told of an opt-out; None when it has none."""
        return self.head.tool_one_click


_ENCODED_MESSAGES = frozenset(
    b"message/global" + kind for kind in (b"", b"-headers", b"-delivery-status", b"-disposition-notification")
)
"""Of all that holds a message, what may have a transfer encoding (RFC 6532 3.7, RFC 6533 6)."""


def make_plan(message: Message, wants: Wants) -> Plan:
    """Decide what happens to a message in all its copies. Total."""
    head = plan_head(message, marketing=wants.marketing, show_to=wants.show_to, provider=wants.provider)
    shown = displayed(message)
    read = [read_leaf(part) for part in (shown.html, shown.text) if part is not None]
    protection = shown.protection or ("pgp" if any(_holds_pgp(leaf.data) for leaf in read) else None)
    long = has_long_line(message.raw, message.body_start, len(message.raw))
    changed = _Changed()
    unsubscribe: Unsubscribe = "injectable"
    if wants.marketing and protection is not None:
        unsubscribe = "present" if shows_opt_out(shown, read, head.tool_uris) else "not_injectable"
    elif wants.marketing:
        changed = _change(read, wants, head.tool_uris, long=long)
        unsubscribe = changed.unsubscribe
        if shown.amp is not None:
            says = amp_shows_opt_out(shown.amp, head.tool_uris)
            changed.warnings.append("amp-part-unchanged" if says else "amp-part-without-opt-out")
    reencoded: tuple[Part, ...] = ()
    ascii_only = message.raw.isascii()
    if long or (wants.seven_bit and not ascii_only):
        edited = {leaf.part.path for leaf in changed.leaves}
        reencoded, long = _reencoded(message, edited, wants, eightbit=wants.seven_bit and protection is None)
    return Plan(
        message=message,
        wants=wants,
        head=head,
        leaves=tuple(changed.leaves),
        reencoded=reencoded,
        footer=changed.footer,
        unsubscribe=unsubscribe,
        protection=protection,
        warnings=tuple(changed.warnings),
        needs_8bit=not ascii_only and not message.raw[message.body_start :].isascii(),
        needs_smtputf8=not ascii_only and _has_raw_fields(message),
        long_lines=long,
        language=_language(message, read),
    )


def _holds_pgp(data: bytes) -> bool:
    at = data.find(_PGP)
    return at >= 0 and data.startswith((b"SIGNED MESSAGE-----", b"MESSAGE-----"), at + len(_PGP))


def _language(message: Message, read: list[Leaf]) -> str | None:
    """What the message says of its language: Content-Language (RFC 3282), else the HTML element's attribute."""
    declared = (message.get(b"content-language") or b"").decode("ascii", "replace").partition(",")[0].strip()
    tag = declared or next((html_spans.language(leaf.data) for leaf in read if leaf.kind == "html"), None)
    return None if tag is None or tag.lower() in _NO_LANGUAGE else tag


@dataclass(slots=True, kw_only=True)
class _Changed:
    """What `_change` has decided so far."""

    leaves: list[Leaf] = field(default_factory=list)
    unsubscribe: Unsubscribe = "not_injectable"
    footer: FooterKind = "fields-only"
    warnings: list[str] = field(default_factory=list)


def _change(read: list[Leaf], wants: Wants, tool: tuple[str, ...], *, long: bool) -> _Changed:
    """Decide per displayed leaf: our link where it brings a place for it, else the footer."""
    done = _Changed()
    linked: list[str] = []
    for original in read:
        placed = _place(original, wants, tool)
        if placed is None:
            if original.kind == "html" and _is_encoded_as_said(original):
                return _Changed()  # a page that readers are shown, and that has no place for the opt-out
            done.warnings.append(f"{original.kind}-not-editable")
            continue
        leaf, visible = placed
        if visible:
            linked.append(leaf.kind)
        if leaf.changes:
            whole = long and has_long_line(leaf.part.raw, leaf.part.body_start, leaf.part.end)
            whole = whole or (wants.seven_bit and leaf.encoding == "identity")
            done.leaves.append(replace(leaf, whole=True) if whole else leaf)
    footed = "+".join(leaf.kind for leaf in done.leaves if any(change.footer for change in leaf.changes))
    if footed:
        done.unsubscribe, done.footer = "injectable", _FOOTED[footed]
    elif linked:
        done.unsubscribe, done.footer = "present", "existing-link"
    else:
        done.leaves = []
    if wants.footer == "never" and linked and len(linked) < len(read):
        done.warnings.append("no-link-in-" + ("text" if linked == ["html"] else "html"))
    return done


def _is_encoded_as_said(leaf: Leaf) -> bool:
    """Whether the transfer encoding is a known one; what has another is no text to a reader (RFC 2045 section 6.4)."""
    return transfer.encoding_of(leaf.part.get(b"content-transfer-encoding")) is not None


def _place(leaf: Leaf, wants: Wants, tool: tuple[str, ...]) -> tuple[Leaf, bool] | None:
    """(the leaf with its changes, whether a reader sees our link without a footer); None if it cannot be edited."""
    if not _is_encoded_as_said(leaf):
        return None
    if leaf.codec is not None and not is_ascii_superset(leaf.codec):
        moved = _in_utf8(leaf)
        return None if moved is None else _place(moved, wants, tool)
    spans, visible = opt_out.own_links(leaf.data, leaf.kind, tool)
    changes = [Change(start, end, False) for start, end in spans]
    lead = trail = b""
    if wants.footer == "always" or (wants.footer == "auto" and not visible):
        place = _footer_place(leaf)
        if place is None:
            return None
        at, lead, trail = place
        if not in_ascii_state(leaf.codec, leaf.data, at):
            moved = _in_utf8(leaf)
            return None if moved is None else _place(moved, wants, tool)
        changes = [change for change in changes if not change.start < at < change.end]
        changes.append(Change(at, at, True))
    placed = Leaf(
        part=leaf.part, kind=leaf.kind, encoding=leaf.encoding, codec=leaf.codec, data=leaf.data,
        changes=tuple(sorted(changes)), lead=lead, trail=trail, transcoded=leaf.transcoded,
    )  # fmt: skip
    return placed, visible


def _in_utf8(leaf: Leaf) -> Leaf | None:
    """The leaf as UTF-8, from a charset in which ASCII octets cannot be put; None if its octets do not make sense.

    What is declared as UTF-16 or UTF-32 and has not one NUL is UTF-8, as browsers take it where a page says so.
    """
    wide = (leaf.codec or "").startswith(("utf-16", "utf-32")) and b"\0" not in leaf.data
    data = None if wide else _decoded(leaf.data, leaf.codec or "ascii")
    if data is None and not is_ascii_superset(leaf.codec or "ascii"):
        data = _decoded(leaf.data, "utf-8")
    if data is None:
        return None
    if leaf.kind == "html":
        data = html_spans.with_meta_charset(data, b"utf-8")
    return replace(leaf, codec="utf-8", data=data, transcoded=True)


def _decoded(data: bytes, codec: str) -> bytes | None:
    try:
        return data.decode(codec).removeprefix("\ufeff").encode("utf-8")
    except UnicodeError:
        return None


def _footer_place(leaf: Leaf) -> tuple[int, bytes, bytes] | None:
    """(decoded octet where the footer goes, what goes before it, what goes after it); None where none would see it."""
    data = leaf.data
    if leaf.kind == "html":
        at = html_place.footer_position(data)
        return None if at is None else (at, b"\r\n", b"\r\n")
    signature = _signature(data)
    if signature >= 0:
        spaced = not signature or data.endswith(b"\r\n\r\n", 0, signature)
        return signature, b"" if spaced else b"\r\n", b"\r\n\r\n"
    if not data.strip():
        return len(data), b"", b"\r\n"
    return len(data), b"\r\n" if data.endswith(b"\r\n") else b"\r\n\r\n", b"\r\n"


def _signature(data: bytes) -> int:
    """Where the signature separator `-- ` of a text begins (RFC 3676 section 4.3); -1 without a short signature."""
    at = data.rfind(b"\r\n-- \r\n") + 2
    if at < 2:
        at = 0 if data.startswith(b"-- \r\n") else -1
    return at if at >= 0 and data.count(b"\r\n", at) <= _SIGNATURE_LINES else -1


def _reencoded(
    message: Message, edited: set[str], wants: Wants, *, eightbit: bool
) -> tuple[tuple[Part, ...], bool]:  # fmt: skip
    """Unedited leaves to re-encode since they are relayed, and whether long lines stay nevertheless.

    `eightbit`: those with octets over 127 too.
    """
    again: list[Part] = []
    waiting: list[tuple[Part, bool]] = [(message.root, False)]
    stays, seen = False, message.body_start
    while waiting:
        part, fixed = waiting.pop()
        fixed = fixed or part.type in (b"multipart/signed", b"multipart/encrypted")
        if has_long_line(message.raw, seen, part.body_start):
            stays = True
        seen = part.body_start
        if part.children:
            waiting.extend((child, fixed) for child in reversed(part.children))
            continue
        seen = part.end
        long = has_long_line(message.raw, part.body_start, part.end)
        if part.path in edited or not (long or (eightbit and not part.body.isascii())):
            continue
        known = transfer.encoding_of(part.get(b"content-transfer-encoding")) is not None
        whole = part.type.startswith((b"message/", b"multipart/")) and part.type not in _ENCODED_MESSAGES
        if wants.relay and known and not fixed and not whole:
            again.append(part)
        else:
            stays = stays or long
    return tuple(again), stays or has_long_line(message.raw, seen, len(message.raw))


def _has_raw_fields(message: Message) -> bool:
    """Whether a header field, of the message or of a part, has octets over 127 (RFC 6532)."""
    return any(not message.raw[part.start : part.head_end].isascii() for part in message.parts())
