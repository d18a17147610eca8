"""What an HTML document holds, found on its bytes: tags, links and text that a reader sees, its language.

Reads as the HTML standard's tokenizer does where that matters for mail: comments (conditional ones for one vendor's
reader included), elements whose content is no markup, attribute values that hold `>` or tags, drawings with their
CDATA sections. The document must be in a charset whose ASCII octets mean ASCII (`charset.is_ascii_superset`).

Known limit: style sheets are not read, so text hidden by them counts as visible.
Source: HTML Living Standard, section 13.2.5.
"""

import html
import re
from collections.abc import Iterator
from typing import NamedTuple

MAX_READ = 2_000_000
"""Octets of a document that is read tag by tag, at most; of a longer one only the end is looked at."""

_DEEPEST = 200

NO_MARKUP = frozenset(
    (b"script", b"style", b"textarea", b"template", b"title", b"xmp", b"iframe", b"noembed", b"noframes", b"select")
)
CLOSERS = {name: re.compile(rb"</" + name + rb"(?=[\s/>])", re.IGNORECASE) for name in NO_MARKUP - {b"script"}}
_IN_SCRIPT = re.compile(rb"<!--|-->|</?script(?=[\s/>])", re.IGNORECASE)
_TAG = re.compile(rb"<(/?)([A-Za-z][^\s/>]*)")
_ATTRIBUTE = re.compile(
    rb"""[\s/]*+(?:(>)|([^\s/>][^\s/>=]*+)(?:\s*+=\s*+(?:"([^"]*+)"|'([^']*+)'|(?!["'>])([^\s>]++)|(["'])|(?=>)))?+)"""
)
_COMMENT_END = re.compile(rb"--!?>")
_LANGUAGE = re.compile(
    rb"""<html\b[^>]*?\s(?:xml:)?lang\s*=\s*["']?([A-Za-z]{2,3}(?:-[A-Za-z0-9]{1,8})*)""", re.IGNORECASE
)
_META_CHARSET = re.compile(rb"""(<meta\b[^>]*?charset\s*=\s*["']?)([A-Za-z0-9_.:-]+)""", re.IGNORECASE)
_HEAD = 65_536
_HIDDEN = re.compile(rb"display\s*:\s*none|visibility\s*:\s*hidden", re.IGNORECASE)
HIDES_CONTENT = frozenset((b"object", b"svg", b"math", b"audio", b"video", b"canvas"))
"""Elements whose content is not shown, or is no HTML."""

_VOID = frozenset(
    (b"area", b"base", b"br", b"col", b"embed", b"hr", b"img", b"input", b"link", b"meta", b"param", b"source", b"wbr")
)
_ROOMS = frozenset((b"td", b"th", b"caption", b"table", b"object", b"html"))
_OF_TABLES = frozenset((b"table", b"tbody", b"thead", b"tfoot", b"tr", b"td", b"th", b"caption", b"body", b"html"))
_ENDED_BY: dict[bytes, frozenset[bytes]] = {
    b"td": frozenset((b"td", b"th")), b"th": frozenset((b"td", b"th")), b"tr": frozenset((b"td", b"th", b"tr")),
    b"li": frozenset((b"li", b"p")), **dict.fromkeys(
        (b"p", b"div", b"table", b"ul", b"ol", b"h1", b"h2", b"h3", b"hr", b"blockquote", b"center", b"pre"),
        frozenset((b"p",)),
    ),
}  # fmt: skip
_DRAWN = frozenset((b"svg", b"math"))
_HTML_WITHIN = frozenset((b"foreignobject", b"desc", b"title", b"annotation-xml"))
_LEAVES_DRAWING = frozenset(
    (b"b", b"big", b"blockquote", b"body", b"br", b"center", b"code", b"dd", b"div", b"dl", b"dt", b"em", b"embed",
     b"h1", b"h2", b"h3", b"h4", b"h5", b"h6", b"head", b"hr", b"i", b"img", b"li", b"listing", b"menu", b"meta",
     b"nobr", b"ol", b"p", b"pre", b"ruby", b"s", b"small", b"span", b"strong", b"strike", b"sub", b"sup", b"table",
     b"tt", b"u", b"ul", b"var")
)  # fmt: skip


class Tag(NamedTuple):
    """One tag: its lower-case name, whether it is `</`, its span, its attributes (name, value start, value end)."""

    name: bytes
    closing: bool
    start: int
    end: int
    attributes: tuple[tuple[bytes, int, int], ...]


