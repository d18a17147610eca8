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

from gateway.mail.headers import decode_words, list_uris
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


def _phplist(value: str) -> str | None:
    """X-MessageID: the campaign's number. phpList's own mails (confirm, welcome, reports) say "systemmessage"."""
    return None if value.lower() == "systemmessage" else whole(value)


def _civimail_job(value: str) -> str | None:
    """The bounce address `b.JOB.QUEUE.HASH@domain`: queue and hash are one recipient's, the job is the mailing's."""
    found = re.search(r"(?:^|[.+<])[a-z]\.(\d+)\.\d+\.[0-9a-f]+@", value)
    return f"job-{found[1]}" if found else None


def _mailtrain(value: str) -> str | None:
    """X-FBL: CAMPAIGN.LIST.SUBSCRIPTION."""
    return value.partition(".")[0].strip() or None if value.count(".") == 2 else None


def _odoo(value: str) -> str | None:
    """X-Odoo-Objects: MODEL-ID, several separated by commas. Only a mailing's id is the same for all recipients."""
    found = re.search(r"(?:^|[\s,])mailing\.mailing-(\d+)\b", value)
    return f"mailing-{found[1]}" if found else None


def _list_id(value: str) -> str | None:
    """RFC 2919: the identifier is in the last angle brackets."""
    found = re.search(r"<\s*([^<>\s]+)\s*>\s*$", value)
    return found[1] if found else whole(value)


def _feedback_id(value: str) -> str | None:
    """a:b:c:SenderId, read from the right; the first is the finest, but Mailchimp's: ACCOUNT:ACCOUNT.CAMPAIGN:DC:mc."""
    parts = [part.strip() for part in value.split(":")]
    if len(parts) >= 3 and parts[-1] == "mc":
        return parts[1].rpartition(".")[2] or None
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
_NAMED = _json(*((key,) for key in _KEYS))
_ARGUMENTS = _json(*(("unique_args", key) for key in _KEYS), ("category",))
_GROUP = _json(("asm_group_id",))


def _sendgrid(value: str) -> str | None:
    """X-SMTPAPI: the sender's own arguments, else the first category, else the group people unsubscribe from."""
    group = _ARGUMENTS(value) or _GROUP(value)
    return f"asm-{group}" if group is not None and group == _GROUP(value) else group


def _brevo(value: str) -> str | None:
    """X-Mailin-custom: JSON, or NAME:VALUE pairs separated by bars."""
    pairs = dict(pair.strip().partition(":")[::2] for pair in value.split("|"))
    return _NAMED(value) or next((pairs[key].strip() for key in _KEYS if pairs.get(key, "").strip()), None)


TOOLS = (
    Mark(tool="listmonk", field="X-Listmonk-Campaign", read=whole),
    Mark(tool="Mautic", field="X-EMAIL-ID", read=whole),
    Mark(tool="phpList", field="X-MessageID", read=_phplist),
    Mark(tool="MailWizz", field="X-Mw-Campaign-Uid", read=whole),
    Mark(tool="Mailtrain", field="X-FBL", read=_mailtrain),
    Mark(tool="CiviMail", field="X-CiviMail-Bounce", read=_civimail_job),
    Mark(tool="Odoo", field="X-Odoo-Objects", read=_odoo),
    Mark(tool="MailPoet", field="X-MailPoet-Newsletter-ID", read=whole),
    Mark(tool="Mailchimp", field="X-campaignid", read=whole),
    Mark(tool="Mailchimp", field="X-Campaign", read=whole),
    Mark(tool="any", field="X-Campaign-Id", read=whole),
)
"""What newsletter tools write (their own campaign id)."""

