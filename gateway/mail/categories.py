"""Which product categories a message is about, from the links in its body and the words of its subject.

For tools that know nothing of categories. A controller says which pages of its shop belong to which category; every
category found counts, since a mixed message needs all of them covered (RULES.md D4 check 16, Q3). Reads every text and
HTML part that is not an attachment, decoded, at most once per message.

Known limits: a click-tracker's opaque address says nothing of where it leads (one that carries the target in its query
is seen through); relative links and those in style sheets are not read.
"""

import html
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from posixpath import normpath
from typing import NamedTuple
from unicodedata import combining, normalize
from urllib.parse import unquote

import idna

from gateway.mail import html_spans, transfer
from gateway.mail.charset import text_codec
from gateway.mail.mime import Message

MOST_LINKS = 20_000
"""Different links of one message that are looked at, at most; one with more counts as unmapped."""

LONGEST_LINK = 16_384
"""Characters of a link that is looked at, at most; a longer one counts as unmapped. Servers take about half of it."""

_HOSTS_KNOWN = 1_000
_DROPPED = re.compile(r"[\t\r\n]+")  # a browser leaves them out of an address, wherever they stand
_HOST = re.compile(r"(?:\*\.)?(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\.)+[a-z0-9-]{2,63}|localhost")
_URL = re.compile(r"(?:https?:)?//(?:[^/?#@\s]*@)?([^/?#:\s]+)(?::\d*)?(/[^?#]*)?(\?[^#]*)?(?:#|$)", re.IGNORECASE)
_IN_TEXT = re.compile(r"(?:https?://|(?<![\w.@/-])www\.)[^\s<>\"']+", re.IGNORECASE)
_INSIDE = re.compile(r"https?(?:://|%3a%2f%2f)", re.IGNORECASE)
_WORDS = re.compile(r"[\w*]+")


class BadPattern(ValueError):
    """A pattern that can match nothing. `what` goes after the pattern, `remedy` says what to write."""

    def __init__(self, what: str, remedy: str) -> None:
        super().__init__(what)
        self.what, self.remedy = what, remedy


class LinkPattern(NamedTuple):
    """`host`: an A-label, or with `*.` in front any name below it. `wanted`: an expression for path and query."""

    text: str
    host: str
    wanted: str


def link_pattern(text: str) -> LinkPattern:
    """Read `shop.example/wine/*`. Raises BadPattern.

    Without `*` the path stands for itself and all below it; `*` stands for anything. Case does not matter. A pattern
    with `?` is held against path and query, any other against the path alone.
    """
    plain = re.sub(r"^https?://", "", text.strip(), flags=re.IGNORECASE)
    host, slash, rest = plain.partition("/")
    host = _host(host)
    if not _HOST.fullmatch(host):
        raise BadPattern("has no host", 'Write it as "shop.example/wine/*" or "*.shop.example/wine"')
    path, mark, query = (slash + rest).partition("?")
    path = _folded(path) or "/"
    if mark:
        return LinkPattern(text.strip(), host, _globbed(path, "[^?]*") + r"\?" + _globbed(_read(query), ".*"))
    if path.endswith("/*"):
        path = path[:-2] or "/"
    below = "" if "*" in path else "(?:/[^?]*)?"
    return LinkPattern(text.strip(), host, _globbed(path.rstrip("/"), "[^?]*") + below + r"(?:\?.*)?")


def _globbed(text: str, anything: str) -> str:
    """An expression for a text with `*`. The first place where a piece fits is as good as any later one, so none is
    tried twice (atomic groups): a hostile link costs its length, however many `*` there are."""
    first, *others = map(re.escape, text.split("*"))
    if not others:
        return first
    *inner, last = others
    return first + "".join(f"(?>{anything}?{piece})" for piece in inner if piece) + anything + last


def subject_pattern(text: str) -> re.Pattern[str]:
    """Read a word or several in a row, `*` for the rest of a word. Raises BadPattern."""
    words = _WORDS.findall(fold(text))
    if not any(word.strip("*") for word in words):
        raise BadPattern("holds no word", 'Write a word of the subject, as "wine" or "wijn*"')
    wanted = r"\W+".join(_globbed(word, r"\w*") for word in words)
    return re.compile(rf"(?<!\w){wanted}(?!\w)")


