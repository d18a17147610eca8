"""Which campaign a message belongs to, from what newsletter tools and mail providers write into it.

Purpose: a short text that is the same for all messages of one sending and that the marketer knows from the tool. The
tables are data, first match wins; without any, a fingerprint of the author and the subject without its personal bits.
It never holds an address: what looks like one is left out. Failures: none; there is always an answer.
"""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

from gateway.mail.headers import decode_words
from gateway.mail.mime import Message

LONGEST = 100
"""Characters of a campaign, at most."""

Reading = Callable[[str], str | None]
"""Unfolded value -> campaign, None when this value names none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """A field that names a campaign. `field` as tools write it; `tool` for people."""

    tool: str
    field: str
    read: Reading


def whole(value: str) -> str | None:
    """The value itself."""
    return value or None


def _first_of_list(value: str) -> str | None:
    return value.partition(",")[0].strip() or None


def _before_dot(value: str) -> str | None:
    return value.partition(".")[0].strip() or None


def _civimail_job(value: str) -> str | None:
    """The bounce address `b.JOB.QUEUE.HASH@domain`: queue and hash are one recipient's, the job is the mailing's."""
    found = re.search(r"(?:^|[.+<])[a-z]\.(\d+)\.\d+\.[0-9a-f]+@", value)
    return f"job-{found[1]}" if found else None


def _mailtrain(value: str) -> str | None:
    """X-FBL: CAMPAIGN.LIST.SUBSCRIPTION."""
    return _before_dot(value) if value.count(".") == 2 else None


def _list_id(value: str) -> str | None:
    """RFC 2919: the identifier is in the last angle brackets."""
    found = re.search(r"<\s*([^<>\s]+)\s*>\s*$", value)
    return found[1] if found else whole(value)


def _feedback_id(value: str) -> str | None:
    """a:b:c:SenderId, read from the right; the first is the finest."""
    parts = [part.strip() for part in value.split(":")]
    return parts[0] or None if len(parts) >= 2 else None


def _tags(*keys: str) -> Reading:
    def read(value: str) -> str | None:
        pairs = dict(pair.strip().partition("=")[::2] for pair in value.split(","))
        return next((pairs[key].strip() for key in keys if pairs.get(key, "").strip()), None)

    return read


def _json(*paths: tuple[str, ...]) -> Reading:
    def read(value: str) -> str | None:
        try:
            document: Any = json.loads(value)
        except (ValueError, RecursionError):
            return None
        for path in paths:
            found = document
            for key in path:
                found = found.get(key) if isinstance(found, dict) else None
            if isinstance(found, list) and found:
                found = found[0]
            if isinstance(found, str | int) and not isinstance(found, bool) and str(found):
                return str(found)
        return None

    return read


_KEYS = ("campaign", "campaign_id", "campaign-id", "campaignId", "newsletter", "mailing", "mailing_id")

TOOLS = (
    Mark(tool="listmonk", field="X-Listmonk-Campaign", read=whole),
    Mark(tool="Mautic", field="X-EMAIL-ID", read=whole),
    Mark(tool="phpList", field="X-MessageID", read=whole),
    Mark(tool="MailWizz", field="X-Mw-Campaign-Uid", read=whole),
    Mark(tool="Mailtrain", field="X-FBL", read=_mailtrain),
    Mark(tool="CiviMail", field="X-CiviMail-Bounce", read=_civimail_job),
    Mark(tool="Mailchimp", field="X-campaignid", read=whole),
    Mark(tool="Mailchimp", field="X-Campaign", read=whole),
    Mark(tool="any", field="X-Campaign-Id", read=whole),
)
"""What newsletter tools write (their own campaign id)."""

PROVIDERS = (
    Mark(tool="Amazon SES", field="X-SES-MESSAGE-TAGS", read=_tags(*_KEYS)),
    Mark(tool="Amazon SES", field="X-SES-LIST-MANAGEMENT-OPTIONS", read=lambda value: _ses_topic(value)),
    Mark(tool="Mailgun", field="X-Mailgun-Variables", read=_json(*((key,) for key in _KEYS))),
    Mark(tool="Mailgun", field="X-Mailgun-Tag", read=whole),
    Mark(tool="Postmark", field="X-PM-Tag", read=whole),
    Mark(tool="SendGrid", field="X-SMTPAPI", read=_json(*(("unique_args", key) for key in _KEYS), ("category",))),
    Mark(tool="Mandrill", field="X-MC-Tags", read=_first_of_list),
    Mark(tool="SparkPost", field="X-MSYS-API", read=_json(("campaign_id",))),
    Mark(tool="Mailjet", field="X-Mailjet-Campaign", read=whole),
    Mark(tool="Mailjet", field="X-MJ-CustomID", read=whole),
    Mark(tool="Brevo", field="X-Mailin-Tag", read=whole),
    Mark(tool="Postal", field="X-Postal-Tag", read=whole),
    Mark(tool="Amazon SES", field="X-SES-CONFIGURATION-SET", read=whole),
    Mark(tool="Postmark", field="X-PM-Message-Stream", read=whole),
)
"""What is written for a mail provider behind us."""

LISTS = (
    Mark(tool="any", field="List-Id", read=_list_id),
    Mark(tool="any", field="Feedback-ID", read=_feedback_id),
)

MARKS = (*TOOLS, *PROVIDERS, *LISTS)
"""All, in the order they are looked at."""

_LOOK = tuple((mark.field.lower().encode("ascii"), mark) for mark in MARKS)


def campaign_of(message: Message, present: Collection[bytes], author: str) -> tuple[str, str]:
    """(campaign, what named it). `present`: names of the message's fields, lower case; `author`: the From address."""
    for name, mark in _LOOK:
        if name in present and (campaign := tidy(mark.read(decode_words(message.get(name) or b"").strip()))):
            return campaign, mark.field
    return fingerprint(message, author), "fingerprint"


