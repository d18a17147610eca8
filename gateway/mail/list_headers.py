"""Which header fields a copy loses and gains (RULES.md 5.1 M9, 5.3; RFC 2369, 2919, 8058).

Fields that stay keep their bytes and their order; what is added goes below them, so that nothing above moves.
"""

import re
from dataclasses import dataclass
from typing import Literal

from gateway.mail.control_fields import withheld
from gateway.mail.headers import MBOX_LINE, Field, count_addresses, list_uris, unfold, values_of
from gateway.mail.leaf import STALE_FIELDS, Edit
from gateway.mail.mime import Message
from suppression.frozen import quick_init

ONE_CLICK = b"List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n"
"""The only value RFC 8058 section 3.1 allows."""

SECRET_FIELDS = frozenset((b"bcc", b"resent-bcc", MBOX_LINE))
"""Never leave: hidden recipients, the envelope line of a mailbox file. A tool's keys: control_fields.SECRETS."""

OUR_PREFIX = b"x-consentgate-"
"""What the sender told the gateway is nobody else's business."""

_LIST_FIELDS = frozenset((b"list-unsubscribe", b"list-unsubscribe-post"))
_LEAVING = SECRET_FIELDS | _LIST_FIELDS | (STALE_FIELDS - {b"content-md5"})
_SIGNATURES = frozenset((b"dkim-signature", b"domainkey-signature"))
_ARC_SIGNATURE = b"arc-message-signature"
_ARC = frozenset((_ARC_SIGNATURE, b"arc-seal", b"arc-authentication-results"))
_INSTANCE = re.compile(rb"(?:^|;)\s*i\s*=\s*(\d{1,4})\b")
_SIGNED_NAMES = re.compile(rb"(?:\A|;)\s*h\s*=([^;]*)")


@quick_init
@dataclass(frozen=True, slots=True, kw_only=True)
class HeadPlan:
    """What happens to the header, the same for every copy.

    `recipient_field`: the span of the field in whose place `To:` with the recipient goes, None when To stays.
    `tool_uris`: the URIs of the message's own List-Unsubscribe; `tool_one_click`: its RFC 8058 address, which must be
    told of an opt-out (write-back). `touched`: names of all fields that go, change or come.
    """

    removals: tuple[Edit, ...]
    recipient_field: tuple[int, int] | None
    adds_list_unsubscribe: bool
    adds_list_id: bool
    adds_feedback_id: bool
    needs_date: bool
    needs_message_id: bool
    tool_uris: tuple[str, ...]
    tool_one_click: str | None
    touched: frozenset[bytes]


def plan_head(
    message: Message, *, marketing: bool, show_to: Literal["auto", "keep", "recipient"], provider: str | None = None
) -> HeadPlan:
    """Decide about the header. `show_to`: "auto" hides other recipients of marketing (M9), "recipient" always does.

    `provider`: who is behind us, and gets the fields meant for it (control_fields.OWNERS); None: nobody known.
    """
    names = {field.name for field in message.fields}
    leaving = {name for name in names if name in _LEAVING or name.startswith(OUR_PREFIX)}
    leaving |= withheld(message, names, provider)
    hides = show_to == "recipient" or (show_to == "auto" and marketing and _shows_several(message))
    if hides:
        leaving.update(names & {b"to", b"cc"})
    recipient_field = None
    if hides:
        shown = [(field.start, field.end) for field in message.fields if field.name in (b"to", b"cc")]
        recipient_field = shown[0] if shown else (message.head_end, message.head_end)
    touched = set(leaving)
    if hides:
        touched.add(b"to")
    adds = {
        name
        for name, needed in (
            (b"date", True),
            (b"message-id", True),
            (b"list-id", marketing),
            (b"feedback-id", marketing),
        )
        if needed and name not in names
    }
    touched |= adds
    if marketing:
        touched |= _LIST_FIELDS
    uris = tuple(u for value in message.get_all(b"list-unsubscribe") for u in list_uris(value))
    posts = b"list-unsubscribe-post" in names
    return HeadPlan(
        removals=tuple(
            Edit(f.start, f.end, ())
            for f in message.fields
            if f.name in leaving and (f.start, f.end) != recipient_field
        ),
        recipient_field=recipient_field,
        adds_list_unsubscribe=marketing,
        adds_list_id=b"list-id" in adds,
        adds_feedback_id=b"feedback-id" in adds,
        needs_date=b"date" in adds,
        needs_message_id=b"message-id" in adds,
        tool_uris=uris,
        tool_one_click=next((u for u in uris if u.startswith(("https://", "http://"))), None) if posts else None,
        touched=frozenset(touched),
    )


def _shows_several(message: Message) -> bool:
    shown = 0
    for name in (b"to", b"cc"):
        for value in values_of(message.raw, message.fields, name):
            shown += count_addresses(value)
    return shown > 1


def broken_signatures(message: Message, touched: frozenset[bytes], *, body_edited: bool) -> list[Edit]:
    """Removals of the signatures that no longer hold: all of them when the body is edited, else those over `touched`.

    One that names fewer fields and still holds stays: it is somebody's word about the message (RFC 6376 section 4).
    """
    gone = [
        field for field in message.fields
        if field.name in _SIGNATURES and (body_edited or _covers(message, field, touched))
    ]  # fmt: skip
    seals = [field for field in message.fields if field.name == _ARC_SIGNATURE]
    if seals and (body_edited or _covers(message, max(seals, key=lambda field: _instance(message, field)), touched)):
        # a chain is judged by its newest signature (RFC 8617 5.2): once that is broken the whole set proves nothing
        gone += [field for field in message.fields if field.name in _ARC]
    return [Edit(field.start, field.end, ()) for field in sorted(gone, key=lambda field: field.start)]


def _covers(message: Message, field: Field, touched: frozenset[bytes]) -> bool:
    """Whether a signature is over one of these fields, or does not say over which."""
    signed = _SIGNED_NAMES.search(unfold(message.raw[field.value : field.end]))
    return not signed or bool({name.strip().lower() for name in signed[1].split(b":")} & touched)


def _instance(message: Message, field: Field) -> int:
    """The number of an ARC set; one that has none counts as the newest."""
    found = _INSTANCE.search(unfold(message.raw[field.value : field.end]))
    return int(found[1]) if found else 2**16


def list_unsubscribe(one_click: str, mailto: str | None) -> bytes:
    """The two fields, the https address first and never folded inside its brackets (RULES.md 5.3)."""
    value = b"List-Unsubscribe: <%s>" % one_click.encode("ascii")
    if mailto is not None:
        value += b",\r\n <%s>" % mailto.encode("ascii")
    return value + b"\r\n" + ONE_CLICK
