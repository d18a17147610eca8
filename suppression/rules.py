"""Stages A, B and C of the decision as tables: read them row by row beside RULES 2.3. The first row that hits decides.

Each row has its id, its source in law, its test and its effect. Tests ask for the good fact and hit when it is not
there, so that a fact that is unknown never helps (RULES 2.1.3). The order of the rows is part of the law.

Stage D is in basis.py, stages E to G are in duties.py.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import NamedTuple

from suppression.consent import Consent
from suppression.facts import MARKETING, Facts
from suppression.restriction import ErasureRequest, Restriction
from suppression.suppression_list import Suppression, code, covers, first, in_force, order


class Allow(NamedTuple):
    """The message may go; `basis` is the ground that is kept with the decision."""

    code: str
    basis: str


class Block(NamedTuple):
    """A legal obstacle: it does not pass by waiting (RULES 2.1.4). `source` where it is narrower than the row's."""

    code: str
    source: str | None = None


class Defer(NamedTuple):
    """A technical cause that can pass (RULES 2.1.4)."""

    code: str


Effect = Allow | Block | Defer


class Rule(NamedTuple):
    """One row. `message_level`: the obstacle lies in the message or its setting, whoever receives it (RULES 2.4)."""

    id: str
    source: str
    test: Callable[[Facts], bool]
    effect: Effect | Callable[[Facts], Effect]
    message_level: bool = False


DOI_WINDOW = timedelta(hours=168)


def is_marketing(facts: Facts) -> bool:
    """Whether the effective class is marketing: by declaration, or because something is promoted (RULES 2.2)."""
    message = facts.message
    return message.message_class in MARKETING or message.promotional_content is not False


def is_notice(facts: Facts) -> bool:
    """Whether it is a message the law requires, without promotion."""
    return facts.message.message_class == "mandatory_notice" and not is_marketing(facts)


def _restricted(facts: Facts) -> bool:
    return bool(facts.restrictions) and bool(restricting(facts))


def restricting(facts: Facts) -> list[Restriction]:
    """The restrictions in force that stand in the way of this message (A6)."""
    marketing = is_marketing(facts)
    if is_notice(facts) or (facts.message.restriction_exemption is not None and not marketing):
        return []
    return [entry for entry in facts.restrictions if _restricts(entry, facts, marketing)]


def _restricts(entry: Restriction, facts: Facts, marketing: bool) -> bool:
    if entry.controller_id != facts.sender.controller_id or not in_force(entry.since, entry.lifted_at, facts.as_of):
        return False
    if entry.scope == "purpose":
        return entry.purpose is None or entry.purpose == facts.message.purpose
    return entry.scope != "marketing" or marketing


def matching(facts: Facts) -> list[Suppression]:
    """The suppressions in force that cover this controller and purpose (C1)."""
    if not facts.suppressions:
        return []
    controller_id, purpose, as_of = facts.sender.controller_id, facts.message.purpose, facts.as_of
    return [
        entry
        for entry in facts.suppressions
        if covers(entry, controller_id=controller_id, purpose=purpose, as_of=as_of)
    ]


#: The codes C1 and B5 can give, and the part of their source that speaks (RULES 2.5, D018 to D025).
SUPPRESSION_SOURCES: dict[str, str] = {
    "ERASED_DO_NOT_CONTACT": "GDPR 17, 21(3)",
    "OBJECTED_TO_MARKETING": "GDPR 21(2)-(3)",
    "COMPLAINT_RECEIVED": "GDPR 21(3); RFC 5965",
    "SUPPRESSED_GLOBAL": "GDPR 21(3)",
    "SUPPRESSED_SENDER": "ePD 13(2); GDPR 7(3), 21(3)",
    "SUPPRESSED_PURPOSE": "GDPR 7(3)",
}


def in_order(entries: list[Suppression]) -> list[Suppression]:
    """Suppressions in the order in which they speak (C1)."""
    return sorted(entries, key=order)


def _block_by(entries: list[Suppression]) -> Effect:
    entry = first(entries)
    reason_code = code(entry) if entry else "SUPPRESSED_GLOBAL"
    return Block(reason_code, SUPPRESSION_SOURCES[reason_code])


def pending_request(facts: Facts) -> Consent | None:
    """The consent of this controller and purpose that waits for its confirmation, the latest requested (B4).

    A request, confirmation or withdrawal in the future counts as absent (RULES 2.1.5). Of two requests of the same
    instant the one for which more mails were sent speaks.
    """
    as_of = facts.as_of
    waiting = [
        (confirmation.requested_at, confirmation.mails_sent, at)
        for at, record in enumerate(facts.consents)
        if record.controller_id == facts.sender.controller_id
        and facts.message.purpose in record.purposes
        and (confirmation := record.double_opt_in).required
        and confirmation.requested_at is not None
        and confirmation.requested_at <= as_of
        and (confirmation.confirmed_at is None or confirmation.confirmed_at > as_of)
        and (record.withdrawn_at is None or record.withdrawn_at > as_of)
    ]
    return facts.consents[max(waiting)[2]] if waiting else None