class Anchor(NamedTuple):
    """An `<a href>`: the span of the value between its quotes, the value as read, and whether it shows anything."""

    start: int
    end: int
    href: str
    text: str
    visible: bool


def tags(document: bytes) -> Iterator[Tag]:
    """Every tag outside comments and elements without markup, in order; a comment is given as name b"!".

    A tag or comment that never ends swallows the rest of the document in every reader: it is given as name b"" with
    `end` = start.
    """
    at, size = 0, min(len(document), MAX_READ)
    within: list[bytes] = []  # drawings, and places for HTML in them
    while True:
        at = document.find(b"<", at, size)
        if at < 0:
            return
        opened = _TAG.match(document, at)
        if opened is None:
            end = _no_tag_end(document, at, drawn=bool(within) and within[-1] in _DRAWN)
            if end < 0:
                yield Tag(b"", False, at, at, ())
                return
            if end > at + 1:
                yield Tag(b"!", False, at, min(end, size), ())
            at = end
            continue
        tag = _tag(document, opened)
        yield tag
        if not tag.name:
            return
        at = tag.end
        if within or tag.name in _DRAWN:
            _enter_or_leave(within, tag, document[tag.end - 2 : tag.end] == b"/>")
            if within and within[-1] in (*_DRAWN, tag.name):
                continue
        if not tag.closing and tag.name == b"plaintext":
            return
        if not tag.closing and tag.name in NO_MARKUP:
            at = _content_end(document, tag.name, at)
            if at < 0:
                yield Tag(b"", False, tag.start, tag.start, ())
                return


def _no_tag_end(document: bytes, at: int, *, drawn: bool) -> int:
    """Where what begins with `<` but is no tag ends: a comment, a declaration; -1 when it never does.

    One octet on where it is just a sign. `drawn`: inside a drawing, where CDATA sections are.
    """
    if document.startswith(b"<!--", at):
        found = _COMMENT_END.search(document, at + 2)
        return found.end() if found is not None else -1
    if drawn and document.startswith(b"<![CDATA[", at):
        end = document.find(b"]]>", at)
        return end + 3 if end >= 0 else -1
    if document[at + 1 : at + 2] in (b"!", b"?", b"/"):
        return document.find(b">", at) + 1 or len(document)
    return at + 1


def _enter_or_leave(within: list[bytes], tag: Tag, ends_itself: bool) -> None:
    """Keep account of drawings (HTML standard 13.2.6.5): in them style and title are elements like any other."""
    name = tag.name
    if tag.closing:
        if name in within:
            del within[len(within) - 1 - within[::-1].index(name) :]
    elif within and within[-1] in _DRAWN and name in _LEAVES_DRAWING:
        while within and within[-1] in _DRAWN:
            within.pop()
    elif not ends_itself and (name in _DRAWN or (name in _HTML_WITHIN and within and within[-1] in _DRAWN)):
        within.append(name)


def _content_end(document: bytes, name: bytes, at: int) -> int:
    """Where the closing tag of an element without markup begins; -1 when it never comes.

    Inside a comment in a script, a further `<script>` must be closed first (the standard's "double escaped" state).
    """
    if name != b"script":
        found = CLOSERS[name].search(document, at)
        return found.start() if found is not None else -1
    escaped = twice = False
    while (found := _IN_SCRIPT.search(document, at)) is not None:
        mark = found[0].lower()
        at = found.start() + 2
        if mark == b"<!--":
            escaped = True
        elif mark == b"-->":
            escaped = twice = False
        elif mark == b"<script":
            twice = escaped
        elif twice:
            twice = False
        else:
            return found.start()
    return -1


def _tag(document: bytes, opened: re.Match[bytes]) -> Tag:
    attributes: list[tuple[bytes, int, int]] = []
    at = opened.end()
    while True:
        found = _ATTRIBUTE.match(document, at)
        if found is None or found[6]:
            return Tag(b"", False, opened.start(), opened.start(), ())
        at = found.end()
        if found[1]:
            return Tag(opened[2].lower(), bool(opened[1]), opened.start(), at, tuple(attributes))
        group = next((group for group in (3, 4, 5) if found[group] is not None), 0)
        start, end = found.span(group) if group else (found.end(2), found.end(2))
        attributes.append((found[2].lower(), start, end))


