"""Opt-out links that a message brings along: ours to fill in, the tool's own to replace, and any that a reader can see.

Works on decoded leaves.
"""

import html
import re
from bisect import bisect_right
from collections.abc import Sequence
from itertools import islice

from gateway.mail import html_spans

PLACEHOLDER = re.compile(
    rb"(?:https?://)?(?:\{{2,3}\s*unsubscribe_url\s*\}{2,3}|%%\s*unsubscribe_url\s*%%"
    rb"|(?:%7B){2,3}(?:%20|\+|\s)*unsubscribe_url(?:%20|\+|\s)*(?:%7D){2,3}|%25%25unsubscribe_url%25%25)",
    re.IGNORECASE,
)
"""Where a tool wants our link; also as editors spoil it: with a scheme in front, or percent-encoded in an href."""

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
_NEAR = 200
# What a hostile message repeats a million times is looked at a few hundred times.
_MOST = 500
_MOST_URIS = 10
_LOOKED_AT = 200_000


def own_links(data: bytes, kind: str, tool: Sequence[str]) -> tuple[list[tuple[int, int]], bool]:
    """Spans that our link replaces, in order and apart, and whether a reader can see at least one of them.

    `tool` holds the URIs of the message's own List-Unsubscribe: in HTML an anchor whose href equals one of them is
    replaced, in text the bare address.
    """
    spans: list[tuple[int, int]] = []
    tool = tool[:_MOST_URIS]
    if b"unsubscribe_url" in data or b"UNSUBSCRIBE_URL" in data:
        spans = [found.span() for found in islice(PLACEHOLDER.finditer(data), _MOST)]
    if kind == "text":
        for uri in tool:
            if uri.startswith(("http://", "https://")):
                spans += _bare(data, uri)
        return _apart(spans), bool(spans)
    mentioned = [uri for uri in tool if _mentioned(data, uri)]
    if not spans and not mentioned:
        return [], False
    visible = False
    for anchor in html_spans.anchors(data):
        if anchor.href in mentioned:
            spans.append((anchor.start, anchor.end))
            visible = visible or anchor.visible
        elif not visible and anchor.visible and PLACEHOLDER.search(data, anchor.start, anchor.end):
            visible = True
    return _apart(spans), visible or _in_text(data, spans)


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


def _mentioned(data: bytes, uri: str) -> bool:
    return uri.partition("&")[0].encode("utf-8", "replace") in data or html.escape(uri).encode() in data


def _bare(data: bytes, uri: str) -> list[tuple[int, int]]:
    exact = re.compile(
        rb"(?<![A-Za-z0-9/_=&%.])"
        + re.escape(uri.encode("utf-8", "replace"))
        + rb"(?![A-Za-z0-9/_?=&%#~+@:-]|\.[A-Za-z0-9])"
    )
    return [found.span() for found in islice(exact.finditer(data), _MOST)]


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
