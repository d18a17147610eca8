"""What of a message a reader is shown: the first text and the first HTML leaf, and what keeps hands off the body.

Attachments and forwarded messages are not displayed. Known limit: text hidden by style sheets counts as displayed.
An AMP part, which a few mailbox providers show in place of the HTML for some days, is noticed and never edited: one
octet that its validator dislikes and it is dropped. Those providers show the one-click opt-out of the header beside it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from gateway.mail import opt_out, smime, transfer
from gateway.mail.charset import text_codec
from gateway.mail.headers import Unparsable
from gateway.mail.leaf import Leaf
from gateway.mail.mime import Message, Part, parse

Protection = Literal["signed", "encrypted", "pgp", "invitation"]
"""Why a body must stay as it is: RFC 1847, RFC 8551, OpenPGP inside the text, or an invitation (RFC 6047)."""

_BLANK = 80
"""White space over so many octets is no longer looked at: somebody's drawing, for all we know."""

_SMIME = frozenset((b"application/pkcs7-mime", b"application/x-pkcs7-mime"))


@dataclass(slots=True, kw_only=True)
class Shown:
    """What a reader is shown, as far as found. `protected`: the part that must stay as it is."""

    text: Part | None = None
    html: Part | None = None
    protection: Protection | None = None
    protected: Part | None = None
    amp: Part | None = None

    def __bool__(self) -> bool:
        return bool(self.text or self.html or self.protection)

    def add(self, other: "Shown") -> None:
        """Take from an alternative what was not found yet."""
        self.text = self.text or other.text
        self.html = self.html or other.html
        self.amp = self.amp or other.amp
        if self.protection is None:
            self.protection, self.protected = other.protection, other.protected


def displayed(message: Message) -> Shown:
    """What of a message is displayed; text under a file name, and blank text, only when there is nothing else."""
    return _shown(message.root, root=True, named=False) or _shown(message.root, root=True, named=True)


def _shown(part: Part, *, root: bool, named: bool) -> Shown:
    """What of a part is displayed. `named`: nothing else was found, so text inline under a file name counts too."""
    kind = part.type
    disposition, parameters = part.disposition
    if disposition == b"attachment" and not (root and kind in _SMIME):
        return Shown()
    if kind == b"multipart/signed" and part.children:
        return Shown(protection="signed", protected=part)
    if kind == b"multipart/encrypted":
        return Shown(protection="encrypted", protected=part)
    if kind in _SMIME:
        sealed = part.parameters.get(b"smime-type", b"").lower() not in (b"signed-data", b"certs-only")
        return Shown(protection="encrypted" if sealed else "signed", protected=part)
    if part.children:
        return _shown_multipart(part, named=named)
    if kind == b"text/calendar":
        invites = part.parameters.get(b"method", b"").lower() not in (b"publish", b"")
        return Shown(protection="invitation", protected=part) if invites or root else Shown()
    if kind == b"text/x-amp-html":
        return Shown(amp=part)
    if kind not in (b"text/plain", b"text/html") or not (root or _has_body(part)):
        return Shown()
    if not (root or named) and b"filename" in parameters:
        return Shown()
    return Shown(text=part) if kind == b"text/plain" else Shown(html=part)


def _shown_multipart(part: Part, *, named: bool) -> Shown:
    """Of alternatives every one counts; of related parts the root; of others the first that shows anything."""
    if part.type == b"multipart/alternative":
        found = Shown()
        for child in part.children:
            found.add(_shown(child, root=False, named=named))
        return found
    for child in _related_first(part) if part.type == b"multipart/related" else part.children:
        if not named and _is_blank(child):
            continue
        shown = _shown(child, root=False, named=named)
        if shown:
            return shown
    return Shown()


def _has_body(part: Part) -> bool:
    """Whether there is an empty line behind the fields: its CRLF may be the one before the next delimiter."""
    return part.body_start > part.head_end or (
        part.end == part.body_start and part.raw.endswith(b"\r\n", 0, part.head_end)
    )


def _is_blank(part: Part) -> bool:
    """Whether a leaf shows nothing: some tools put an empty text before what is to be read."""
    size = part.end - part.body_start
    return not part.children and size <= _BLANK and not part.raw[part.body_start : part.end].strip()


def _related_first(part: Part) -> Iterator[Part]:
    """The children of multipart/related, its root first (RFC 2387 section 3.2)."""
    start = part.parameters.get(b"start", b"").strip().strip(b"<>")
    chosen = part.children[0]
    if start:
        chosen = next((c for c in part.children if (c.get(b"content-id") or b"").strip(b"<> ") == start), chosen)
    yield chosen
    yield from (child for child in part.children if child is not chosen)


def read_leaf(part: Part) -> Leaf:
    """A displayed leaf, decoded, without changes so far."""
    kind: Literal["text", "html"] = "html" if part.type == b"text/html" else "text"
    encoding = transfer.encoding_of(part.get(b"content-transfer-encoding"))
    data = transfer.decode(encoding, part.body) if encoding is not None else b""
    codec = text_codec(part.charset or b"us-ascii")
    if codec == "ascii" and not data.isascii():
        codec = None
    return Leaf(part=part, kind=kind, encoding=encoding or "identity", codec=codec, data=data, changes=())


def shows_opt_out(shown: Shown, read: list[Leaf], tool: tuple[str, ...]) -> bool:
    """Whether protected mail shows an opt-out: in what is displayed around it, or inside where that can be read."""
    leaves = list(read)
    inside = shown.protected
    if inside is not None and inside.type == b"multipart/signed":
        leaves += _leaves_of(_shown(inside.children[0], root=False, named=True))
    elif inside is not None and inside.type in _SMIME:
        leaves += _leaves_of_opaque(inside)
    return any(_leaf_shows_opt_out(leaf, tool) for leaf in leaves)


def amp_shows_opt_out(part: Part, tool: tuple[str, ...]) -> bool:
    """Whether an AMP part has an opt-out of its own that a reader sees."""
    leaf = read_leaf(part)
    return opt_out.is_visible_in_html(leaf.data, tool)


def _leaves_of(shown: Shown) -> list[Leaf]:
    return [read_leaf(part) for part in (shown.text, shown.html) if part is not None]


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


def _leaf_shows_opt_out(leaf: Leaf, tool: tuple[str, ...]) -> bool:
    text = leaf.data.decode(leaf.codec or "utf-8", "replace")
    if leaf.kind == "html":
        return opt_out.is_visible_in_html(text.encode("utf-8", "replace"), tool)
    return opt_out.is_visible(text) or any(uri in text for uri in tool)
