"""What a provider's request is, and what comes of reading it: values that all providers share.

A reading is split by person: each piece is about one address, with what was said of it and no one else's, so that a
piece can be sealed under that person's key and goes with them (GDPR art. 17).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Literal

from gateway.hooks.fields import Malformed
from gateway.mail.came_back import TOKEN_LENGTH
from gateway.mail.event import Action, BounceClass, Event, FeedbackType, Kind, Original, Reason, Recipient
from gateway.mail.judgement import BounceRules, Said, Stage, code_in, reply_code_in
from gateway.mail.outcome import without_addresses
from gateway.mail.return_id import PREFIX

Provider = Literal["ses", "sendgrid", "mailgun", "postmark", "postal"]
PROVIDERS: Final[tuple[Provider, ...]] = ("ses", "sendgrid", "mailgun", "postmark", "postal")
MOST_RAW: Final = 32 * 1024
"""Characters of what a provider said of one person that are kept."""
_MOST_TEXTS: Final = 200
_TOKEN_ALPHABET: Final = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")


class Unproven(Exception):
    """The request is not shown to be the provider's. `cause`: a few words for the log, without anything sent.

    `missing`: nothing was presented at all (HTTP 401), else what was presented does not fit (403).
    """

    def __init__(self, cause: str, *, missing: bool = False) -> None:
        super().__init__(cause)
        self.cause, self.missing = cause, missing


@dataclass(frozen=True, slots=True, kw_only=True)
class Post:
    """One request. `headers`: names in lower case; of several fields of a name the last. Not shown by repr."""

    body: bytes = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """One event about one address, and the JSON that said so."""

    event: Event
    raw: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What a request says. `ignored`: entries that say nothing of bounces or wishes (delivered, opened ...), or that
    would lift an opt-out. `faults`: entries that cannot be read; the others count all the same."""

    pieces: tuple[Piece, ...] = ()
    ignored: int = 0
    faults: tuple[Malformed, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """What every reader is given. `now`: aware UTC, stands in where the provider gave no time."""

    rules: BounceRules
    now: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """A refusal as a provider tells it. `status`: its own field, None without. `otherwise`: the status where neither
    that field nor the words have one. `spares`: the provider says that the address is not the trouble."""

    words: str
    label: str
    status: str | None = None
    otherwise: str = "5.0.0"
    action: Action = "failed"
    stage: Stage | None = None
    spares: bool = False


def bounced(address: str, refused: Refused, rules: BounceRules) -> Recipient:
    """What a refusal means, judged by code and words like any other report; the provider's label decides nothing but
    where there is neither."""
    status = refused.status or code_in(refused.words) or _by_reply_code(refused.words) or refused.otherwise
    said = Said(text=refused.words, status=status, stage=refused.stage, label=refused.label)
    judged = rules.judge(said, action=refused.action)
    return Recipient(
        address=address, action=refused.action, status=status, bounce_class=judged.bounce_class, reason=judged.reason,
        undeliverable=judged.undeliverable and not refused.spares,
        diagnostic=without_addresses(refused.words, address),
    )  # fmt: skip


def labelled(address: str, reason: Reason, words: str, bounce_class: BounceClass = "hard") -> Recipient:
    """A refusal of the provider's own making, which says nothing of the address: no rule about servers applies."""
    return Recipient(
        address=address, action="failed", bounce_class=bounce_class, reason=reason,
        diagnostic=without_addresses(words, address),
    )  # fmt: skip


def _by_reply_code(words: str) -> str | None:
    code = reply_code_in(words)
    return None if code is None else f"{code // 100}.0.0"


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """What the events of one entry have in common. `event_id`: the provider's, unique for ever; "" without.

    `said`: the entry, as it may be kept. `texts`: where a token of ours may stand. `senders`: where MAIL FROM may.
    """

    source: Provider
    at: datetime
    event_id: str
    label: str
    said: Mapping[str, Any]
    texts: tuple[str, ...] = ()
    senders: tuple[str, ...] = ()
    message_id: str = ""


def piece(about: About, kind: Kind, recipient: Recipient, feedback_type: FeedbackType | None = None) -> Piece:
    """One event about one person."""
    raw = json.dumps(about.said, separators=(",", ":"))
    told_as = about.event_id or hashlib.sha256(canonical(about.said)).hexdigest()
    event = Event(
        kind=kind, source=about.source, at=about.at, recipients=(recipient,), feedback_type=feedback_type,
        original=Original(
            tokens=tokens_in(about.texts), return_ids=_return_ids(about.senders),
            message_ids=(about.message_id,) if about.message_id else (), recipient=recipient.address,
        ),
        needs_person=kind == "other" and feedback_type in ("virus", "other"), authenticated=True, label=about.label,
        event_id=f"{told_as}/{kind}/{(recipient.address or '').lower()}",
    )  # fmt: skip
    return Piece(event=event, raw=raw[:MOST_RAW])


def canonical(said: Any) -> bytes:
    """The same bytes for the same content, however it was laid out."""
    return json.dumps(said, sort_keys=True, separators=(",", ":")).encode()


def complaint(about: About, address: str, feedback_type: FeedbackType = "abuse") -> Piece:
    """Somebody pressed "spam"."""
    return piece(about, "complaint", Recipient(address=address), feedback_type)


def unsubscribed(about: About, address: str) -> Piece:
    """Somebody stopped the mail at the provider."""
    return piece(about, "unsubscribe", Recipient(address=address))


def tokens_in(texts: tuple[str, ...]) -> tuple[str, ...]:
    """What could be tokens of our links: every stretch of the right length."""
    found: dict[str, None] = {}
    for text in texts[:_MOST_TEXTS]:
        for word in "".join(c if c in _TOKEN_ALPHABET else " " for c in text[:4096]).split():
            if len(word) == TOKEN_LENGTH:
                found[word] = None
    return tuple(found)[:8]


def _return_ids(senders: tuple[str, ...]) -> tuple[str, ...]:
    locals_ = (one.strip(" <>").rpartition("@")[0].lower() for one in senders)
    return tuple(one.removeprefix(PREFIX) for one in locals_ if one.startswith(PREFIX))
