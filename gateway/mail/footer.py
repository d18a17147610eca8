"""The footer as a value, and its octets in a charset.

A footer is rendered by the shell, with marks where a link goes. Here its constant pieces are encoded once per charset
and remembered; what is left per copy is a handful of slots, each filled with one link.

HTML gets character references for all that is not ASCII, so no charset stands in its way, nor a `<meta>` that claims
another one.
"""

import html
import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from gateway.mail import transfer
from gateway.mail.transfer import Encoding

UNSUBSCRIBE = "\x02u\x02"
WHY = "\x02w\x02"
PREFERENCES = "\x02p\x02"
LINK_MARKS = {UNSUBSCRIBE: "page", WHY: "why", PREFERENCES: "preferences"}
"""Mark in a rendered footer -> the name in Links of what takes its place. In HTML a mark stands inside an attribute."""

_MARK = re.compile("(\x02[uwp]\x02)")


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


@lru_cache(maxsize=512)
def footer_pieces(text: str, shape: "Shape") -> tuple[Piece, ...] | None:
    """A rendered footer in a leaf's charset; None if that cannot express it. ValueError if it has no opt-out link."""
    if UNSUBSCRIBE not in text:
        raise ValueError("a footer without unsubscribe link")
    lines = text.replace("\r\n", "\n").replace("\r", "\n").strip("\n").split("\n")
    if not shape.html:
        lines = [_stuffed(line.rstrip(), flowed=shape.flowed) for line in lines]
    pieces: list[Piece] = [shape.lead]
    for index, piece in enumerate(_MARK.split("\r\n".join(lines))):
        if index % 2:
            pieces.append(Slot(LINK_MARKS[piece], shape.html, "identity"))
        elif shape.html:
            pieces.append(piece.encode("ascii", "xmlcharrefreplace"))
        elif shape.codec is None:
            pieces.append(unicodedata.normalize("NFKD", piece).encode("ascii", "ignore"))
        else:
            try:
                pieces.append(piece.encode(shape.codec))
            except UnicodeError:
                return None
    return tuple(merged([*pieces, shape.trail]))


class Shape(NamedTuple):
    """What the octets of a footer depend on.

    `codec` None writes ASCII without the accents, the last resort for text in a charset nobody knows. `lead` and
    `trail` go around the footer. `flowed`: RFC 3676.
    """

    html: bool
    codec: str | None
    flowed: bool
    lead: bytes
    trail: bytes


def _stuffed(line: str, *, flowed: bool) -> str:
    """Space-stuffing of format=flowed (RFC 3676 section 4.4)."""
    return " " + line if flowed and line.startswith((" ", ">", "From ")) else line


def merged(pieces: Iterable[Piece]) -> list[Piece]:
    """The pieces without empty ones, and with neighbouring octets joined."""
    kept: list[Piece] = []
    octets: list[bytes] = []
    for piece in pieces:
        if isinstance(piece, bytes):
            octets.append(piece)
            continue
        kept += (b"".join(octets), piece)
        octets = []
    kept.append(b"".join(octets))
    return [piece for piece in kept if piece]
