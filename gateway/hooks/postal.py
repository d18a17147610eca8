"""Postal's webhooks: one event a request, proven by an RSA signature over the body (X-Postal-Signature-256).

The older header X-Postal-Signature is over SHA-1 and refused, unless the hook was told to take it (installations before
Postal 3.3 send no other); where both come, the newer one alone counts.

`MessageBounced` says that a report came back, not what it said: nothing follows but that it is on record. Postal
repeats a request for some minutes; what is older than WINDOW is refused.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA1, SHA256

from gateway.hooks.fields import Fields, parsed, since_1970, texts_of
from gateway.hooks.signature import check_age, der_key
from gateway.hooks.told import About, Context, Piece, Post, Reading, Refused, Unproven, bounced, piece

SIGNATURE: Final = "x-postal-signature-256"
OLD_SIGNATURE: Final = "x-postal-signature"
WINDOW: Final = timedelta(days=7)
_TAG: Final = re.compile(r"(?:^|;)\s*p\s*=\s*([A-Za-z0-9+/=\s]+)")


def public_key(text: str) -> rsa.RSAPublicKey:
    """The key as PEM, as base64, or as the DKIM record that `postal default-dkim-record` prints. ValueError where it is
    none."""
    if "-----BEGIN" in text:
        text = "".join(line for line in text.splitlines() if "-----" not in line)
    elif found := _TAG.search(text):
        text = found[1]
    key = der_key(text)
    if not isinstance(key, rsa.RSAPublicKey):
        raise ValueError("no RSA key")
    return key


def prove(post: Post, credentials: Mapping[str, Any], now: datetime) -> None:
    """Raise Unproven unless the request carries Postal's signature."""
    new, old = post.headers.get(SIGNATURE, ""), post.headers.get(OLD_SIGNATURE, "")
    if not new and not (old and credentials.get("sha1")):
        raise Unproven("signature over SHA-1" if old else "no signature", missing=not old)
    try:
        public_key(credentials["public_key"]).verify(
            base64.b64decode(new or old, validate=True), post.body, PKCS1v15(),
            SHA256() if new else SHA1(),  # noqa: S303 - taken only where the hook was told to
        )  # fmt: skip
    except (InvalidSignature, ValueError):
        raise Unproven("wrong signature") from None
    made = since_1970(Fields(parsed(post.body)).said.get("timestamp"))
    if made is not None:
        check_age(made, now, WINDOW)


def read(body: bytes, context: Context) -> Reading:
    """The event of one request. Raises Malformed."""
    found = _event(Fields(parsed(body)), context)
    return Reading(ignored=1) if found is None else Reading(pieces=(found,))


def _event(said: Fields, context: Context) -> Piece | None:
    event = said.text("event")
    if event not in ("MessageDeliveryFailed", "MessageBounced", "MessageHeld", "MessageDelayed"):
        return None
    payload = said.inner("payload")
    message = payload.inner("original_message" if event == "MessageBounced" else "message")
    if message.word("direction") == "incoming":
        return None
    address = message.address("to")
    about = About(
        source="postal", at=said.seconds("timestamp", context.now), event_id=said.word("uuid"),
        label="/".join(part for part in (event, payload.word("status")) if part), said=_kept(said.said),
        texts=texts_of({"tag": message.word("tag")}), message_id=message.word("message_id"),
    )  # fmt: skip
    return piece(about, "bounce", bounced(address, _refused(event, payload, about.label), context.rules))


def _refused(event: str, payload: Fields, label: str) -> Refused:
    words = " ".join(part for part in (payload.word("output"), payload.word("details")) if part)
    if event == "MessageBounced":
        return Refused(words=payload.maybe("bounce").word("subject"), label=label, otherwise="4.0.0", spares=True)
    if event == "MessageHeld":  # Postal holds it by its own rules: no server spoke
        return Refused(words=words, label=label, otherwise="4.0.0", action="delayed", stage="local", spares=True)
    soft = payload.word("status") == "SoftFail"
    return Refused(
        words=words, label=label, otherwise="4.0.0" if soft else "5.0.0",
        action="delayed" if event == "MessageDelayed" else "failed",
    )  # fmt: skip


def _kept(said: Mapping[str, Any]) -> dict[str, Any]:
    """What is kept: without subjects, and without the mail server's report of a bounce beyond its id."""
    kept = dict(said)
    payload = kept.get("payload")
    if isinstance(payload, dict):
        kept["payload"] = {
            name: {n: v for n, v in value.items() if n != "subject"} if isinstance(value, dict) else value
            for name, value in payload.items()
        }
    return kept
