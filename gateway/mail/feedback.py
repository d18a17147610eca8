"""Complaints: feedback reports (RFC 5965, RFC 6591) and the plain forwards of Microsoft's JMRP.

Who complained: Removal-Recipient, else Original-Rcpt-To, else the recipient of the mail that came back; an address that
the reporter took out is none. Microsoft's reports carry no recipient at all; there the ids of `Original` have to do.

Total: never raises; None for what is no feedback.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from gateway.mail.came_back import ADDRESS, FORWARDED, CameBack, as_text, bare_address, decoded, is_redacted
from gateway.mail.event import FeedbackType
from gateway.mail.headers import decode_words
from gateway.mail.mime import Part

MOST = 500
"""Recipients of one report that are read."""

_FIELD = re.compile(r"([A-Za-z][A-Za-z0-9-]{1,60})[ \t]*:[ \t]*(.*)")
_KNOWN: dict[str, FeedbackType] = {
    "abuse": "abuse", "complaint": "abuse", "spam": "abuse", "fraud": "fraud", "phishing": "fraud", "phish": "fraud",
    "opt-out": "opt-out", "opt-out-list": "opt-out", "unsubscribe": "opt-out", "not-spam": "not-spam",
    "notspam": "not-spam", "auth-failure": "auth-failure", "dmarc": "auth-failure", "virus": "virus",
}  # fmt: skip
_JMRP = re.compile(r"complaint about message from", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Feedback:
    """One report: its type, the word the report itself has for it, and who complained."""

    type: FeedbackType
    said: str
    complainants: tuple[str, ...]


def read_feedback(mail: CameBack) -> Feedback | None:
    """The feedback in a message; None when it holds none."""
    part = next((part for part in mail.parts if _may_hold_feedback(part)), None)
    if part is not None:
        return _standard(mail, _fields(as_text(decoded(part)[:200_000])))
    if mail.message.root.parameters.get(b"report-type", b"").lower() == b"feedback-report":
        return _standard(mail, {})
    return _forwarded(mail)


def _may_hold_feedback(part: Part) -> bool:
    if part.type == b"message/feedback-report":
        return True
    if part.type != b"text/plain" or part.end - part.body_start > 50_000:
        return False
    start = decoded(part).lower()
    return b"feedback-type:" in start and (b"user-agent:" in start or b"version:" in start)


def _fields(text: str) -> dict[str, list[str]]:
    """All fields by lower-case name; several of a name are told apart, folded lines joined."""
    fields: dict[str, list[str]] = {}
    last: list[str] | None = None
    for line in text.split("\n"):
        found = _FIELD.match(line)
        if found:
            last = fields.setdefault(found[1].lower(), [])
            last.append(found[2].strip())
        elif last and line[:1] in (" ", "\t") and len(last[-1]) < 4000:
            last[-1] = f"{last[-1]} {line.strip()}"
    return fields


def _standard(mail: CameBack, fields: dict[str, list[str]]) -> Feedback:
    said = (fields.get("feedback-type") or fields.get("abuse-type") or ["abuse"])[0].strip().lower()
    named = fields.get("removal-recipient") or fields.get("original-rcpt-to") or []
    who = [address for value in named[:MOST] for address in ADDRESS.findall(value)]
    if not named:
        who = _recipients_of_original(mail)
    return Feedback(type=_KNOWN.get(said, "other"), said=said[:60], complainants=_told_apart(who))


def _recipients_of_original(mail: CameBack) -> list[str]:
    """The one recipient of the mail that came back; several are people of whom any may have complained."""
    recipient = mail.original(texts=False).recipient
    return [recipient] if recipient else []


def _forwarded(mail: CameBack) -> Feedback | None:
    """JMRP: the reported mail as an attachment, with a field that names the recipient, or not even that."""
    head = mail.returned_head
    named = head.get(FORWARDED) if head is not None else None
    who = [bare_address(decode_words(named))] if named is not None else []
    if not who and not (_JMRP.search(mail.field(b"subject")) and head is not None):
        return None
    complainants = [address for address in who if address] or _recipients_of_original(mail)
    return Feedback(type="abuse", said="abuse", complainants=_told_apart(complainants))


def _told_apart(addresses: list[str]) -> tuple[str, ...]:
    kept = {address.rstrip(".").lower(): address.rstrip(".") for address in addresses if not is_redacted(address)}
    return tuple(kept.values())[:MOST]
