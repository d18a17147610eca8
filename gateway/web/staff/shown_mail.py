"""A mail as values to show: header fields, text, HTML with dead links, names of the other parts.

Lenient where `gateway.mail` is exact: any charset, any transfer encoding, any breakage gives something to look at and
never an exception. Nothing here makes the HTML safe; the frame's sandbox does (`captured.SANDBOX`).
"""

import base64
import email.message
import email.policy
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from email.header import decode_header
from typing import Final

from gateway.mail.charset import text_codec
from suppression.address import masked
from suppression.link_token import LENGTH

_KINDS: Final = frozenset({"image/png", "image/jpeg", "image/gif", "image/webp"})
# Begins where a word does: else a long word without an @ would be read again from each of its characters.
_ADDRESS: Final = re.compile(
    r"(?<![^\s<>\"'()\[\],;:=/?&@])[^\s<>\"'()\[\],;:=/?&@]++@[A-Za-z0-9\u0080-\uffff.-]+\.[A-Za-z0-9\u0080-\uffff-]+"
)
_CID: Final = re.compile(r"cid:([^\s\"'>)]+)", re.IGNORECASE)
_TOKEN: Final = re.compile(rf"(?<![A-Za-z0-9_-])[A-Za-z0-9_-]{{{LENGTH}}}(?![A-Za-z0-9_-])")
_LONGEST: Final = 2_000_000
_MOST_ADDRESSES: Final = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownMail:
    """`recipient`: whose copy it is, whatever To says; None when their data is gone. `fields`: name and value in order.

    `html`, `text`: None where the mail has none. `parts`: name, type, bytes.
    """

    recipient: str | None
    subject: str
    fields: tuple[tuple[str, str], ...]
    text: str | None
    html: str | None
    parts: tuple[tuple[str, str, int], ...]


def read_mail(
    raw: bytes, *, public_url: str, is_token: Callable[[str], bool], recipient: str | None, mask: bool
) -> ShownMail:
    """Read a mail for display. Links to our own pages become "#", our tokens elsewhere (mailto opt-outs) "...".

    With `mask`, the recipient's address and those in To and Cc are shortened wherever they stand.
    """
    message = email.message_from_bytes(raw, policy=email.policy.compat32)
    leaves = [part for part in message.walk() if not part.is_multipart()]
    html = next((part for part in leaves if _is_shown(part, "text/html")), None)
    text = next((part for part in leaves if _is_shown(part, "text/plain")), None)
    dead = re.compile(re.escape(public_url.rstrip("/")) + r"/[uowprc]/[A-Za-z0-9._~%-]*", re.IGNORECASE)
    hidden = _hidden(message, recipient) if mask else None

    def safe(value: str) -> str:
        value = _TOKEN.sub(lambda found: "..." if is_token(found[0]) else found[0], dead.sub("#", value))
        return hidden(value) if hidden else value

    images = {_content_id(part): part for part in leaves if part.get_content_type() in _KINDS and _content_id(part)}
    return ShownMail(
        recipient=masked(recipient) if recipient and mask else recipient,
        subject=safe(decoded_words(next((v for name, v in _fields(message) if name.lower() == "subject"), ""))),
        fields=tuple((name, safe(decoded_words(value))) for name, value in _fields(message)),
        text=safe(_text(text)) if text else None,
        html=_with_images(safe(_text(html)), images) if html else None,
        parts=tuple(_described(part) for part in leaves if part is not html and part is not text),
    )


def _hidden(message: "email.message.Message[str, str]", recipient: str | None) -> Callable[[str], str]:
    """Shortens the addresses that this role may not read, also as they stand in links, markup and return paths."""
    shown_to = [str(value) for name in ("to", "cc") for value in message.get_all(name, [])]
    found = [recipient or "", *(a for value in shown_to for a in _ADDRESS.findall(value))][:_MOST_ADDRESSES]
    addresses = sorted({a for a in found if a}, key=len, reverse=True)
    if not addresses:
        return str
    # What an address can begin with: looked at first, since most places in a text begin none.
    begins = "".join({re.escape(c) for a in addresses for c in (a[0].lower(), a[0].upper())})
    spelled = "|".join(f"({''.join(map(_spellings, a))})" for a in addresses)
    pattern = re.compile(f"(?=[{begins}%&])(?:{spelled})", re.IGNORECASE)
    return lambda text: pattern.sub(lambda match: masked(addresses[(match.lastindex or 1) - 1]), text)


def _spellings(character: str) -> str:
    """One character of an address as it can be written: itself, percent-encoded, as an HTML reference."""
    ways = [re.escape(character), "".join(f"%{octet:02x}" for octet in character.encode("utf-8", "replace"))]
    ways += [f"&#0*{ord(character)};?", f"&#x0*{ord(character):x};?"]
    if character == "@":
        ways += ["=", "&commat;"]  # "=": in return paths (VERP)
    return f"(?:{'|'.join(ways)})"


def _fields(message: "email.message.Message[str, str]") -> list[tuple[str, str]]:
    """Names and values as they stand; octets that are no ASCII read as UTF-8, else Latin-1."""
    raw = [(name, str(value).encode("utf-8", "surrogateescape")) for name, value in message.raw_items()]
    return [(name, _decode(value, None)) for name, value in raw]


def decoded_words(value: str) -> str:
    """A field's value with its encoded words read (RFC 2047), unfolded; what cannot be read stays as it is."""
    unfolded = re.sub(r"\r?\n[ \t]*", " ", value).strip()
    try:
        pieces = decode_header(unfolded)
    except Exception:  # the parser raises several kinds on broken words
        return unfolded
    return "".join(_decode(piece, charset) if isinstance(piece, bytes) else piece for piece, charset in pieces)


def _is_shown(part: "email.message.Message[str, str]", kind: str) -> bool:
    return part.get_content_type() == kind and part.get_content_disposition() != "attachment"


def _text(part: "email.message.Message[str, str]") -> str:
    payload = part.get_payload(decode=True)
    charset = part.get_content_charset()
    return _decode(payload[:_LONGEST] if isinstance(payload, bytes) else b"", charset)


def _decode(octets: bytes, charset: str | None) -> str:
    """Text by its declared charset, else UTF-8, else Latin-1, which reads anything."""
    for codec in (text_codec((charset or "").encode("ascii", "replace")), "utf-8"):
        try:
            return octets.decode(codec or "utf-8")
        except ValueError:
            continue
    return octets.decode("latin-1")


def _content_id(part: "email.message.Message[str, str]") -> str:
    return str(part.get("content-id", "")).strip().strip("<>")


def _with_images(html: str, images: "Mapping[str, email.message.Message[str, str]]") -> str:
    """Pictures that came with the mail stand in the page itself; those from outside stay out."""

    def inlined(found: re.Match[str]) -> str:
        part = images.get(found[1])
        payload = part.get_payload(decode=True) if part is not None else None
        if part is None or not isinstance(payload, bytes) or len(payload) > _LONGEST:
            return "data:,"
        return f"data:{part.get_content_type()};base64,{base64.b64encode(payload).decode()}"

    return _CID.sub(inlined, html)


def _described(part: "email.message.Message[str, str]") -> tuple[str, str, int]:
    try:
        name = part.get_filename() or ""
    except Exception:  # a broken RFC 2231 parameter
        name = ""
    payload = part.get_payload(decode=True)
    return decoded_words(name), part.get_content_type(), len(payload) if isinstance(payload, bytes) else 0
