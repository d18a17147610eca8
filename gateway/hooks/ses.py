"""Amazon SES, as SNS delivers it: notifications of an identity (`notificationType`) and events of a configuration set
(`eventType`). An entry may name several recipients; each becomes an event of its own.

SES calls an invalid domain "Transient": codes and words decide, and its label only where there are neither. A complaint
names everybody at the domain who may have complained; each of them counts, since nobody else can know. What SES
withheld since somebody had complained (`OnAccountSuppressionList`) is that complaint.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from gateway.hooks.fields import Fields, Malformed, clean, parsed, texts_of
from gateway.hooks.told import (
    About,
    Context,
    Piece,
    Reading,
    Refused,
    bounced,
    complaint,
    labelled,
    piece,
    unsubscribed,
)
from gateway.mail.came_back import bare_address
from gateway.mail.event import COMPLAINTS, FeedbackType, Recipient

_FEEDBACK: Final[Mapping[str, FeedbackType]] = {
    "": "abuse", "abuse": "abuse", "fraud": "fraud", "auth-failure": "auth-failure", "not-spam": "not-spam",
    "virus": "virus", "opt-out": "opt-out",
}  # fmt: skip
"""Most feedback loops say nothing of a type: they tell of abuse. A type that is not here is `other`."""
_MANY: Final = ("headers", "commonHeaders")
"""Fields that quote the mail's header, and may name everybody who got it."""


def read(message: str, message_id: str, context: Context) -> Reading:
    """The events in one SNS message. `message_id`: of SNS, the same when it is repeated. Raises Malformed."""
    said = Fields(parsed(message, "Message"), "Message")
    event = said.word("eventType") or said.word("notificationType")
    if not event:
        raise Malformed("Message.eventType", "is missing, and so is notificationType")
    reader = _READERS.get(event)
    if reader is None:
        return Reading(ignored=1)
    pieces = reader(said, message_id, context)
    return Reading(pieces=tuple(pieces), ignored=0 if pieces else 1)


def _bounce(said: Fields, message_id: str, context: Context) -> list[Piece]:
    bounce = said.inner("bounce")
    kind, sub = bounce.word("bounceType"), bounce.word("bounceSubType")
    label = "/".join(part for part in (kind, sub) if part)
    found = []
    for one in bounce.items("bouncedRecipients"):
        address = one.address("emailAddress")
        about = _about(said, bounce, one, message_id, label, context)
        if sub == "UnsubscribedRecipient":
            found.append(unsubscribed(about, address))
            continue
        refused = Refused(
            words=one.word("diagnosticCode"), label=label, status=one.word("status") or None,
            otherwise="5.0.0" if kind == "Permanent" else "4.0.0",
        )  # fmt: skip
        told = bounced(address, refused, context.rules)
        if sub in ("Suppressed", "OnAccountSuppressionList"):  # SES asked nobody
            told = replace(told, reason="suppressed", undeliverable=False)
        found.append(piece(about, "bounce", told))
    return found


def _complaint(said: Fields, message_id: str, context: Context) -> list[Piece]:
    told = said.inner("complaint")
    kind, sub = told.word("complaintFeedbackType"), told.word("complaintSubType")
    type_ = _FEEDBACK.get(kind.lower(), "other")
    label = "/".join(part for part in ("complaint", kind, sub) if part)
    found = []
    for one in told.items("complainedRecipients"):
        address = one.address("emailAddress")
        about = _about(said, told, one, message_id, label, context)
        if type_ in COMPLAINTS:
            found.append(complaint(about, address, type_))
        else:
            found.append(piece(about, "other", Recipient(address=address), type_))
    return found


def _subscription(said: Fields, message_id: str, context: Context) -> list[Piece]:
    """Somebody changed what they get on SES's own pages: only what they stopped counts."""
    told = said.inner("subscription")
    new, old = told.inner("newTopicPreferences"), told.maybe("oldTopicPreferences")
    stopped = _stopped(new) - _stopped(old)
    if new.said.get("unsubscribeAll") is not True and not stopped:
        return []
    topics = "all" if new.said.get("unsubscribeAll") is True else ",".join(sorted(stopped))
    label = f"subscription/{told.word('contactList')}/{topics}"[:200]
    return [
        unsubscribed(_about(said, told, one, message_id, label, context), one.address("emailAddress"))
        for one in _destination(said)
    ]


