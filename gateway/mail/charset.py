"""Which codec reads a charset name, and whether ASCII bytes mean ASCII in it.

Names come from mail, so they are looked up in the standard library only after the codecs that are no charset (and the
ones that are slow on hostile input) are out.
"""

import codecs
import re
from functools import lru_cache

_ALIASES = {
    "iso-8859-8-i": "iso-8859-8",
    "iso-8859-8-e": "iso-8859-8",
    "x-sjis": "shift_jis",
    "windows-31j": "cp932",
    "x-gbk": "gbk",
    "x-euc-jp": "euc_jp",
    "x-mac-roman": "mac_roman",
    "macintosh": "mac_roman",
    "windows-874": "cp874",
    "cp-850": "cp850",
    "utf8mb4": "utf-8",
    "unicode-1-1-utf-8": "utf-8",
}
_NO_CHARSETS = frozenset(
    ("idna", "punycode", "unicode-escape", "raw-unicode-escape", "undefined", "mbcs", "oem", "palmos")
)
_SHIFTED = ("iso2022", "hz")
_PROBE = bytes(range(32, 127))
_HALVES = re.compile("[\ud800-\udfff]")


@lru_cache(maxsize=256)
def text_codec(name: bytes) -> str | None:
    """The standard library's name of the codec for a MIME charset name; None when there is none."""
    wanted = name.decode("ascii", "replace").strip().strip("\"'").lower()
    wanted = _ALIASES.get(wanted, wanted)
    if not wanted or len(wanted) > 40 or not wanted.isascii():
        return None
    try:
        found = codecs.lookup(wanted)
        if not getattr(found, "_is_text_encoding", True):
            return None
    except (LookupError, ValueError):
        return None
    if found.name.replace("_", "-") in _NO_CHARSETS:
        return None
    return found.name


def characters(octets: bytes, codec: str) -> str:
    """Octets as text; what cannot be read is U+FFFD. UTF-7 can spell halves of characters (surrogates): those too are
    none, and text that holds one could neither be compared nor shown. Raises UnicodeError for a few codecs alone."""
    text = octets.decode(codec, "replace")
    return text if text.isascii() else _HALVES.sub("\ufffd", text)


@lru_cache(maxsize=64)
def is_ascii_superset(codec: str) -> bool:
    """Whether a printable ASCII octet stands for itself wherever no shift is in force; not so in UTF-16 or UTF-7."""
    try:
        return codec != "utf-7" and _PROBE.decode(codec).encode(codec) == _PROBE and _PROBE.decode(codec)[33] == "A"
    except UnicodeError:
        return codec == "hz"


def is_shifted(codec: str | None) -> bool:
    """Whether plain ASCII octets can be halves of other characters behind a shift (ISO 2022, HZ)."""
    return codec is not None and codec.startswith(_SHIFTED)


def in_ascii_state(codec: str | None, data: bytes, at: int) -> bool:
    """Whether text put in at `at` would be read as ASCII. Lines begin unshifted (RFC 1468, RFC 1843)."""
    if not is_shifted(codec):
        return True
    line = data[data.rfind(b"\n", 0, at) + 1 : at]
    if codec == "hz":
        return line.rfind(b"~{") <= line.rfind(b"~}")
    escape = line.rfind(b"\x1b")
    return escape < 0 or line[escape + 1 : escape + 3] in (b"(B", b"(J")