class Nesting:
    """Which elements are open, as far as it matters for whether something is shown.

    `hidden_from`: the outermost open element that hides what is in it, as (start of its tag, its name), or None.
    Source: HTML Living Standard 13.2.6, simplified to the side of hidden.
    """

    __slots__ = ("_open", "hidden_from")

    def __init__(self) -> None:
        self._open: list[tuple[bytes, int, bool]] = []
        self.hidden_from: tuple[int, bytes] | None = None

    def take(self, document: bytes, tag: Tag) -> None:
        """Go on by one tag."""
        name = tag.name
        if name in _VOID or name == b"!":
            return
        if tag.closing:
            if name not in (b"body", b"html"):  # what is still open stays open behind them
                self._close(name)
            return
        ends = _ENDED_BY.get(name)
        while ends is not None and self._open and self._open[-1][0] in ends:
            self._pop(len(self._open) - 1)
        hides = _hides(document, tag)
        self._open.append((name, tag.start, hides))
        if hides and self.hidden_from is None:
            self.hidden_from = tag.start, name

    def _close(self, name: bytes) -> None:
        for index in range(len(self._open) - 1, max(-1, len(self._open) - _DEEPEST), -1):
            inner = self._open[index][0]
            if inner == name:
                self._pop(index)
                return
            if inner in _ROOMS and name not in _OF_TABLES:
                return

    def _pop(self, index: int) -> None:
        del self._open[index:]
        if self.hidden_from is not None and not any(start == self.hidden_from[0] for _, start, _ in self._open):
            self.hidden_from = None


def _hides(document: bytes, tag: Tag) -> bool:
    if tag.name in HIDES_CONTENT:
        return True
    for name, start, end in tag.attributes:
        if name == b"hidden" or (name == b"style" and _HIDDEN.search(document, start, end)):
            return True
    return False


def anchors(document: bytes) -> list[Anchor]:
    """All `<a href>` outside comments, with what they show: text, or an image's alt text."""
    found: list[Anchor] = []
    current: tuple[int, int] | None = None
    text_from, shown, hidden = 0, [], False
    nesting = Nesting()
    for tag in tags(document):
        nesting.take(document, tag)
        if current is not None:
            shown.append(document[text_from : tag.start])
            text_from = tag.end
            if tag.name == b"img":
                shown.append(b" " + _value(document, tag, b"alt") + b" [image]")
            if tag.name == b"a" or not tag.name:
                found.append(_anchor(document, current, b"".join(shown), hidden))
                current = None
        if tag.name == b"a" and not tag.closing:
            for name, start, end in tag.attributes:
                if name == b"href":
                    current = (start, end)
                    text_from, shown = tag.end, []
                    hidden = nesting.hidden_from is not None
                    break
    if current is not None:
        found.append(_anchor(document, current, b"".join(shown) + document[text_from:], hidden))
    return found


def _anchor(document: bytes, span: tuple[int, int], shown: bytes, hidden: bool) -> Anchor:
    href = html.unescape(document[span[0] : span[1]].decode("utf-8", "replace")).strip()
    text = " ".join(html.unescape(shown.decode("utf-8", "replace")).split())
    return Anchor(span[0], span[1], href, text, bool(text) and not hidden)


def _value(document: bytes, tag: Tag, wanted: bytes) -> bytes:
    for name, start, end in tag.attributes:
        if name == wanted:
            return document[start:end]
    return b""


def text_runs(document: bytes) -> list[tuple[int, int]]:
    """Spans of the document that are text to be read: outside tags, comments and elements without markup."""
    runs: list[tuple[int, int]] = []
    at = 0
    for tag in tags(document):
        if not (tag.closing and tag.name in NO_MARKUP):
            runs.append((at, tag.start))
        if not tag.name:
            return runs
        at = tag.end
    runs.append((at, len(document)))
    return runs


def language(document: bytes) -> str | None:
    """The language tag of the `<html>` element, or None."""
    found = _LANGUAGE.search(document, 0, 4000)
    return found[1].decode("ascii") if found else None


def with_meta_charset(document: bytes, charset: bytes) -> bytes:
    """The document with every charset that a `<meta>` near its beginning declares set to `charset`."""
    return _META_CHARSET.sub(lambda m: m[1] + charset, document[:_HEAD]) + document[_HEAD:]