def _stopped(preferences: Fields) -> set[str]:
    rows = (one for one in preferences.listed("topicSubscriptionStatus") if isinstance(one, dict))
    return {
        clean(str(row.get("topicName"))) for row in rows
        if str(row.get("subscriptionStatus")).replace("_", "").lower() == "optout"
    }  # fmt: skip


def _reject(said: Fields, message_id: str, context: Context) -> list[Piece]:
    """SES found a virus in the mail, and sent it to nobody."""
    told = said.inner("reject")
    return [
        piece(
            _about(said, told, one, message_id, "Reject", context), "bounce",
            labelled(one.address("emailAddress"), "virus", told.word("reason")),
        )
        for one in _destination(said)
    ]  # fmt: skip


def _delay(said: Fields, message_id: str, context: Context) -> list[Piece]:
    told = said.inner("deliveryDelay")
    label = f"DeliveryDelay/{told.word('delayType')}"
    found = []
    for one in told.items("delayedRecipients"):
        refused = Refused(
            words=one.word("diagnosticCode"), label=label, status=one.word("status") or None, otherwise="4.0.0",
            action="delayed",
        )  # fmt: skip
        about = _about(said, told, one, message_id, label, context)
        found.append(piece(about, "bounce", bounced(one.address("emailAddress"), refused, context.rules)))
    return found


_READERS: Final = {
    "Bounce": _bounce, "Complaint": _complaint, "Subscription": _subscription, "Reject": _reject,
    "DeliveryDelay": _delay,
}  # fmt: skip


def _destination(said: Fields) -> list[Fields]:
    """Whom the mail was for, where the event itself names nobody."""
    mail = said.inner("mail")
    return [
        Fields({"emailAddress": one}, f"Message.mail.destination.{number}")
        for number, one in enumerate(mail.listed("destination"))
    ]


def _about(
    said: Fields, told: Fields, one: Fields, message_id: str, label: str, context: Context
) -> About:  # fmt: skip
    mail = said.maybe("mail")
    identity = told.word("feedbackId") or message_id
    fields = [(Fields(f).word("name").lower(), Fields(f).word("value")) for f in mail.listed("headers") if _is_field(f)]
    return About(
        source="ses", at=told.instant("timestamp", context.now), event_id=identity, label=label,
        said=_kept(said.said, one),
        texts=(*(v for n, v in fields if n == "list-unsubscribe"), *(t for v in mail.maybe("tags").said.values()
               for t in texts_of(v))),
        senders=(mail.word("source"), *(v for n, v in fields if n == "return-path")),
        message_id=next((v for n, v in fields if n == "message-id"), ""),
    )  # fmt: skip


def _is_field(value: Any) -> bool:
    return isinstance(value, dict)


def _kept(said: Mapping[str, Any], one: Fields) -> dict[str, Any]:
    """The entry as if it were about this recipient alone."""
    mine = (bare_address(one.word("emailAddress")) or "").lower()
    kept: dict[str, Any] = {}
    for name, value in said.items():
        if isinstance(value, dict):
            value = {n: _filtered(v, mine) for n, v in value.items() if n not in _MANY}
        kept[name] = value
    return kept


def _filtered(value: Any, mine: str) -> Any:
    """Of a list of addresses, or of objects with one, what is about this one."""
    if not isinstance(value, list):
        return value
    return [
        one for one in value
        if mine == _address_of(one) or not (isinstance(one, str) or (isinstance(one, dict) and "emailAddress" in one))
    ]  # fmt: skip


def _address_of(value: Any) -> str:
    written = value.get("emailAddress") if isinstance(value, dict) else value
    return (bare_address(clean(written)) or "").lower() if isinstance(written, str) else ""
