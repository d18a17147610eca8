"""What a consent given anew lifts: the one act by which an opt-out ends (RULES 2.1.10 a, Q20; GDPR art. 7, 21).

The consent has to be the person's own, newer than the opt-out, confirmed from the mailbox, and valid in every respect;
an import, an API call or a delivery is none of that. It lifts what it covers and nothing else: an opt-out of one of its
purposes ends; one of everything, an erasure among them, stands for all other purposes. What an operator or a global
entry forbids is not the person's to lift by a form.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from suppression.consent import Consent
from suppression.facts import Facts
from suppression.ground import find_ground
from suppression.jurisdiction import UNKNOWN, Packs
from suppression.suppression_list import Reason, Scope, in_force

#: Whose words they were: the person's. An admin's entry is not.
THEIR_OWN: frozenset[Reason] = frozenset(("unsubscribe", "objection", "complaint", "erasure"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Lift:
    """What becomes of one suppression: it ends, or it ends for `purposes` alone."""

    whole: bool
    purposes: tuple[str, ...]


def lift(
    consent: Consent, *, scope: Scope, purpose: str | None, reason: Reason, at: datetime, lifted_at: datetime | None,
    now: datetime,
) -> Lift | None:  # fmt: skip
    """What a valid, confirmed consent does to one suppression; None: it stands as it is.

    The request counts, not the click that confirmed it: whoever says stop in between has said stop.
    """
    asked_at, given_at = consent.double_opt_in.requested_at, consent.given_at
    if consent.double_opt_in.confirmed_at is None or asked_at is None or given_at is None:
        return None
    if not at < min(asked_at, given_at):
        return None
    if not in_force(at, lifted_at, now) or scope == "global" or reason not in THEIR_OWN:
        return None
    if scope == "purpose" and purpose is not None:
        return Lift(whole=True, purposes=(purpose,)) if purpose in consent.purposes else None
    return Lift(whole=False, purposes=consent.purposes) if consent.purposes else None


def stands_after(consent: Consent, suppressions: Iterable[tuple[Scope, str | None, datetime, datetime | None]]) -> bool:
    """Whether an opt-out of what the consent covers was made since it was asked for: then it is overtaken.

    `suppressions`: scope, purpose, since, lifted at.
    """
    asked_at = consent.double_opt_in.requested_at
    return asked_at is not None and any(
        at >= asked_at and lifted_at is None and (scope != "purpose" or purpose is None or purpose in consent.purposes)
        for scope, purpose, at, lifted_at in suppressions
    )


def is_valid(facts: Facts, packs: Packs) -> bool:
    """Whether the consent in these facts carries marketing under every pack that applies (D1).

    `facts` are about a marketing message of one purpose, with this one consent and nothing else that could carry it.
    """
    codes = facts.jurisdictions or (UNKNOWN,)
    return all(find_ground(facts, packs.get(code) or packs[UNKNOWN]).basis == "opt_in" for code in codes)