PROVIDERS = (
    Mark(tool="Amazon SES", field="X-SES-MESSAGE-TAGS", read=_tags(*_KEYS)),
    Mark(tool="Amazon SES", field="X-SES-LIST-MANAGEMENT-OPTIONS", read=lambda value: _ses_topic(value)),
    Mark(tool="Mailgun", field="X-Mailgun-Variables", read=_NAMED),
    Mark(tool="Mailgun", field="X-Mailgun-Tag", read=whole),
    Mark(tool="Postmark", field="X-PM-Metadata-campaign", read=whole),
    Mark(tool="Postmark", field="X-PM-Tag", read=whole),
    Mark(tool="SendGrid", field="X-SMTPAPI", read=_sendgrid),
    Mark(tool="Mandrill", field="X-MC-Metadata", read=_NAMED),
    Mark(tool="Mandrill", field="X-MC-Tags", read=_first_of_list),
    Mark(tool="SparkPost", field="X-MSYS-API", read=_json(("campaign_id",), *(("metadata", key) for key in _KEYS))),
    Mark(tool="Mailjet", field="X-Mailjet-Campaign", read=whole),
    Mark(tool="Mailjet", field="X-MJ-CustomID", read=whole),
    Mark(tool="Mailjet", field="X-MJ-EventPayload", read=_NAMED),
    Mark(tool="Brevo", field="X-Mailin-Tag", read=whole),
    Mark(tool="Brevo", field="X-Mailin-custom", read=_brevo),
    Mark(tool="Postal", field="X-Postal-Tag", read=whole),
    Mark(tool="Amazon SES", field="X-SES-CONFIGURATION-SET", read=whole),
    Mark(tool="Amazon SES", field="X-SES-TENANT", read=whole),
    Mark(tool="Mandrill", field="X-MC-Subaccount", read=whole),
    Mark(tool="Postmark", field="X-PM-Message-Stream", read=whole),
)
"""What is written for a mail provider behind us."""

LISTS = (
    Mark(tool="any", field="List-Id", read=_list_id),
    Mark(tool="any", field="Feedback-ID", read=_feedback_id),
)

MARKS = (*TOOLS, *PROVIDERS, *LISTS)
"""All, in the order they are looked at."""

_UUID = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
LINKS = tuple(
    (tool, re.compile(pattern, re.IGNORECASE))
    for tool, pattern in (
        ("listmonk", rf"/subscription/(?P<campaign>{_UUID})/{_UUID}(?:[?#]|$)"),
        ("Mautic", r"/email/unsubscribe/[^/?#]+"),
        ("Odoo", r"/(?:mail/)?mailing/(?P<campaign>\d+)/(?:confirm_)?unsubscribe"),
        ("MailPoet", r"[?&]mailpoet_(?:router|page)\b"),
        ("Ghost", rf"/unsubscribe/?\?(?:[^#]*&)?uuid={_UUID}\b"),
        ("Keila", r"/unsubscribe/n?p_[0-9a-z]+/[^/?#]+(?:/[^/?#]+)?(?:[?#]|$)"),
        ("phpList", r"[?&]p=unsubscribe\b.*[?&]uid=|[?&]uid=[0-9a-f]+.*[?&]p=unsubscribe\b"),
        ("MailWizz", r"/lists/[0-9a-z]{13}/unsubscribe/[0-9a-z]{13}(?:/(?P<campaign>[0-9a-z]{13}))?"),
        ("Sendy", r"/unsubscribe/[0-9A-Za-z]{10,}/[0-9A-Za-z]{10,}/(?P<campaign>[0-9A-Za-z]{10,})/?$"),
    )
)
"""Tools that are told by where their List-Unsubscribe leads, and the campaign in it where there is one."""

