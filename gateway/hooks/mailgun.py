"""Mailgun's webhooks: one event a request, proven by an HMAC that stands in the body.

The HMAC (SHA-256) covers timestamp and token, not the event: whoever saw one request could put other words under its
signature. So a token is good for one content alone (`once`), and only for WINDOW. Mailgun repeats a request for eight
hours and does not say that it signs anew; a narrower window would lose what came late.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from gateway.hooks.fields import Fields, parsed, since_1970, texts_of
from gateway.hooks.signature import check_age
from gateway.hooks.told import (
    About,
    Context,
    Piece,
    Post,
    Reading,
    Refused,
    Unproven,
    bounced,
    canonical,
    complaint,
    labelled,
    piece,
    unsubscribed,
)

WINDOW: Final = timedelta(hours=12)
_LONGEST_TOKEN: Final = 200


def prove(post: Post, credentials: Mapping[str, Any], now: datetime) -> None:
    """Raise Unproven unless the signature is of this key and was made lately; Malformed where there is no JSON."""
    signed = Fields(parsed(post.body)).maybe("signature")
    stamp, token, signature = signed.word("timestamp"), signed.word("token"), signed.word("signature")
    if not stamp or not token or not signature:
        raise Unproven("no signature", missing=True)
    key = str(credentials["signing_key"]).encode()
    right = hmac.digest(key, (stamp + token).encode(), "sha256").hex()
    if len(token) > _LONGEST_TOKEN or not hmac.compare_digest(right.encode(), signature.lower().encode()):
        raise Unproven("wrong signature")
    made = since_1970(stamp)
    check_age(made, now, WINDOW)


def once(body: bytes) -> tuple[bytes, bytes]:
    """The token of a proven request, and the digest of the one content that it is good for."""
    said = Fields(parsed(body))
    return said.maybe("signature").word("token").encode(), hashlib.sha256(canonical(said.said)).digest()


def read(body: bytes, context: Context) -> Reading:
    """The event of one request. Raises Malformed."""
    found = _event(Fields(parsed(body)).inner("event-data"), context)
    return Reading(ignored=1) if found is None else Reading(pieces=(found,))


def _event(said: Fields, context: Context) -> Piece | None:
    event, severity, reason = said.text("event"), said.word("severity"), said.word("reason")
    if event not in ("failed", "complained", "unsubscribed", "rejected"):
        return None
    headers = said.maybe("message").maybe("headers")
    address = headers.address("to") if event == "rejected" and not said.word("recipient") else said.address("recipient")
    at = said.seconds("timestamp", context.now)
    identity = said.word("id")  # unique within a day only
    about = About(
        source="mailgun", at=at, event_id=f"{identity}/{at:%Y-%m-%d}" if identity else "",
        label="/".join(part for part in (event, severity, reason) if part), said=_kept(said.said),
        texts=(*texts_of(said.said.get("user-variables")), *texts_of(headers.said)),
        senders=(said.maybe("envelope").word("sender"),), message_id=_in_brackets(headers.word("message-id")),
    )  # fmt: skip
    if event == "complained" or reason == "suppress-complaint":
        return complaint(about, address)
    if event == "unsubscribed" or reason == "suppress-unsubscribe":
        return unsubscribed(about, address)
    if event == "rejected":
        words = said.maybe("reject").word("reason") or reason
        return piece(about, "bounce", labelled(address, "content", words))
    return piece(about, "bounce", bounced(address, _failure(said, about.label), context.rules))


def _failure(said: Fields, label: str) -> Refused:
    """A failed attempt: code and words of the other server, or Mailgun's own where it asked nobody."""
    status = said.maybe("delivery-status")
    words = " ".join(part for part in (status.word("message"), status.word("description")) if part)
    code, enhanced = status.word("code"), status.word("enhanced-code")
    temporary = said.word("severity") == "temporary"
    basic = f"{code[0]}.0.0" if len(code) == 3 and code[0] in "45" and code not in ("498", "499") else None
    return Refused(
        words=f"{code} {words}" if basic else words, label=label,
        status=enhanced if _is_status(enhanced) else None,
        otherwise=basic or ("4.0.0" if temporary else "5.0.0"), action="delayed" if temporary else "failed",
        stage="local" if code.startswith("6") else None, spares=said.word("reason").startswith("suppress-"),
    )  # fmt: skip


def _is_status(text: str) -> bool:
    parts = text.split(".")
    return len(parts) == 3 and parts[0] in ("4", "5") and all(p.isascii() and p.isdigit() for p in parts)


def _kept(said: Mapping[str, Any]) -> dict[str, Any]:
    """What is kept: without the fields that may name others who got the same mail."""
    kept = dict(said)
    message = kept.get("message")
    if isinstance(message, dict):
        kept["message"] = {name: value for name, value in message.items() if name != "recipients"}
        headers = message.get("headers")
        if isinstance(headers, dict):
            kept["message"]["headers"] = {n: v for n, v in headers.items() if n.lower() not in ("to", "cc", "bcc")}
    return kept


def _in_brackets(text: str) -> str:
    return f"<{text.strip(' <>')}>" if text else ""
