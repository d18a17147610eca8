"""Where a footer goes in an HTML document: where every reader shows it, as far down as that is.

That is before the last real `</body>`: one in a comment, a script or an attribute is none, and what a page leaves open
behind itself (a comment, a hidden element) must not swallow the footer. A page of frames has no such place.

Known limit: style sheets are not read, so a footer that a style hides is taken for shown.
Source: HTML Living Standard, sections 13.2.5 and 13.2.6.
"""

import re

from gateway.mail.html_spans import CLOSERS, HIDES_CONTENT, MAX_READ, NO_MARKUP, Nesting, Tag, tags

_TAIL = re.compile(rb"</body\s*>\s*(?:</html\s*>\s*)?\Z", re.IGNORECASE)
# Read in lower case: a choice of cases in the expression would take three times as long.
_OPENER = re.compile(
    rb"<(?=[!stxinpomfvac])(?:!--|s(?:cript|tyle|elect|vg)[a-z]*|te[a-z]*|ti[a-z]*|xmp|if[a-z]*|no[ef][a-z]*|pl[a-z]*"
    rb"|ob[a-z]*|mat[a-z]*|fra[a-z]*|vi[a-z]*|au[a-z]*|can[a-z]*)"
)
_LOOKED_AT = HIDES_CONTENT | {b"plaintext", b"frameset"}
_HIDING = ((b"display", re.compile(rb"\s*+:\s*+none")), (b"hidden", re.compile(rb"")))
"""What hides an element, when it stands in its tag: how it begins, and how it goes on."""

_MOST_HIDING = 50
_NOT_SEEN = -1
_TAG_NAME = re.compile(rb"<([a-z][a-z0-9]*)")
_VOID = frozenset((b"img", b"input", b"br", b"hr"))
_HEAD = frozenset((b"!", b"html", b"head", b"title", b"meta", b"link", b"base", b"style", b"script", b"noscript"))


def footer_position(document: bytes) -> int | None:
    """Where a footer goes: before the last real `</body>`, else before the last `</html>`, else at the end.

    When an unfinished tag or comment swallows the rest, or something that hides it is left open, before that. None
    where no place is shown: a page of frames, a body that is hidden as a whole.
    """
    tail = _TAIL.search(document, max(0, len(document) - 400))
    if len(document) > MAX_READ:
        return len(document) if tail is None else tail.start()
    if tail is not None and _is_plain(document, tail.start()):
        return tail.start()
    return _looked_up(document)


def _looked_up(document: bytes) -> int | None:
    """The same by reading every tag."""
    nesting, end = Nesting(), len(document)
    body: int | None = _NOT_SEEN
    html_end: int | None = _NOT_SEEN
    in_head, read = True, 0
    for tag in tags(document):
        if not tag.name or (tag.name == b"plaintext" and not tag.closing):
            end = tag.start
            html_end = _NOT_SEEN
            break
        if in_head:
            if tag.name == b"frameset":
                return None
            in_head = tag.name in _HEAD and (_ends_words(tag) or not document[read : tag.start].strip())
            read = tag.end
        if tag.closing and tag.name == b"body":
            body = _seen_at(tag.start, nesting)
        elif tag.closing and tag.name == b"html":
            html_end = _seen_at(tag.start, nesting)
        nesting.take(document, tag)
    for place in (body, html_end):
        if place != _NOT_SEEN:
            return place
    return _seen_at(end, nesting)


def _ends_words(tag: Tag) -> bool:
    """Whether what stands before a tag is the content of an element without markup."""
    return tag.closing and tag.name in NO_MARKUP


def _seen_at(at: int, nesting: Nesting) -> int | None:
    """The place itself, or the one before what hides it."""
    if nesting.hidden_from is None:
        return at
    start, name = nesting.hidden_from
    return None if name in (b"body", b"html") else start


def _is_plain(document: bytes, end: int) -> bool:
    """Whether, without reading every tag, it is clear that `end` is in no comment, attribute or element without markup,
    nor in anything hidden.

    False only means that it must be looked at closely. It is enough that the last opener of each kind is closed before
    `end`, that the last tag is closed behind its last quotation mark, that no last mark begins a value, and that what
    hides its content has an end of its own.
    """
    closed = document.rfind(b">", 0, end)
    if document.rfind(b"<", 0, end) > closed:
        return False
    for mark in (b'"', b"'"):
        quote = document.rfind(mark, 0, end)
        if quote > closed or (quote > 0 and document[max(0, quote - 20) : quote].rstrip().endswith(b"=")):
            return False
    lower = document[:end].lower()
    last = {found[0]: found.start() for found in _OPENER.finditer(lower)}
    for opener, start in last.items():
        name = opener[1:]
        if name == b"!--":
            if document.find(b"-->", start + 2, end) < 0:
                return False
        elif name in _LOOKED_AT:
            return False
        elif name in NO_MARKUP:
            closer = CLOSERS.get(name)
            if closer is None or not closer.search(document, start, end):
                return False
    return all(_has_end(lower, word, rest) for word, rest in _HIDING)


def _has_end(document: bytes, word: bytes, rest: re.Pattern[bytes]) -> bool:
    """Whether every tag with these words in it is of an element that is closed, with none of its kind inside."""
    at, met = document.find(word), 0
    while at >= 0:
        opened = document.rfind(b"<", 0, at)
        if opened >= 0 and document.find(b">", opened, at) < 0 and rest.match(document, at + len(word)):
            met += 1
            tag = _TAG_NAME.match(document, opened)
            if tag is not None and tag[1] not in _VOID:
                closed = document.find(b">", at)
                closer = document.find(b"</" + tag[1], closed)
                if met > _MOST_HIDING or min(closed, closer) < 0 or document.find(b"<" + tag[1], closed, closer) >= 0:
                    return False
        at = document.find(word, at + len(word))
    return True
