"""Which links of a message are the sending tool's own opt-out: by its List-Unsubscribe field, also behind trackers.

A tool's page must not be where people unsubscribe: it would know of an opt-out that we do not. Its link is found
- as the very address that the field names;
- as an address of the same host, or for the mailbox the field names, that shares its token (the part that is the
  recipient's own) and says in words that it is an opt-out: many tools put a slightly different one in the field;
- as the target that a click tracker carries along, percent-encoded or in base64;
- as a link through the tool's own tracker, whose target only the tool knows, under words that say opt-out.
What shares no more than the host or the token is some other link, and stays.

Never fetches anything. Known limit: a tracker on another host whose links are mere numbers is not looked through; the
footer is added then.
"""

import base64
import binascii
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

MOST_URIS = 10
"""Addresses of one List-Unsubscribe field that are looked at."""

_MOST_OCTETS = 4000
_SAYS_OPT_OUT = re.compile(
    r"unsub|opt[-_]?out|afmeld|uitschrij|abmeld|abbestell|austrag|desabo|desinscri|signoff|sign[-_]off|[?&]na=uc?(?:&|\Z)",
    re.IGNORECASE,
)
_TRACKERS = re.compile(
    r"/link/[0-9a-f-]{36}/[0-9a-f-]{36}/[0-9a-f-]{36}"  # listmonk
    r"|/r/[0-9a-f]+\?ct="  # Mautic
    r"|/lt(?:\.php\?(?:tid|id)=|/[\w+/=-]+\Z)"  # phpList
    r"|/links/[\w-]+/[\w-]+/[\w-]+/[\w-]+"  # Mailtrain
    r"|/l/[\w-]+/[\w-]+(?:/[\w-]+)?/?\Z"  # Sendy
    r"|endpoint=track&action=click"  # MailPoet
    r"|/civicrm/mailing/url\?|/extern/url\.php\?"  # CiviMail
    r"|/track-url/"  # MailWizz
    r"|/r/\w+/m/\d+"  # Odoo
    r"|/r/[0-9a-f]{6,}\?m="  # Ghost
    r"|[?&]ns_url="  # FluentCRM
    r"|[?&]task=click\b"  # AcyMailing
)
_CARRIES = re.compile(r"aHR0c|https?%3a|[=/]https?:|[?&]nltr=", re.IGNORECASE)
_WORTH_A_LOOK = re.compile("|".join((_SAYS_OPT_OUT.pattern, _CARRIES.pattern)), re.IGNORECASE)
_ADDRESS = re.compile(r"https?://[^\s<>\"';,|\\]+")
_BASE64 = re.compile(r"[A-Za-z0-9_+/-]{16,}={0,2}")
_DEEPEST = 2


class _Known(NamedTuple):
    """One address of the field: its host in lower case ("" for a mailbox) and its tokens."""

    host: str
    tokens: frozenset[str]


class ToolLinks:
    """The opt-out addresses of one message's List-Unsubscribe field, and what is recognised by them."""

    __slots__ = ("_hosts", "_known", "uris")

    def __init__(self, uris: Sequence[str]) -> None:
        self.uris = tuple(uri for uri in uris[:MOST_URIS] if len(uri) <= _MOST_OCTETS)
        self._known = tuple(_known(uri) for uri in self.uris)
        self._hosts = frozenset(known.host for known in self._known if known.host)

    def is_own(self, href: str) -> bool:
        """Whether an address, as read, is the tool's opt-out, by itself or as what it carries along."""
        return self._is_own(href, 0)

    def is_tracked(self, href: str) -> bool:
        """Whether an address is a link through the tool's own tracker; where it leads is not known."""
        return _TRACKERS.search(href) is not None and _host(href) in self._hosts

    def _is_own(self, href: str, depth: int) -> bool:
        if href in self.uris:
            return True
        if len(href) > _MOST_OCTETS or not _WORTH_A_LOOK.search(href):
            return False
        split = _split(href)
        if split is None:
            return False
        if _SAYS_OPT_OUT.search(_without_host(href)):
            host, tokens = (split.hostname or "").lower(), _tokens(split)
            if any(known.host in ("", host) and known.tokens & tokens for known in self._known):
                return True
        return depth < _DEEPEST and any(self._is_own(carried, depth + 1) for carried in _carried(split))


def _known(uri: str) -> _Known:
    split = _split(uri)
    if split is None:
        return _Known("", frozenset())
    if split.scheme == "mailto":
        words = re.split(r"[.+=@-]", split.path.partition("@")[0])
        subject = [value for name, value in parse_qsl(split.query) if name.lower() == "subject"]
        return _Known("", frozenset(word for word in (*words, *subject) if _is_token(word)))
    return _Known((split.hostname or "").lower(), _tokens(split))


def _split(uri: str) -> SplitResult | None:
    try:
        split = urlsplit(uri)
    except ValueError:
        return None
    return split if split.scheme in ("http", "https", "mailto") else None


def _host(uri: str) -> str:
    split = _split(uri)
    return (split.hostname or "").lower() if split is not None else ""


def _without_host(uri: str) -> str:
    return uri.partition("://")[2].partition("/")[2] or uri.partition("?")[2]


def _tokens(split: SplitResult) -> frozenset[str]:
    """What tells one recipient's address from another's: parts with a digit in them, or long ones in mixed case."""
    values = [value for _, value in parse_qsl(split.query)]
    return frozenset(part for part in (*unquote(split.path).split("/"), *values) if _is_token(part))


def _is_token(part: str) -> bool:
    if len(part) < 6:
        return False
    return any(c.isdigit() for c in part) or (len(part) >= 16 and not part.islower())


def _carried(split: SplitResult) -> Iterator[str]:
    """Addresses inside an address: in its parameters and the parts of its path, encoded or not."""
    values = [value for _, value in parse_qsl(split.query, keep_blank_values=True)] or [unquote(split.query)]
    for value in (*values, unquote(split.path), *split.path.split("/")):
        for text in (value, unquote(value), _from_base64(value)):
            yield from _ADDRESS.findall(text.replace("\\/", "/"))


def _from_base64(text: str) -> str:
    if not _BASE64.fullmatch(text):
        return ""
    text = text.rstrip("=").replace("-", "+").replace("_", "/")
    try:
        return base64.b64decode(text[: len(text) - (len(text) % 4 == 1)] + "=" * (-len(text) % 4)).decode(
            "utf-8", "replace"
        )
    except (binascii.Error, ValueError):
        return ""
