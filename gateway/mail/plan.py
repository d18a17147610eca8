"""What will be done to a message: decided once, the same for all its copies.

The displayed leaves are the first text and the first HTML leaf that a reader is shown; they get the footer, or our link
where they bring a place for it. Mail that is signed, encrypted or an invitation keeps its body to the last octet, and
as marketing may leave only when it shows an opt-out by itself (RULES.md 5.1, E6).

Pure and total for a message that parsed. Known limits: text hidden by style sheets counts as displayed; an AMP part is
left alone and shown by a few readers in place of the HTML.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from gateway.mail import html_spans, opt_out, smime, transfer
from gateway.mail.charset import in_ascii_state, text_codec
from gateway.mail.footer import Change, Leaf, Piece, can_hold_ascii, too_long
from gateway.mail.headers import Unparsable, has_long_line
from gateway.mail.list_headers import HeadPlan, plan_head
from gateway.mail.mime import Message, Part, parse

CLIPPED_OVER = 102_000
"""Octets of HTML over which a large mailbox provider cuts the message off, footer and all."""

_PGP = (b"-----BEGIN PGP SIGNED MESSAGE-----", b"-----BEGIN PGP MESSAGE-----")
_SMIME = frozenset((b"application/pkcs7-mime", b"application/x-pkcs7-mime"))
_SIGNATURE_LINES = 20

Protection = Literal["signed", "encrypted", "pgp", "invitation"]
FooterKind = Literal["html+text", "html", "text", "fields-only", "existing-link"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wants:
    """What the sender's stream asks for.

    `marketing`: footer and list fields are due (so too for service mail to Canada, RULES.md 3 note 6). `relay`: the
    copy goes over SMTP, so no line may be over 998 octets. `show_to`: see `list_headers.plan_head`.
    """

    marketing: bool
    footer: Literal["auto", "always", "never"] = "auto"
    show_to: Literal["auto", "keep", "recipient"] = "auto"
    relay: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """Pieces of head and body with slots, made for one footer and one set of link lengths."""

    head: tuple[Piece, ...]
    body: tuple[Piece, ...]
    footer: FooterKind
    warnings: tuple[str, ...]


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
    unsubscribe: Literal["present", "injectable", "not_injectable"]
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


@dataclass(slots=True)
class _Shown:
    """What a reader is shown, as far as found."""

    text: Part | None = None
    html: Part | None = None
    protection: Protection | None = None
    protected: Part | None = None
    amp: bool = False

    def __bool__(self) -> bool:
        return bool(self.text or self.html or self.protection)

    def add(self, other: "_Shown") -> None:
        self.text = self.text or other.text
        self.html = self.html or other.html
        self.amp = self.amp or other.amp
        if self.protection is None:
            self.protection, self.protected = other.protection, other.protected


def make_plan(message: Message, wants: Wants) -> Plan:
    """Decide what happens to a message in all its copies. Total."""
    head = plan_head(message, marketing=wants.marketing, show_to=wants.show_to)
    shown = _shown(message.root, root=True, named=False)
    if not shown:
        shown = _shown(message.root, root=True, named=True)
    leaves: tuple[Leaf, ...] = ()
    unsubscribe: Literal["present", "injectable", "not_injectable"] = "injectable"
    footer: FooterKind = "fields-only"
    warnings: list[str] = ["amp-part-unchanged"] if shown.amp and wants.marketing else []
    read = {kind: _read(part) for kind, part in (("text", shown.text), ("html", shown.html)) if part is not None}
    protection = shown.protection or _inline_pgp(read)
    if wants.marketing:
        if protection is not None:
            opted = _protected_opt_out(shown, read, head.tool_uris)
            unsubscribe = "present" if opted else "not_injectable"
        else:
            leaves, unsubscribe, footer, more = _with_links(read, shown, wants, head)
            warnings += more
    reencoded, long_lines = _long_lines(message, {leaf.part.path for leaf in leaves}, wants)
    return Plan(
        message=message,
        wants=wants,
        head=head,
        leaves=leaves,
        reencoded=reencoded,
        footer=footer,
        unsubscribe=unsubscribe,
        protection=protection,
        warnings=tuple(warnings),
        needs_8bit=not message.raw.isascii() and not message.raw[message.body_start :].isascii(),
        needs_smtputf8=not message.raw.isascii() and _has_raw_fields(message),
        long_lines=long_lines,
        language=_language(message, read.get("html")),
    )


def _language(message: Message, html: Leaf | None) -> str | None:
    """What the message says of its language: Content-Language (RFC 3282), else the HTML element's attribute."""
    declared = (message.get(b"content-language") or b"").decode("ascii", "replace").partition(",")[0].strip()
    return declared or (html_spans.language(html.data) if html is not None else None)