_OWN = tuple((mark.field.lower().encode("ascii"), mark) for mark in TOOLS)
_OTHERS = tuple((mark.field.lower().encode("ascii"), mark) for mark in (*PROVIDERS, *LISTS))
_UNSUBSCRIBE = b"list-unsubscribe"
_LONGEST_LINK = 2_000
_SIGNS = (
    (b"x-listmonk-campaign", "listmonk"), (b"x-listmonk-subscriber", "listmonk"), (b"x-mautic-email-id", "Mautic"),
    (b"x-email-id", "Mautic"), (b"x-mw-campaign-uid", "MailWizz"), (b"x-civimail-bounce", "CiviMail"),
    (b"x-mailtrain-dkim", "Mailtrain"), (b"x-mailman-version", "Mailman"), (b"x-acelle-message-id", "Acelle"),
    (b"x-mailpoet-newsletter-id", "MailPoet"), (b"x-mc-user", "Mailchimp"), (b"x-campaignid", "Mailchimp"),
)  # fmt: skip
"""Fields that one tool alone writes."""
_SENDERS = {b"mc": "Mailchimp", b"rm": "Rapidmail"}
"""The last part of Feedback-ID."""


def campaign_of(message: Message, present: Collection[bytes], author: str) -> tuple[str, str]:
    """(campaign, what named it). `present`: names of the message's fields, lower case; `author`: the From address."""
    for marks in (_OWN, _OTHERS):
        for name, mark in marks:
            if name in present and (campaign := tidy(mark.read(decode_words(message.get(name) or b"").strip()))):
                return campaign, mark.field
        if marks is _OWN and (link := _link(message, present)) is not None and (campaign := tidy(link[1])):
            return campaign, "List-Unsubscribe"
    return fingerprint(message, author), "fingerprint"


def _link(message: Message, present: Collection[bytes]) -> tuple[str, str | None] | None:
    """(tool, campaign) by where List-Unsubscribe leads; None where nothing is known of that."""
    if _UNSUBSCRIBE not in present:
        return None
    for uri in (uri for value in message.get_all(_UNSUBSCRIBE) for uri in list_uris(value)):
        if uri.lower().startswith("http") and len(uri) <= _LONGEST_LINK:
            for tool, pattern in LINKS:
                if found := pattern.search(uri):
                    return tool, found.groupdict().get("campaign")
    return None


def tool_of(message: Message, present: Collection[bytes]) -> str | None:
    """The tool that made the message, by its own fields, else by its links; None for one that nobody knows."""
    for name, tool in _SIGNS:
        if name in present:
            return tool
    if b"x-odoo-objects" in present:
        record = re.match(r"\s*([a-z][a-z0-9._]{1,40})-\d", decode_words(message.get(b"x-odoo-objects") or b""))
        return f"Odoo {record[1]}" if record else "Odoo"
    if b"x-messageid" in present and b"x-listmember" in present:
        system = (message.get(b"x-messageid") or b"").strip().lower() == b"systemmessage"
        return "phpList systemmessage" if system else "phpList"
    if b"x-fbl" in present and _mailtrain((message.get(b"x-fbl") or b"").decode("latin-1")):
        return "Mailtrain"
    if b"feedback-id" in present:
        sender = (message.get(b"feedback-id") or b"").rpartition(b":")[2].strip()
        if sender in _SENDERS:
            return _SENDERS[sender]
    link = _link(message, present)
    if link is not None:
        return link[0]
    if b"list-id" in present and b"list-post" in present and (message.get(b"list-post") or b"").upper() != b"NO":
        return "Sympa" if b"x-sequence" in present and b"x-loop" in present else "discussion list"
    return None


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
    words = recipient_words(message)
    subject = re.sub(r"[^\W\d_]{2,}", lambda word: "*" if word[0] in words else word[0], subject)
    return " ".join(re.sub(r"\d+(?:[.,:/-]\d+)*", "#", subject).split())


def recipient_words(message: Message) -> frozenset[str]:
    """Words of the display name and the local part in To."""
    to = unicodedata.normalize("NFKC", decode_words(message.get(b"to") or b""))[:500].casefold()
    named = re.sub(r"@[^\s,>]+", " ", to)
    return frozenset(re.findall(r"[^\W\d_]{2,}", named))


def _ses_topic(value: str) -> str | None:
    """`LIST; topic=NAME`."""
    name, _, options = value.partition(";")
    topic = re.search(r"topic\s*=\s*([^;\s]+)", options)
    return topic[1] if topic else whole(name.strip())
