"""Places in an HTML document, found on its bytes: where the footer goes, which links it has, its language.

Reads as the HTML standard's tokenizer does where that matters for mail: comments (conditional ones for one vendor's
reader included), elements whose content is no markup, attribute values that hold `>` or tags. The document must be in
a charset whose ASCII octets mean ASCII (`charset.is_ascii_superset`).

Known limit: style sheets are not read, so text hidden by them counts as visible.
Source: HTML Living Standard, section 13.2.5.
"""

import html
import re
from collections.abc import Iterator
from typing import NamedTuple

MAX_READ = 2_000_000
"""Octets of a document that is read tag by tag, at most; of a longer one only the end is looked at."""

_TAIL = re.compile(rb"</body\s*>\s*(?:</html\s*>\s*)?\Z", re.IGNORECASE)
_OPENER = re.compile(
    rb"<(?:!--|[sS](?:[cC][rR]|[tT][yY]|[eE][lL])[a-zA-Z]*|[tT](?:[eE]|[iI])[a-zA-Z]*|[xX][mM][pP]|[iI][fF][a-zA-Z]*"
    rb"|[nN][oO][eEfF][a-zA-Z]*|[pP][lL][a-zA-Z]*)"
)
_NO_MARKUP = frozenset(
    (b"script", b"style", b"textarea", b"template", b"title", b"xmp", b"iframe", b"noembed", b"noframes", b"select")
)
_CLOSERS = {name: re.compile(rb"</" + name + rb"(?=[\s/>])", re.IGNORECASE) for name in _NO_MARKUP - {b"script"}}
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
    while True:
        at = document.find(b"<", at, size)
        if at < 0:
            return
        if document.startswith(b"<!--", at):
            found = _COMMENT_END.search(document, at + 2)
            if found is None:
                yield Tag(b"", False, at, at, ())
                return
            yield Tag(b"!", False, at, found.end(), ())
            at = found.end()
            continue
        opened = _TAG.match(document, at)
        if opened is None:
            if at + 1 < size and document[at + 1] in b"!?/":
                end = document.find(b">", at) + 1 or size
                yield Tag(b"!", False, at, end, ())
                at = end
            else:
                at += 1
            continue
        tag = _tag(document, opened)
        yield tag
        if not tag.name:
            return
        at = tag.end
        if not tag.closing and tag.name == b"plaintext":
            return
        if not tag.closing and tag.name in _NO_MARKUP:
            at = _content_end(document, tag.name, at)
            if at < 0:
                yield Tag(b"", False, tag.start, tag.start, ())
                return


def _content_end(document: bytes, name: bytes, at: int) -> int:
    """Where the closing tag of an element without markup begins; -1 when it never comes.

    Inside a comment in a script, a further `<script>` must be closed first (the standard's "double escaped" state).
    """
    if name != b"script":
        found = _CLOSERS[name].search(document, at)
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
        for group in (3, 4, 5):
            if found[group] is not None:
                attributes.append((found[2].lower(), found.start(group), found.end(group)))
                break


def footer_position(document: bytes) -> int:
    """Where a footer goes: before the last real `</body>`, else before the last `</html>`, else at the end.

    When an unfinished tag or comment swallows the rest, before that.
    """
    tail = _TAIL.search(document, max(0, len(document) - 400))
    if len(document) > MAX_READ:
        return len(document) if tail is None else tail.start()
    if tail is not None and _is_plain(document, tail.start()):
        return tail.start()
    body = html_end = -1
    for tag in tags(document):
        if not tag.name:
            return tag.start if body < 0 else body
        if tag.closing and tag.name == b"body":
            body = tag.start
        elif tag.closing and tag.name == b"html":
            html_end = tag.start
    if body >= 0:
        return body
    return html_end if html_end >= 0 else len(document)


def _is_plain(document: bytes, end: int) -> bool:
    """Whether, without reading every tag, it is clear that `end` is in no comment, attribute or element without markup.

    False only means that it must be looked at closely. It is enough that the last opener of each kind is closed before
    `end`, that the last tag is closed behind its last quotation mark, and that no last mark begins a value.
    """
    closed = document.rfind(b">", 0, end)
    if document.rfind(b"<", 0, end) > closed:
        return False
    for mark in (b'"', b"'"):
        quote = document.rfind(mark, 0, end)
        if quote > closed or (quote > 0 and document[max(0, quote - 20) : quote].rstrip().endswith(b"=")):
            return False
    last = {found[0]: found.start() for found in _OPENER.finditer(document, 0, end)}
    for opener, start in last.items():
        name = opener[1:].lower()
        if name == b"!--":
            if document.find(b"-->", start + 2, end) < 0:
                return False
        elif name in _NO_MARKUP or name == b"plaintext":
            closer = _CLOSERS.get(name)
            if closer is None or not closer.search(document, start, end):
                return False
    return True


def anchors(document: bytes) -> list[Anchor]:
    """All `<a href>` outside comments, with what they show: text, or an image's alt text."""
    found: list[Anchor] = []
    current: tuple[int, int] | None = None
    text_from, shown, hidden = 0, [], False
    for tag in tags(document):
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
                    hidden = bool(_HIDDEN.search(_value(document, tag, b"style")))
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
        if not (tag.closing and tag.name in _NO_MARKUP):
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