def fold(text: str) -> str:
    """The text without case and accents."""
    return "".join(c for c in normalize("NFKD", text.casefold()) if not combining(c))


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What links and subject say. `categories` empty: they lead to a product page whose category nobody knows.

    `matched`: what said so, for staff, without personal data.
    """

    categories: tuple[str, ...]
    matched: tuple[str, ...]


class _Host(NamedTuple):
    """The patterns of one host as one expression, the most particular first; group n is that of rows[n - 1]."""

    pattern: re.Pattern[str]
    rows: tuple[tuple[LinkPattern, str | None], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CategoryMap:
    """One controller's patterns: `links` with category None are about no product.

    `unmapped_unknown`: a link to a host with patterns that meets none makes the message's categories unknown.
    `hosts` is a memory of what holds for a host, no part of the value.
    """

    links: tuple[tuple[LinkPattern, str | None], ...]
    subjects: tuple[tuple[re.Pattern[str], str, str], ...]
    unmapped_unknown: bool = False
    hosts: dict[str, _Host | None] = field(default_factory=dict, compare=False, repr=False)

    def find(self, message: Message, subject: str) -> Found | None:
        """What the message is about; None when nothing in it is mapped."""
        categories: dict[str, str] = {}
        folded = fold(subject) if self.subjects else ""
        for pattern, text, category in self.subjects:
            if category not in categories and pattern.search(folded):
                categories[category] = f"subject {text}"
        unmapped = self._from_links(message, categories) if self.links else None
        matched = tuple(f"category {category} {place}" for category, place in categories.items())
        if unmapped is not None and self.unmapped_unknown:
            return Found(categories=(), matched=(*matched, f"category unknown, unmapped link to {unmapped}"))
        return Found(categories=tuple(categories), matched=matched) if categories else None

    def _from_links(self, message: Message, categories: dict[str, str]) -> str | None:
        """Add the categories of all links; the host of a link that meets no pattern of its host, None without one."""
        unmapped: str | None = None
        for number, link in enumerate(links(message)):
            if number >= MOST_LINKS:
                return unmapped or "more links than are read"
            if len(link) > LONGEST_LINK:
                unmapped = unmapped or "a longer address than is read"
                continue
            for host, path in targets(link):
                known = self._of(host)
                if known is None:
                    continue
                # The most particular pattern speaks for a link; all links together speak for the message.
                met = known.pattern.fullmatch(path)
                if met is None or met.lastindex is None:
                    unmapped = unmapped or host
                    continue
                pattern, category = known.rows[met.lastindex - 1]
                if category is not None:
                    categories.setdefault(category, f"link {pattern.text}")
        return unmapped

    def _of(self, host: str) -> _Host | None:
        """What holds for a host; None for one that no pattern speaks of."""
        try:
            return self.hosts[host]
        except KeyError:  # asked once: another thread may forget all hosts at any moment
            pass
        rows = sorted((row for row in self.links if _speaks_of(row[0], host)), key=lambda row: -len(row[0].text))
        either = re.compile("|".join(f"({pattern.wanted})" for pattern, _ in rows), re.DOTALL)
        found = _Host(either, tuple(rows)) if rows else None
        if len(self.hosts) >= _HOSTS_KNOWN:
            self.hosts.clear()
        self.hosts[host] = found
        return found


def _speaks_of(pattern: LinkPattern, host: str) -> bool:
    return host.endswith(pattern.host[1:]) if pattern.host.startswith("*.") else host == pattern.host


def category_map(
    links: Mapping[str, Iterable[str]], subjects: Mapping[str, Iterable[str]], neutral: Iterable[str] = (), *,
    unmapped_unknown: bool = False,
) -> CategoryMap | None:  # fmt: skip
    """The map of patterns by category; None without any. `neutral`: links that are about no product."""
    of_links: list[tuple[str, str | None]] = [(text, name) for name, texts in links.items() for text in texts]
    of_subjects = tuple((subject_pattern(text), text, name) for name, texts in subjects.items() for text in texts)
    if not of_links and not of_subjects:
        return None
    every = (*of_links, *((text, None) for text in neutral))
    return CategoryMap(
        links=tuple((link_pattern(text), category) for text, category in every), subjects=of_subjects,
        unmapped_unknown=unmapped_unknown,
    )  # fmt: skip


def links(message: Message) -> Iterator[str]:
    """Every different web address in the text and HTML parts of a message, as written there. Total."""
    seen: set[str] = set()
    for part in message.parts():
        if part.children or part.type not in (b"text/html", b"text/plain", b"text/x-amp-html"):
            continue
        if part.disposition[0] == b"attachment":
            continue
        encoding = transfer.encoding_of(part.get(b"content-transfer-encoding"))
        data = transfer.decode(encoding, part.body) if encoding is not None else part.body
        codec = text_codec(part.charset or b"us-ascii")
        text = data.decode("utf-8" if codec in (None, "ascii") else codec, "replace")
        for link in _in_text(text) if part.type == b"text/plain" else _in_html(text.encode("utf-8", "replace")):
            if link not in seen:
                seen.add(link)
                yield link


def _in_text(text: str) -> Iterator[str]:
    for found in _IN_TEXT.finditer(text):
        link = found[0].rstrip(".,;:!?)]}*_")
        yield link if "://" in link else f"//{link}"


def _in_html(document: bytes) -> Iterator[str]:
    for tag in html_spans.tags(document):
        if tag.name in (b"a", b"area") and not tag.closing:
            for name, start, end in tag.attributes:
                if name == b"href":
                    yield html.unescape(document[start:end].decode("utf-8", "replace")).strip()
                    break


def targets(link: str) -> Iterator[tuple[str, str]]:
    """Where a link leads: host, and path with query, folded; then the addresses a click-tracker carries along."""
    link = _DROPPED.sub("", link)
    for _ in range(3):
        found = _URL.match(link)
        if found is None:
            return
        query = f"?{_read(found[3][1:])}" if found[3] else ""
        yield _host(found[1]), (_folded(found[2] or "") or "/") + query
        inside = _INSIDE.search(link, found.end(1))
        if inside is None:
            return
        link = link[inside.start() :].partition("&")[0]
        if "://" not in link[:9]:
            link = unquote(link)


def _host(host: str) -> str:
    host = host.strip().rstrip(".").lower()
    if host.isascii():
        return host
    wild, host = ("*.", host[2:]) if host.startswith("*.") else ("", host)
    try:
        return wild + idna.encode(host, uts46=True).decode("ascii")
    except idna.IDNAError:
        return wild + host


def _read(text: str) -> str:
    """Percent signs read once, case folded."""
    return (unquote(text) if "%" in text else text).casefold()


def _folded(path: str) -> str:
    """A path in one spelling: percent signs read once, no doubled slashes, no dots to climb with, case folded."""
    plain = _read(path).replace("?", "%3f")  # one that was written so is no query
    if "//" not in plain and "/." not in plain:
        return plain
    climbed = normpath("/" + plain.lstrip("/"))
    return climbed if climbed == "/" or not plain.endswith("/") else climbed + "/"