def _shown(part: Part, *, root: bool, named: bool) -> _Shown:
    """What of a part is displayed. `named`: text inline under a file name counts too, when nothing else was found."""
    kind = part.type
    disposition, parameters = part.disposition
    if disposition == b"attachment":
        return _Shown(protection="encrypted", protected=part) if kind in _SMIME else _Shown()
    if kind == b"multipart/signed" and part.children:
        return _Shown(protection="signed", protected=part)
    if kind == b"multipart/encrypted":
        return _Shown(protection="encrypted", protected=part)
    if kind in _SMIME:
        sealed = part.parameters.get(b"smime-type", b"").lower() not in (b"signed-data", b"certs-only")
        return _Shown(protection="encrypted" if sealed else "signed", protected=part)
    if part.children:
        return _shown_multipart(part, named=named)
    if kind == b"text/calendar":
        invites = part.parameters.get(b"method", b"").lower() not in (b"publish", b"")
        return _Shown(protection="invitation", protected=part) if invites or root else _Shown()
    if kind == b"text/x-amp-html":
        return _Shown(amp=True)
    if kind not in (b"text/plain", b"text/html") or not (root or part.body_start > part.head_end):
        return _Shown()
    if not (root or named) and b"filename" in parameters:
        return _Shown()
    return _Shown(text=part) if kind == b"text/plain" else _Shown(html=part)


def _shown_multipart(part: Part, *, named: bool) -> _Shown:
    """Of alternatives every one counts; of related parts the root; of others the first that shows anything."""
    if part.type == b"multipart/alternative":
        found = _Shown()
        for child in part.children:
            found.add(_shown(child, root=False, named=named))
        return found
    for child in _related_first(part) if part.type == b"multipart/related" else part.children:
        shown = _shown(child, root=False, named=named)
        if shown:
            return shown
    return _Shown()


def _related_first(part: Part) -> Iterator[Part]:
    """The children of multipart/related, its root first (RFC 2387 section 3.2)."""
    start = part.parameters.get(b"start", b"").strip().strip(b"<>")
    chosen = part.children[0]
    if start:
        chosen = next((c for c in part.children if (c.get(b"content-id") or b"").strip(b"<> ") == start), chosen)
    yield chosen
    yield from (child for child in part.children if child is not chosen)


def _read(part: Part) -> Leaf:
    """A displayed leaf, decoded, without changes so far."""
    kind: Literal["text", "html"] = "html" if part.type == b"text/html" else "text"
    encoding = transfer.encoding_of(part.get(b"content-transfer-encoding"))
    data = transfer.decode(encoding, part.body) if encoding is not None else b""
    codec = text_codec(part.charset or b"us-ascii")
    if codec == "ascii" and not data.isascii():
        codec = None
    return Leaf(part=part, kind=kind, encoding=encoding or "identity", codec=codec, data=data, changes=())


def _editable(leaf: Leaf) -> Leaf | None:
    """The leaf as something ASCII can be put into, from UTF-16 and the like made UTF-8; None if that cannot be."""
    if transfer.encoding_of(leaf.part.get(b"content-transfer-encoding")) is None:
        return None
    if leaf.codec is None or can_hold_ascii(leaf.codec):
        return leaf
    return _moved(leaf)


def _moved(leaf: Leaf) -> Leaf | None:
    try:
        data = leaf.data.decode(leaf.codec or "ascii").removeprefix("\ufeff").encode("utf-8")
    except UnicodeError:
        return None
    if leaf.kind == "html":
        data = html_spans.with_meta_charset(data, b"utf-8")
    return Leaf(
        part=leaf.part, kind=leaf.kind, encoding=leaf.encoding, codec="utf-8", data=data, changes=(), transcoded=True
    )


def _with_links(
    read: dict[str, Leaf], shown: _Shown, wants: Wants, head: HeadPlan
) -> tuple[tuple[Leaf, ...], Literal["present", "injectable", "not_injectable"], FooterKind, list[str]]:
    """Changes of the displayed leaves: (leaves, unsubscribe, footer, warnings)."""
    leaves: list[Leaf] = []
    linked: list[str] = []
    warnings: list[str] = []
    for kind in ("html", "text"):
        leaf = _editable(read[kind]) if kind in read else None
        if leaf is None:
            if kind in read:
                warnings.append(f"{kind}-not-editable")
            continue
        spans, visible = opt_out.own_links(leaf.data, kind, head.tool_uris)
        changes = [Change(start, end, False) for start, end in spans]
        lead = trail = b""
        if visible:
            linked.append(kind)
        if wants.footer == "always" or (wants.footer == "auto" and not visible):
            leaf, at, lead, trail = _placed(leaf)
            if at < 0:
                warnings.append(f"{kind}-not-editable")
                continue
            changes = [change for change in changes if not change.start < at < change.end]
            changes.append(Change(at, at, True))
        if changes:
            leaves.append(_changed(leaf, changes, lead, trail))
    footed = [leaf.kind for leaf in leaves if any(change.footer for change in leaf.changes)]
    if wants.footer == "never" and linked and len(linked) < len(read):
        warnings.append("no-link-in-" + ("text" if linked == ["html"] else "html"))
    if not footed and not linked:
        return (), "not_injectable", "fields-only", warnings
    kinds: dict[tuple[str, ...], FooterKind] = {("html", "text"): "html+text", ("html",): "html", ("text",): "text"}
    footer = kinds.get(tuple(footed), "existing-link")
    return tuple(leaves), "injectable" if footed else "present", footer, warnings


