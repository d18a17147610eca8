"""Postmark's webhooks: one event a request, proven by a user name and password that we made (HTTP Basic).

Postmark signs nothing. Its type of a bounce decides what kind of event it is; whether an address is dead is judged by
code and words. A change of subscription with SuppressSending false lifts nothing.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, Literal, NamedTuple

from gateway.hooks.fields import Fields, parsed, texts_of
from gateway.hooks.told import (
    About,
    Context,
    Piece,
    Post,
    Reading,
    Refused,
    Unproven,
    bounced,
    complaint,
    labelled,
    piece,
    unsubscribed,
)
from gateway.mail.event import Reason, Recipient

How = Literal["bounce", "delay", "label", "complaint", "unsubscribe", "auto-reply", "ignore"]


class Type(NamedTuple):
    """What a type of bounce is. `status`: where the words have none. `reason`: for `label`, which judges no words."""

    how: How
    status: str = "5.0.0"
    reason: Reason = "undefined"
    spares: bool = False


TYPES: Final[Mapping[str, Type]] = {
    "HardBounce": Type("bounce"),
    "Transient": Type("delay", "4.0.0"),
    "Unsubscribe": Type("unsubscribe"),
    "Subscribe": Type("ignore"),
    "AutoResponder": Type("auto-reply"),
    "AddressChange": Type("auto-reply"),
    "DnsError": Type("delay", "4.0.0"),
    "SpamNotification": Type("bounce", spares=True),
    "OpenRelayTest": Type("ignore"),
    "Unknown": Type("bounce", "4.0.0"),
    "SoftBounce": Type("bounce", "4.0.0"),
    "VirusNotification": Type("label", reason="virus"),
    "ChallengeVerification": Type("auto-reply"),
    "BadEmailAddress": Type("bounce"),
    "SpamComplaint": Type("complaint"),
    "ManuallyDeactivated": Type("label", reason="suppressed"),
    "Unconfirmed": Type("label", reason="suppressed"),
    "Blocked": Type("bounce", spares=True),
    "SMTPApiError": Type("label", reason="protocol"),
    "InboundError": Type("ignore"),
    "DMARCPolicy": Type("label", reason="authentication"),
    "TemplateRenderingFailed": Type("label", reason="content"),
}
"""Bounce types of Postmark's bounce API. One that is not here is a bounce judged by its words, soft without any."""


def digest_of(username: str, password: str) -> str:
    """What is kept of the credentials that we make: 256 random bits need no slow hash."""
    return hashlib.sha256(f"consentgate hook\0{username}\0{password}".encode()).hexdigest()


def prove(post: Post, credentials: Mapping[str, Any], now: datetime) -> None:
    """Raise Unproven unless the request carries the credentials of this hook."""
    scheme, _, given = post.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "basic" or not given:
        raise Unproven("no credentials", missing=True)
    try:
        username, _, password = base64.b64decode(given.strip(), validate=True).decode().partition(":")
    except (binascii.Error, ValueError):
        raise Unproven("wrong credentials") from None
    if not hmac.compare_digest(digest_of(username, password), str(credentials["digest"])):
        raise Unproven("wrong credentials")


def read(body: bytes, context: Context) -> Reading:
    """The event of one request. Raises Malformed."""
    found = _event(Fields(parsed(body)), context)
    return Reading(ignored=1) if found is None else Reading(pieces=(found,))


def _event(said: Fields, context: Context) -> Piece | None:
    record = said.text("RecordType")
    if record == "SubscriptionChange":
        return _change(said, context)
    if record not in ("Bounce", "SpamComplaint"):
        return None
    name = said.word("Type")
    address, number = said.address("Email"), said.word("ID")
    about = _about(said, f"{record}/{number}" if number else "", f"{record}/{name}" if name else record,
                   said.instant("BouncedAt", context.now))  # fmt: skip
    kind = TYPES["SpamComplaint"] if record == "SpamComplaint" else TYPES.get(name, Type("bounce", "4.0.0"))
    words = said.word("Details") or said.word("Description")
    if kind.how == "ignore":
        return None
    if kind.how == "complaint":
        return complaint(about, address)
    if kind.how == "unsubscribe":
        return unsubscribed(about, address)
    if kind.how == "auto-reply":
        return piece(about, "auto-reply", Recipient(address=address))
    if kind.how == "label":
        return piece(about, "bounce", labelled(address, kind.reason, words))
    refused = Refused(
        words=words, label=about.label, otherwise=kind.status, action="delayed" if kind.how == "delay" else "failed",
        spares=kind.spares,
    )  # fmt: skip
    return piece(about, "bounce", bounced(address, refused, context.rules))


def _change(said: Fields, context: Context) -> Piece | None:
    """An address was put on a list of those who get nothing, or taken off; the latter says nothing here."""
    address, suppressed = said.address("Recipient"), said.flag("SuppressSending")
    if not suppressed:
        return None
    at, reason = said.instant("ChangedAt", context.now), said.word("SuppressionReason")
    parts = (said.word("MessageID"), said.word("MessageStream"), said.word("ChangedAt"))
    label = "/".join(part for part in ("SubscriptionChange", reason, said.word("Origin")) if part)
    about = _about(said, "/".join(("SubscriptionChange", *parts)) if parts[2] else "", label, at)
    if reason == "SpamComplaint":
        return complaint(about, address)
    if reason == "HardBounce":  # told in full by the bounce itself
        return piece(about, "bounce", labelled(address, "suppressed", reason))
    return unsubscribed(about, address)


def _about(said: Fields, event_id: str, label: str, at: datetime) -> About:
    kept = {name: value for name, value in said.said.items() if name not in ("Content", "Subject")}
    return About(
        source="postmark", at=at, event_id=event_id, label=label, said=kept,
        texts=texts_of(said.said.get("Metadata")),
    )  # fmt: skip