def stopped_since_request(facts: Facts) -> list[Suppression]:
    """The suppressions in force that a sign-up does not come after (B5)."""
    request = pending_request(facts)
    requested_at = request.double_opt_in.requested_at if request else None
    return [
        entry for entry in matching(facts) if entry.scope == "global" or requested_at is None or entry.at > requested_at
    ]


def _already_sent(facts: Facts) -> bool:
    request = pending_request(facts)
    return request is None or request.double_opt_in.mails_sent > 0


def _too_late(facts: Facts) -> bool:
    request = pending_request(facts)
    requested_at = request.double_opt_in.requested_at if request else None
    return requested_at is None or facts.as_of - requested_at > DOI_WINDOW


def open_erasures(facts: Facts) -> list[ErasureRequest]:
    """The requests to be erased that are open at this controller (C2)."""
    return [
        request
        for request in facts.erasure_requests
        if request.controller_id == facts.sender.controller_id
        and request.status not in ("completed", "refused")
        and request.received_at <= facts.as_of
    ]


#: The declared class counts here, whatever is promoted.
UNCLASSIFIED = Rule(
    "A4", "GDPR 25", lambda f: f.message.message_class == "unknown", Block("UNCLASSIFIED_MESSAGE"), True
)

#: Stage A: every message.
EVERY_MESSAGE: tuple[Rule, ...] = (
    Rule("A1", "GDPR 5(2), 25", lambda f: not f.stores_available, Defer("EVIDENCE_STORE_UNAVAILABLE")),
    Rule("A2", "RFC 5321", lambda f: not f.recipient.address_valid, Block("RECIPIENT_INVALID")),
    Rule("A3", "GDPR 5(1)(f), 32", lambda f: not f.sender.principal_authorised, Block("SENDER_NOT_AUTHORISED"), True),
    UNCLASSIFIED,
    Rule("A5", "GDPR 5(1)(d)", lambda f: f.recipient.undeliverable, Block("ADDRESS_UNDELIVERABLE")),
    Rule("A6", "GDPR 18(2)", _restricted, Block("PROCESSING_RESTRICTED")),
)

#: Stage B: not marketing. Where no row hits, the class is none of the schema's and `decide` blocks as in A4.
NOT_MARKETING: tuple[Rule, ...] = (
    Rule("B1", "GDPR 12, 19, 34", is_notice, Allow("ALLOW_MANDATORY_NOTICE", "notice")),
    Rule(
        "B2", "GDPR 6(1)(b),(c)",
        lambda f: f.message.message_class == "transactional" and f.message.transaction_ref_present,
        Allow("ALLOW_TRANSACTIONAL", "transactional"),
    ),
    Rule(
        "B3", "GDPR 5(1)(b), 6",
        lambda f: f.message.message_class == "transactional",
        Block("TRANSACTIONAL_WITHOUT_BASIS"), True,
    ),
    Rule("B4", "Tw 11.7(1)", lambda f: pending_request(f) is None, Block("DOI_NOT_REQUESTED"), True),
    Rule(
        "B5", "GDPR 21(3)",
        lambda f: bool(stopped_since_request(f)),
        lambda f: _block_by(stopped_since_request(f)),
    ),
    Rule("B6", "UWG 7(2)", _already_sent, Block("DOI_ALREADY_SENT")),
    Rule("B7", "GDPR 5(1)(e)", _too_late, Block("DOI_EXPIRED")),
    Rule(
        "B8", "GDPR 7(1)",
        lambda f: f.message.message_class == "doi_confirmation",
        Allow("ALLOW_DOI_CONFIRMATION", "doi"),
    ),
)  # fmt: skip

#: Stage C: marketing, hard stops.
HARD_STOPS: tuple[Rule, ...] = (
    Rule(
        "C1", "GDPR 7(3), 17, 21(3); ePD 13(2)",
        lambda f: bool(matching(f)),
        lambda f: _block_by(matching(f)),
    ),
    Rule("C2", "GDPR 17(1)", lambda f: bool(open_erasures(f)), Block("ERASURE_PENDING")),
    Rule("C3", "GDPR 5(1)(b)", lambda f: not f.message.purpose, Block("PURPOSE_MISSING"), True),
)  # fmt: skip
