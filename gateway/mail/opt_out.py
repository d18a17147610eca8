"""Opt-out links that a message brings along: ours to fill in, the tool's own to replace, and any that a reader can see.

Works on decoded leaves.
"""

import html
import re
from collections.abc import Sequence

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
_TARGET = re.compile(r"(?:https?://|mailto:)[^\s<>\"')\]]+|[\w.+-]+@[\w-]+\.[\w.-]+", re.IGNORECASE)
_NEAR = 200
_MOST = 200


def own_links(data: bytes, kind: str, tool: Sequence[str]) -> tuple[list[tuple[int, int]], bool]:
    """Spans that our link replaces, in order and apart, and whether a reader can see at least one of them.

    `tool` holds the URIs of the message's own List-Unsubscribe: in HTML an anchor whose href equals one of them is
    replaced, in text the bare address.
    """
    spans: list[tuple[int, int]] = []
    if b"unsubscribe_url" in data or b"UNSUBSCRIBE_URL" in data or b"Unsubscribe_Url" in data:
        spans = [found.span() for found in PLACEHOLDER.finditer(data)]
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
        inside = [span for span in spans if anchor.start <= span[0] and span[1] <= anchor.end]
        if anchor.href in mentioned:
            spans.append((anchor.start, anchor.end))
        elif not inside:
            continue
        visible = visible or anchor.visible
    if spans and not visible:
        runs = html_spans.text_runs(data)
        visible = any(start <= span[0] and span[1] <= end for span in spans for start, end in runs)
    return _apart(spans), visible


def _mentioned(data: bytes, uri: str) -> bool:
    return uri.partition("&")[0].encode("utf-8", "replace") in data or html.escape(uri).encode() in data


def _bare(data: bytes, uri: str) -> list[tuple[int, int]]:
    exact = re.compile(
        rb"(?<![A-Za-z0-9/_=&%.])"
        + re.escape(uri.encode("utf-8", "replace"))
        + rb"(?![A-Za-z0-9/_?=&%#~+@:-]|\.[A-Za-z0-9])"
    )
    return [found.span() for found in exact.finditer(data)]


def _apart(spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """The spans in order; of those that overlap, the one that begins first and reaches furthest."""
    kept: list[tuple[int, int]] = []
    for start, end in sorted(set(spans), key=lambda span: (span[0], -span[1])):
        if not kept or start >= kept[-1][1]:
            kept.append((start, end))
    return kept


def is_visible(text: str) -> bool:
    """Whether plain text holds an opt-out that a reader can use: an address with such a word in it, or close to one."""
    if any(_OPT_OUT.search(found[0]) for found in _some(_TARGET, text)):
        return True
    return any(
        _TARGET.search(text, max(0, word.start() - _NEAR), min(len(text), word.end() + _NEAR))
        for word in _some(_OPT_OUT, text)
    )


def is_visible_in_html(document: bytes, tool: Sequence[str]) -> bool:
    """The same for HTML: an anchor that shows something, and whose text or address is an opt-out's."""
    for anchor in html_spans.anchors(document):
        if not anchor.visible or not anchor.href.lower().startswith(("http://", "https://", "mailto:")):
            continue
        if anchor.href in tool or _OPT_OUT.search(anchor.text) or _OPT_OUT.search(anchor.href):
            return True
    return False


def _some(pattern: re.Pattern[str], text: str) -> list[re.Match[str]]:
    """The first matches only: what a hostile message repeats a million times is looked at two hundred times."""
    found = []
    for match in pattern.finditer(text):
        found.append(match)
        if len(found) >= _MOST:
            break
    return found
