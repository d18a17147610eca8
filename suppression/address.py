"""When two addresses are the same person.

Addresses are normalised here, once, and compared only in this form (RULES.md 2.1.8): trimmed, NFC, the domain as a
lower-case A-label, the local part case-folded. Plus-tags and dots are kept: they are different addresses.
"""

import re
import unicodedata

import idna

_PLAIN = re.compile(
    r"[a-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\.[a-z0-9!#$%&'*+/=?^_`{|}~-]+)*"
    r"@(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
)
_LABELS = re.compile(r"(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_DOT_ATOM = re.compile(r"[^\s\x00-\x20\x7f()<>\[\]:;@\\,.\"]+(?:\.[^\s\x00-\x20\x7f()<>\[\]:;@\\,.\"]+)*")
UNREADABLE = "\ufffd"
"""What bytes that are no text were read as: nobody's name."""
_HALF = re.compile("[\ud800-\udfff]")
"""Half a character, as JSON can spell it: no text that could be written down."""
_QUOTED = re.compile(r'"((?:[^"\\\x00-\x1f\x7f]|\\[\x20-\x7e])*)"')


def canonical(address: str) -> str | None:
    """The one form in which an address is compared; None where it is no mailbox address (RFC 5321 4.1.2).

    Limits in octets (RFC 5321 4.5.3.1): local part 64, domain 255, the whole 254. A quoted local part that needs no
    quotes is the same mailbox as the unquoted one (RFC 5321 4.1.2). Address literals are no mailbox of a person.
    """
    lowered = address.strip().lower()
    if lowered.isascii() and _PLAIN.fullmatch(lowered):
        return lowered if len(lowered) <= 254 and lowered.index("@") <= 64 else None
    local, at, domain = unicodedata.normalize("NFC", address.strip()).rpartition("@")
    if not at or UNREADABLE in local or _HALF.search(local):
        return None
    plain, host = _local_part(local), domain_of(domain)
    if plain is None or host is None or len(plain.encode()) > 64:
        return None
    whole = f"{plain}@{host}"
    return whole if len(whole.encode()) <= 254 else None


def domain_of(domain: str) -> str | None:
    """A domain as lower-case A-label (IDNA 2008, UTS 46 mapping); None where it is none."""
    lowered = domain.lower()
    if not lowered.isascii():
        try:
            lowered = idna.encode(domain, uts46=True, transitional=False).decode("ascii").lower()
        except (idna.IDNAError, UnicodeError):
            return None
    return lowered if len(lowered) <= 255 and _LABELS.fullmatch(lowered) else None


def masked(address: str) -> str:
    """An address as shown to those who need not read it whole: the first letter and the domain."""
    local, _, domain = address.rpartition("@")
    return f"{local[:1]}***@{domain}"


def _local_part(local: str) -> str | None:
    quoted = _QUOTED.fullmatch(local)
    if quoted:
        inner = re.sub(r"\\(.)", r"\1", quoted[1]).casefold()
        if _DOT_ATOM.fullmatch(inner):
            return unicodedata.normalize("NFC", inner)
        return '"' + re.sub(r'(["\\])', r"\\\1", unicodedata.normalize("NFC", inner)) + '"' if inner else None
    folded = unicodedata.normalize("NFC", local.casefold())
    return folded if _DOT_ATOM.fullmatch(folded) else None