def tidy(campaign: str | None) -> str:
    """On one line, printable, of bounded length; "" for none and for what looks like an address."""
    if not campaign or "@" in campaign:
        return ""
    line = " ".join("".join(c if c.isprintable() else " " for c in campaign).split())
    return line[:LONGEST].strip()


def fingerprint(message: Message, author: str) -> str:
    """`fp-` and eight hex digits of the author and the subject, with numbers and what is personal taken out."""
    subject = normal_subject(message)
    return "fp-" + hashlib.sha256(f"{author.casefold()}\n{subject}".encode("utf-8", "replace")).hexdigest()[:8]


def normal_subject(message: Message) -> str:
    """The subject as it is the same for all recipients: numbers, addresses and words of the recipient's name are marks.

    Known limit: a first name that stands in the subject but not in To makes a campaign of its own.
    """
    subject = unicodedata.normalize("NFKC", decode_words(message.get(b"subject") or b""))[:500].casefold()
    subject = re.sub(r"\S+@\S+", "*", subject)
    words = _names(message)
    subject = re.sub(r"[^\W\d_]{2,}", lambda word: "*" if word[0] in words else word[0], subject)
    return " ".join(re.sub(r"\d+(?:[.,:/-]\d+)*", "#", subject).split())


def _names(message: Message) -> frozenset[str]:
    """Words of the display name and the local part in To."""
    to = unicodedata.normalize("NFKC", decode_words(message.get(b"to") or b""))[:500].casefold()
    named = re.sub(r"@[^\s,>]+", " ", to)
    return frozenset(re.findall(r"[^\W\d_]{2,}", named))


def _ses_topic(value: str) -> str | None:
    """`LIST; topic=NAME`."""
    name, _, options = value.partition(";")
    topic = re.search(r"topic\s*=\s*([^;\s]+)", options)
    return topic[1] if topic else whole(name.strip())
