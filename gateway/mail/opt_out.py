"""Opt-out links that a message brings along: ours to fill in, the tool's own to replace, and any that a reader can see.

Works on decoded leaves.
"""

import html
import re
from bisect import bisect_right
from collections.abc import Sequence
from itertools import islice

from gateway.mail import html_spans
from gateway.mail.tool_link import ToolLinks

_OPEN, _CLOSE = rb"(?:\{|&#123;|&#x7b;|&lcub;|%7B){2,3}", rb"(?:\}|&#125;|&#x7d;|&rcub;|%7D){2,3}"
_BLANK = rb"(?:\s|&nbsp;|\xc2\xa0|%20|\+)*+"
PLACEHOLDER = re.compile(
    rb"(?:https?://)?(?:%s%sunsubscribe_url%s%s|(?:%%%%|%%25%%25)%sunsubscribe_url%s(?:%%%%|%%25%%25))"
    % (_OPEN, _BLANK, _BLANK, _CLOSE, _BLANK, _BLANK),
    re.IGNORECASE,
)
"""Where a tool wants our link; also as editors spoil it: with a scheme in front, percent-encoded or with references."""

_WORDS = (
    r"unsubscri|opt[\s-]?out|afmeld|uitschrij|abmeld|abbestell|austrag|d[ée]sabonn|d[ée]sinscri|me d[ée]sinscrire"
    r"|dar(?:se|me)? de baja|desuscri|cancelar (?:la )?suscripci|disiscri|annulla(?:re)? (?:l.)?iscrizione"
    r"|cancelar (?:a )?(?:subscri|inscri)"
    r"|avregistrer|avprenumerer|avslut|framelding|frameld|peru(?:uta)? tilau|wypisz|rezygn|odhl[áa]s|leiratkoz"
    r"|отпис|відпис|配信停止|配信解除|登録解除|退订|退訂|取消订阅|取消訂閱|수신거부|구독 ?취소"
    r"|stop (?:receiving|these)|manage (?:your )?(?:subscription|preferences)|email preferences"
)
_OPT_OUT = re.compile(_WORDS, re.IGNORECASE)
# An address begins where a word does: else a long word without an @ would be read again from each of its characters.
_TARGET = re.compile(r"(?:https?://|mailto:)[^\s<>\"')\]]+|(?<![\w.+-])[\w.+-]++@[\w-]++\.[\w.-]+", re.IGNORECASE)
_HREF = re.compile(rb"""\bhref\s*=\s*["']?([^"'\s>]++)""", re.IGNORECASE)
_BARE = re.compile(rb"""(?<![\w/])https?://[^\s<>"'\]]++""")
_NEAR = 200
# What a hostile message repeats a million times is looked at a few hundred times.
_MOST = 500
_MOST_ANCHORS = 2000
_LINK_WORDS = 80
_LOOKED_AT = 200_000


def own_links(data: bytes, kind: str, tool: Sequence[str]) -> tuple[list[tuple[int, int]], bool]:
    """Spans that our link replaces, in order and apart, and whether a reader can see at least one of them.

    `tool` holds the URIs of the message's own List-Unsubscribe: the tool's opt-out links are found by them.
    """
    spans: list[tuple[int, int]] = []
    if b"unsubscribe_url" in data or b"UNSUBSCRIBE_URL" in data:
        spans = [found.span() for found in islice(PLACEHOLDER.finditer(data), _MOST)]
    if not spans and not tool:
        return [], False
    links = ToolLinks(tool)
    if kind == "text":
        if links.uris:
            spans += _in_plain_text(data, links)
        return _apart(spans), bool(spans)
    if not spans and not _may_hold(data, links):
        return [], False
    visible = False
    for anchor in islice(html_spans.anchors(data), _MOST_ANCHORS):
        if links.is_own(anchor.href) or (links.is_tracked(anchor.href) and is_opt_out(anchor.text)):
            spans.append((anchor.start, anchor.end))
            visible = visible or anchor.visible
        elif not visible and anchor.visible and PLACEHOLDER.search(data, anchor.start, anchor.end):
            visible = True
    return _apart(spans), visible or _in_text(data, spans)


def _may_hold(data: bytes, links: ToolLinks) -> bool:
    """Whether a page has a link that could be the tool's opt-out, so that it is worth to be read tag by tag."""
    if not links.uris:
        return False
    for found in islice(_HREF.finditer(data), _MOST_ANCHORS):
        href = html.unescape(found[1].decode("utf-8", "replace")).strip()
        if links.is_own(href) or links.is_tracked(href):
            return True
    return False


def is_opt_out(text: str) -> bool:
    """Whether the few words of a link say that it is the way out."""
    return len(text) <= _LINK_WORDS and _OPT_OUT.search(text) is not None


def _in_plain_text(data: bytes, links: ToolLinks) -> list[tuple[int, int]]:
    """Bare addresses of the tool's opt-out; behind its tracker where the words before it on the line, or alone on the
    line above, say so."""
    spans = []
    for found in islice(_BARE.finditer(data), _MOST):
        uri = found[0].decode("utf-8", "replace").rstrip(".,;:!?")
        while uri.endswith(")") and uri.count("(") < uri.count(")"):
            uri = uri[:-1].rstrip(".,;:!?")
        if links.is_own(uri) or (links.is_tracked(uri) and is_opt_out(_words_before(data, found.start()))):
            spans.append((found.start(), found.start() + len(uri.encode())))
    return spans


def _words_before(data: bytes, at: int) -> str:
    lines = data[max(0, at - 2 * _LINK_WORDS) : at].decode("utf-8", "replace").split("\n")
    return lines[-1].strip() or (lines[-2].strip() if len(lines) > 1 else "")


def _in_text(data: bytes, spans: Sequence[tuple[int, int]]) -> bool:
    """Whether one of the spans is in text to be read, and not in a tag or comment."""
    if not spans:
        return False
    runs = html_spans.text_runs(data)
    starts = [start for start, _ in runs]
    for start, end in spans:
        index = bisect_right(starts, start) - 1
        if index >= 0 and end <= runs[index][1]:
            return True
    return False


def _apart(spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """The spans in order; of those that overlap, the one that begins first and reaches furthest."""
    kept: list[tuple[int, int]] = []
    for start, end in sorted(set(spans), key=lambda span: (span[0], -span[1])):
        if not kept or start >= kept[-1][1]:
            kept.append((start, end))
    return kept


def is_visible(text: str) -> bool:
    """Whether plain text holds an opt-out that a reader can use: an address with such a word in it, or close to one."""
    if len(text) > 2 * _LOOKED_AT:
        text = text[:_LOOKED_AT] + text[-_LOOKED_AT:]
    if any(_OPT_OUT.search(found[0]) for found in islice(_TARGET.finditer(text), _MOST)):
        return True
    return any(
        _TARGET.search(text, max(0, word.start() - _NEAR), min(len(text), word.end() + _NEAR))
        for word in islice(_OPT_OUT.finditer(text), _MOST)
    )


def is_visible_in_html(document: bytes, tool: Sequence[str]) -> bool:
    """The same for HTML: an anchor that shows something, and whose text or address is an opt-out's."""
    for anchor in html_spans.anchors(document):
        if not anchor.visible or not anchor.href.lower().startswith(("http://", "https://", "mailto:")):
            continue
        if anchor.href in tool or _OPT_OUT.search(anchor.text) or _OPT_OUT.search(anchor.href):
            return True
    return False
