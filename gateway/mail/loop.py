"""A seed message as it left and as it arrived: what survived the way, and what the provider changed, in plain words.

Purpose: the judgement of the loop check. It asks nobody: signatures were verified before.
Known limits: of fields that stand more than once only the number and the values are compared, not their order.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from email import message_from_bytes
from email.message import Message

from gateway.mail.dkim_check import Checked

OPT_OUT = ("list-unsubscribe", "list-unsubscribe-post")
_TRACE = frozenset((
    "received", "return-path", "delivered-to", "envelope-to", "authentication-results", "received-spf",
    "dkim-signature", "arc-seal", "arc-message-signature", "arc-authentication-results",
))  # fmt: skip
"""What servers on the way put on top, or sign with: no change of the message."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One thing that was held against what left. `good` False: it has to be seen to."""

    check: str
    good: bool
    text: str


def compare(sent: bytes, arrived: bytes, signatures: Sequence[Checked], *, page: str, from_domain: str) -> list[Point]:
    """All points, the opt-out first. `page`: the footer's link; `signatures`: of what arrived; CRLF on both sides."""
    left, came = message_from_bytes(sent), message_from_bytes(arrived)
    return [
        *(_opt_out_field(name, left, came) for name in OPT_OUT),
        _signed(signatures, from_domain),
        _footer(left, came, page),
        *_changed(left, came),
    ]


def _values(message: Message, name: str) -> list[str]:
    return [re.sub(r"\s+", " ", str(value)).strip() for value in message.get_all(name, [])]


def _opt_out_field(name: str, left: Message, came: Message) -> Point:
    """A field of RFC 2369 or 8058: there once, and ours."""
    ours, theirs = _values(left, name), _values(came, name)
    shown = "-".join(word.capitalize() for word in name.split("-"))
    if not ours:
        return Point(check=shown, good=False, text="is not in what left: this stream is no marketing")
    if theirs == ours:
        return Point(check=shown, good=True, text="arrived as it left")
    if not theirs:
        text = "was taken out on the way: mailbox providers show no opt-out button"
    elif len(theirs) > 1:
        text = f"arrived {len(theirs)} times: mailbox providers take none of them"
    else:
        hosts = ", ".join(re.findall(r"https?://([^/>:]+)", theirs[0])) or "another value"
        text = f"was replaced on the way ({hosts}): opt-outs go to the provider, not to us. Switch that off there"
    return Point(check=shown, good=False, text=text)


def _signed(signatures: Sequence[Checked], from_domain: str) -> Point:
    """RFC 8058 4: a signature that verifies covers both fields; DMARC: it is by the From domain, or one above it."""
    check = "DKIM"
    if not signatures:
        return Point(check=check, good=False, text="nobody signed what arrived")
    covering = [one for one in signatures if all(one.covers(name) for name in OPT_OUT)]
    aligned = [one for one in covering if from_domain == one.domain or from_domain.endswith("." + one.domain)]
    told = "; ".join(
        f"{one.selector}._domainkey.{one.domain} ({one.algorithm}): {one.why or _lacks(one) or 'verifies'}"
        for one in signatures
    )
    if aligned:
        return Point(check=check, good=True, text=f"covers both opt-out fields and aligns with {from_domain}: {told}")
    if covering:
        return Point(check=check, good=False, text=f"no signature is by {from_domain}, so DMARC fails: {told}")
    return Point(check=check, good=False, text=f"no signature that verifies covers both opt-out fields: {told}")


def _lacks(one: Checked) -> str:
    missing = [name for name in OPT_OUT if name not in one.covered]
    return f"verifies, but does not cover {' and '.join(missing)}" if missing else ""


def _footer(left: Message, came: Message, page: str) -> Point:
    """The visible link, in each displayed text that had it."""
    had = [kind for kind, text in _texts(left) if page in text]
    has = [kind for kind, text in _texts(came) if page in text]
    lost = [kind for kind in had if kind not in has]
    if not had:
        return Point(check="footer", good=False, text="what left shows no opt-out link")
    if lost:
        text = f"the opt-out link is gone from, or leads elsewhere in, {' and '.join(lost)}: switch click tracking off"
        return Point(check="footer", good=False, text=text)
    return Point(check="footer", good=True, text=f"the opt-out link is in {' and '.join(has)}")


def _texts(message: Message) -> Iterator[tuple[str, str]]:
    for part in message.walk():
        if part.get_content_maintype() == "text" and part.get_content_disposition() != "attachment":
            octets = part.get_payload(decode=True)
            if isinstance(octets, bytes):
                yield part.get_content_type(), octets.decode("utf-8", "replace")


def _changed(left: Message, came: Message) -> Iterator[Point]:
    """What else is not as it left: to be known, and no fault where a signature still holds."""
    names = dict.fromkeys(name.lower() for name in (*left.keys(), *came.keys()))
    for name in names:
        if name in _TRACE or name in OPT_OUT:
            continue
        ours, theirs = _values(left, name), _values(came, name)
        if ours == theirs:
            continue
        what = "was added" if not ours else "was taken out" if not theirs else "was changed"
        yield Point(check=f"field {name}", good=True, text=f"{what} on the way")
    if [*map(_content, left.walk())] != [*map(_content, came.walk())]:
        shape = len([*left.walk()]) == len([*came.walk()])
        yield Point(check="body", good=True, text="a part was changed on the way" if shape else "parts came or went")


def _content(part: Message) -> tuple[str, bytes]:
    octets = part.get_payload(decode=True)
    text = octets if isinstance(octets, bytes) else b""
    return part.get_content_type(), b"\n".join(line.rstrip() for line in text.splitlines()).rstrip(b"\n")
