"""What came back, as one kind of value: a delivery report, a complaint, an answer of a machine or of a person.

Mail to the return path (reports, feedback, replies, mailto opt-outs), a provider's hook and a refusal at hand-over all
become an `Event`, and one door takes it into memory. An event says what the other side said and what that means for an
address; what follows from it (undeliverable, objection, nothing) is for that door.

Never does: decide whether to believe it. `authenticated` and the tokens and ids of `Original` are what the door goes
by (RULES.md 5.2.8); everything else in a report may be forged.
Personal data: `address`, `original_address`, `author` and `recipient` of the original. `diagnostic` has none.

Sources: RFC 3464 (delivery reports), RFC 5965 (feedback), RFC 3834 (automatic answers).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

Kind = Literal["bounce", "complaint", "auto-reply", "unsubscribe", "other"]
"""`bounce`: a delivery report of any outcome. `complaint`: feedback of type abuse, fraud or the legacy opt-out.
`unsubscribe`: a person who writes to stop, or a provider's own unsubscribe. `auto-reply`: nobody is behind it.
`other`: the rest, other types of feedback included."""

Action = Literal["failed", "delayed", "delivered", "relayed", "expanded"]
"""RFC 3464 2.3.3."""

BounceClass = Literal["hard", "soft", "delayed", "none"]
"""By action and first digit of the status: failed with 5 or without a status, failed with 4 (given up after a
temporary error), delayed (still being tried), no failure."""

Reason = Literal[
    "unknown-user", "unknown-host", "no-mail-accepted", "moved", "inactive", "mailbox-full", "too-large", "policy",
    "spam", "virus", "blocked", "authentication", "rate-limited", "relaying-denied", "content", "protocol", "loop",
    "network", "system", "expired", "suppressed", "delivered", "undefined",
]  # fmt: skip
"""Why, in one word. `no-mail-accepted`: the domain says that it takes no mail (RFC 7505). `inactive`: there, but turned
off. `suppressed`: a provider did not even try. `undefined`: no rule knows these words."""

FeedbackType = Literal[
    "abuse", "fraud", "opt-out", "not-spam", "auth-failure", "virus", "other"
]  # fmt: skip
"""RFC 5965 7.3, RFC 6591, and `opt-out` of the drafts before. Types nobody knows are `other`."""

COMPLAINTS: frozenset[FeedbackType] = frozenset({"abuse", "fraud", "opt-out"})
"""What counts as a complaint (RULES.md 5.2.8)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """What a refusal means. `undeliverable`: mailbox or domain is said not to exist; full or refused is not that."""

    bounce_class: BounceClass
    reason: Reason
    undeliverable: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipient:
    """What an event says of one address.

    `address`: of the bounce the recipient that failed, of a complaint who complained, of a reply who wrote; as written,
    None where the report names none (or a redacted one). `original_address`: as the sender first had it (RFC 3464
    2.3.1), None when not said. `action` and `status` (RFC 3463, "5.1.1"): None where nothing was said.
    `diagnostic`: the words, addresses removed, at most 500 characters; "" without.
    """

    address: str | None
    original_address: str | None = None
    action: Action | None = None
    status: str | None = None
    bounce_class: BounceClass = "none"
    reason: Reason = "undefined"
    undeliverable: bool = False
    diagnostic: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Original:
    """What tells which mail, and whose copy, an event is about. Nothing here is proven.

    `tokens`: strings that could be tokens of our links, best first: from the List-Unsubscribe field of the mail
    that came back, its other fields, the report's subject and text. `return_ids`: local parts `b+ID` without the `b+`,
    found in Return-Path, X-Failed-Recipients and the like. `message_ids`: with angle brackets, best first: the last
    Message-ID of the mail that came back, then those a reply refers to. `author`, `recipient`: its From and
    To addresses, None when not given, several, or redacted.
    """

    tokens: tuple[str, ...] = ()
    return_ids: tuple[str, ...] = ()
    message_ids: tuple[str, ...] = ()
    author: str | None = None
    recipient: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One thing that came back. ValueError for a naive instant.

    `source`: "mail", "live" (an answer at hand-over) or the provider's name ("ses"). `at`: aware UTC, when it came in,
    or when it happened where a proven source says so. `recipients`: as many as were named; empty when none was.
    `feedback_type`: of feedback only. `needs_person`: it may be a wish to stop, or feedback of a kind that a machine
    cannot judge: somebody has to read it (RULES.md 5.2.8). `authenticated`: the source was proven (a hook's signature);
    mail never is. `label`: the provider's or the report's own word for it ("Transient/General"). `event_id`: the
    provider's, for telling repeats; None without.
    """

    kind: Kind
    source: str
    at: datetime
    recipients: tuple[Recipient, ...] = ()
    feedback_type: FeedbackType | None = None
    original: Original = Original()
    needs_person: bool = False
    authenticated: bool = False
    label: str | None = None
    event_id: str | None = None

    def __post_init__(self) -> None:
        if self.at.utcoffset() is None:
            raise ValueError("an event's instant must be aware")
