"""SendGrid's event webhook: a signed list of events, each about one address.

Proven by ECDSA over SHA-256 of timestamp and body (signed event webhook), with the public key that SendGrid shows.
SendGrid repeats a request for 24 hours; what is older than WINDOW is refused.

`status` may be absent. `blocked` says that the address is not the trouble, whatever the words. What SendGrid drops
since somebody unsubscribed or complained there is told as that. `group_resubscribe` lifts nothing.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256

from gateway.hooks.fields import Fields, Malformed, parsed, since_1970, texts_of
from gateway.hooks.signature import check_age, der_key
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
    piece,
    unsubscribed,
)

SIGNATURE: Final = "x-twilio-email-event-webhook-signature"
TIMESTAMP: Final = "x-twilio-email-event-webhook-timestamp"
WINDOW: Final = timedelta(hours=48)

_KNOWN: Final = frozenset((
    "email", "timestamp", "smtp-id", "event", "category", "sg_event_id", "sg_message_id", "response", "attempt",
    "useragent", "ip", "url", "reason", "status", "asm_group_id", "type", "tls", "bounce_classification",
))  # fmt: skip


def public_key(text: str) -> ec.EllipticCurvePublicKey:
    """The verification key as SendGrid shows it: DER in base64. ValueError where it is none."""
    key = der_key(text)
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise ValueError("no key on an elliptic curve")
    return key


def prove(post: Post, credentials: Mapping[str, Any], now: datetime) -> None:
    """Raise Unproven unless the request carries SendGrid's signature, made lately."""
    signature, stamp = post.headers.get(SIGNATURE, ""), post.headers.get(TIMESTAMP, "")
    if not signature or not stamp:
        raise Unproven("no signature", missing=True)
    try:
        key = public_key(credentials["public_key"])
        key.verify(
            base64.b64decode(signature, validate=True), stamp.encode("latin-1", "replace") + post.body,
            ec.ECDSA(SHA256()),
        )  # fmt: skip
    except (InvalidSignature, ValueError):
        raise Unproven("wrong signature") from None
    made = since_1970(stamp)
    check_age(made, now, WINDOW)


def read(body: bytes, context: Context) -> Reading:
    """The events of one request. Raises Malformed where it is no list."""
    entries = parsed(body)
    if not isinstance(entries, list):
        raise Malformed("body", "is not a list")
    pieces, faults, ignored = [], [], 0
    for number, entry in enumerate(entries):
        try:
            found = _entry(Fields(entry, str(number)), context)
        except Malformed as fault:
            faults.append(fault)
            continue
        if found is None:
            ignored += 1
        else:
            pieces.append(found)
    return Reading(pieces=tuple(pieces), ignored=ignored, faults=tuple(faults))


def _entry(said: Fields, context: Context) -> Piece | None:
    event = said.text("event")
    if event not in ("bounce", "dropped", "deferred", "spamreport", "unsubscribe", "group_unsubscribe"):
        return None
    address, kind = said.address("email"), said.word("type")
    group = said.word("asm_group_id")
    about = About(
        source="sendgrid", at=said.seconds("timestamp", context.now), event_id=said.word("sg_event_id"),
        label="/".join(part for part in (event, kind, said.word("bounce_classification"), group) if part),
        said=said.said, message_id=said.word("smtp-id"),
        texts=texts_of({name: value for name, value in said.said.items() if name not in _KNOWN}),
    )  # fmt: skip
    if event == "spamreport":
        return complaint(about, address)
    if event in ("unsubscribe", "group_unsubscribe"):
        return unsubscribed(about, address)
    words = said.word("reason") or said.word("response")
    if event == "dropped":
        return _dropped(about, address, words, context)
    refused = Refused(
        words=words, label=about.label, status=said.word("status") or None,
        otherwise="5.0.0" if event == "bounce" and kind not in ("blocked", "expired") else "4.0.0",
        action="delayed" if event == "deferred" else "failed", spares=kind == "blocked",
    )  # fmt: skip
    return piece(about, "bounce", bounced(address, refused, context.rules))


def _dropped(about: About, address: str, words: str, context: Context) -> Piece:
    """What SendGrid did not even try, for reasons of its own: no server spoke."""
    said = words.strip().lower()
    if "unsubscribed" in said:
        return unsubscribed(about, address)
    if "spam report" in said:
        return complaint(about, address)
    refused = Refused(words=words, label=about.label, stage="local", spares=True)
    return piece(about, "bounce", bounced(address, refused, context.rules))