def _changed(leaf: Leaf, changes: list[Change], lead: bytes, trail: bytes) -> Leaf:
    return Leaf(
        part=leaf.part, kind=leaf.kind, encoding=leaf.encoding, codec=leaf.codec, data=leaf.data,
        changes=tuple(sorted(changes)), lead=lead, trail=trail, transcoded=leaf.transcoded, whole=too_long(leaf.part),
    )  # fmt: skip


def _placed(leaf: Leaf) -> tuple[Leaf, int, bytes, bytes]:
    """Where the footer goes: (leaf, moved to UTF-8 if need be; decoded octet or -1; what goes before and after it)."""
    if leaf.kind == "html":
        at = html_spans.footer_position(leaf.data)
        if not in_ascii_state(leaf.codec, leaf.data, at):
            moved = _moved(leaf)
            if moved is None:
                return leaf, -1, b"", b""
            leaf, at = moved, html_spans.footer_position(moved.data)
        return leaf, at, b"\r\n", b"\r\n"
    data = leaf.data
    signature = data.rfind(b"\r\n-- \r\n") + 2
    if data.startswith(b"-- \r\n") and signature < 2:
        signature = 0
    if (signature >= 2 or data.startswith(b"-- \r\n")) and data.count(b"\r\n", signature) <= _SIGNATURE_LINES:
        return leaf, signature, b"" if data[:signature].endswith(b"\r\n\r\n") else b"\r\n", b"\r\n\r\n"
    if not data.strip():
        return leaf, len(data), b"", b"\r\n"
    return leaf, len(data), b"\r\n" if data.endswith(b"\r\n") else b"\r\n\r\n", b"\r\n"


def _inline_pgp(read: dict[str, Leaf]) -> Protection | None:
    for leaf in read.values():
        for mark in _PGP:
            if leaf.data.startswith(mark) or b"\n" + mark in leaf.data:
                return "pgp"
    return None


def _protected_opt_out(shown: _Shown, read: dict[str, Leaf], tool: tuple[str, ...]) -> bool:
    """Whether protected mail shows an opt-out: in what is displayed around it, or inside where that can be read."""
    leaves = list(read.values())
    inside = shown.protected
    if inside is not None and inside.type == b"multipart/signed":
        leaves += _leaves_of(_shown(inside.children[0], root=False, named=True))
    elif inside is not None and inside.type in _SMIME and shown.protection == "signed":
        leaves += _leaves_of_opaque(inside)
    return any(_shows_opt_out(leaf, tool) for leaf in leaves)


def _leaves_of(shown: _Shown) -> list[Leaf]:
    return [_read(part) for part in (shown.text, shown.html) if part is not None]


def _leaves_of_opaque(part: Part) -> list[Leaf]:
    """The displayed leaves of signed-only PKCS#7: its content is in the clear (RFC 8551 section 3.5.2)."""
    encoding = transfer.encoding_of(part.get(b"content-transfer-encoding"))
    content = smime.signed_content(transfer.decode(encoding, part.body)) if encoding is not None else None
    if content is None:
        return []
    try:
        return _leaves_of(_shown(parse(content).root, root=True, named=True))
    except Unparsable:
        return []


def _shows_opt_out(leaf: Leaf, tool: tuple[str, ...]) -> bool:
    text = leaf.data.decode(leaf.codec or "utf-8", "replace")
    if leaf.kind == "html":
        return opt_out.is_visible_in_html(text.encode("utf-8", "replace"), tool)
    return opt_out.is_visible(text) or any(uri in text for uri in tool)


def _long_lines(message: Message, edited: set[str], wants: Wants) -> tuple[tuple[Part, ...], bool]:
    """Unedited leaves to re-encode since they are relayed, and whether long lines stay nevertheless."""
    if not has_long_line(message.raw, message.body_start, len(message.raw)):
        return (), False
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
        if part.path in edited or not too_long(part):
            continue
        known = transfer.encoding_of(part.get(b"content-transfer-encoding")) is not None
        if wants.relay and known and not fixed and not part.type.startswith((b"message/", b"multipart/")):
            again.append(part)
        else:
            stays = True
    return tuple(again), stays or has_long_line(message.raw, seen, len(message.raw))


def _has_raw_fields(message: Message) -> bool:
    """Whether a header field, of the message or of a part, has octets over 127 (RFC 6532)."""
    return any(not message.raw[part.start : part.head_end].isascii() for part in message.parts())
