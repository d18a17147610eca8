"""Observing: for the first weeks of a customer, findings about ground and form are reported and let through.

What a person said or the law says for their protection is never passed: an opt-out in any form, a restriction, an
erasure, age, an address that was bought or harvested, sensitive data. The table names every code and says why.

A decision stops at its first finding (RULES 2.3), which may hide another behind it: a consent without wording that was
given by a child is CONSENT_UNPROVEN. So before a finding is passed, the facts are asked for everything that is never
passed. Source: DESIGN section 7, modes. It is the controller who answers for what is mailed meanwhile.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Final

from suppression import next_change as unobserved
from suppression.basis import OWN_SOURCES, Case, names_us
from suppression.consent import Consent
from suppression.decision import Decision, Verdict, decide
from suppression.duties import DUTIES, SIGNING
from suppression.facts import Facts
from suppression.ground import case_of, find_ground
from suppression.jurisdiction import UNKNOWN, Packs
from suppression.months import completed_years

_EVIDENCE = "the evidence may be on paper or in another system, and is what these weeks are for"
_SCOPE = "what was agreed may not have been brought over whole"
_RELATION = "sales may not have been brought over yet, or not whole"
_AGE = "children are protected whatever the customer has on file (GDPR art. 8)"
_OPT_OUT = "the person said no (GDPR art. 7(3), 21(3))"
_BOUGHT = "the address came from somebody who may not have been allowed to give it"
_TECHNICAL = "it is no question of ground: the mail could not be answered for, or not leave at all"
_SERVICE = "it is no marketing: nothing of stage D or E was looked at"

#: Findings that observing reports and lets through: those of stage D about ground and form, and E3 to E5.
PASSABLE: Final[Mapping[str, str]] = {
    "CONSENT_OTHER_CONTROLLER": _SCOPE,
    "CONSENT_PURPOSE_MISMATCH": _SCOPE,
    "THIRD_PARTY_OFFER_NOT_CONSENTED": _SCOPE,
    "CONSENT_NOT_YET_GIVEN": _EVIDENCE,
    "CONSENT_UNPROVEN": _EVIDENCE,
    "CONSENT_NOT_ACTIVE": _EVIDENCE,
    "CONSENT_BUNDLED_WITH_TERMS": _EVIDENCE,
    "CONSENT_NOT_FREE": _EVIDENCE,
    "CONSENT_NOT_SPECIFIC": _EVIDENCE,
    "NO_PRIVACY_NOTICE": _EVIDENCE,
    "OPT_IN_PENDING_CONFIRMATION": "confirmations may not have been brought over: absent, one counts as asked for",
    "CONSENT_EXPIRED": "the person agreed once, and did not take it back",
    "CONSENT_STALE": "later interactions may not have been brought over",
    "SOFT_OPT_IN_OTHER_CONTROLLER": _RELATION,
    "SOFT_OPT_IN_NOT_OWN_PRODUCT": _RELATION,
    "NO_SALE_CONTEXT": _RELATION,
    "CHARITY_SOFT_OPT_IN_NOT_RETROACTIVE": _RELATION,
    "CHARITY_PURPOSE_NOT_SOLE": _RELATION,
    "ADDRESS_NOT_FROM_SALE": _RELATION,
    "NO_OPT_OUT_AT_COLLECTION": _RELATION,
    "OPT_OUT_MISSING_IN_EARLIER_MESSAGE": _RELATION,
    "SOFT_OPT_IN_TIME_LIMIT": _RELATION,
    "CUSTOMER_RELATION_STALE": _RELATION,
    "IMPLIED_CONSENT_EXPIRED": _RELATION,
    "PRODUCT_CATEGORY_UNKNOWN": "categories and rulings are being made in these weeks",
    "PRODUCT_NOT_SIMILAR": "categories and rulings are being made in these weeks",
    "RECIPIENT_UNKNOWN": "the list may not have been brought over yet",
    "NO_CONSENT_OR_CUSTOMER_RELATION": "the list may not have been brought over whole",
    "POSTAL_ADDRESS_MISSING": "E3: the footer is being set up",
    "OPT_OUT_CONTACT_MISSING": "E4: the footer is being set up; the link in the mail works",
    "AD_NOT_IDENTIFIABLE": "E5: the message's look is being set up",
}

#: Findings that block while observing, too.
NEVER_PASSED: Final[Mapping[str, str]] = {
    "EVIDENCE_STORE_UNAVAILABLE": _TECHNICAL,
    "RECIPIENT_INVALID": _TECHNICAL,
    "SENDER_NOT_AUTHORISED": _TECHNICAL,
    "UNCLASSIFIED_MESSAGE": _TECHNICAL,
    "ADDRESS_UNDELIVERABLE": _TECHNICAL,
    "PROCESSING_RESTRICTED": "the person's data may only be stored (GDPR art. 18(2))",
    "TRANSACTIONAL_WITHOUT_BASIS": _SERVICE,
    "DOI_NOT_REQUESTED": _SERVICE,
    "DOI_ALREADY_SENT": _SERVICE,
    "DOI_EXPIRED": _SERVICE,
    "ERASED_DO_NOT_CONTACT": "the person was erased (GDPR art. 17)",
    "OBJECTED_TO_MARKETING": _OPT_OUT,
    "COMPLAINT_RECEIVED": _OPT_OUT,
    "SUPPRESSED_GLOBAL": _OPT_OUT,
    "SUPPRESSED_SENDER": _OPT_OUT,
    "SUPPRESSED_PURPOSE": _OPT_OUT,
    "ERASURE_PENDING": "the person asked to be erased (GDPR art. 17)",
    "PURPOSE_MISSING": "without a purpose nobody can opt out of it",
    "THIRD_PARTY_RECIPIENT_NOT_NAMED": _BOUGHT,
    "CONSENT_WITHDRAWN": _OPT_OUT,
    "PURCHASED_LIST_UNVERIFIED": _BOUGHT,
    "SHARING_WITHOUT_CONSENT": _BOUGHT,
    "MINOR_WITHOUT_PARENTAL_AUTHORISATION": _AGE,
    "AGE_UNVERIFIED": _AGE,
    "SPECIAL_CATEGORY_NO_EXPLICIT_CONSENT": "sensitive data are used on explicit consent alone (GDPR art. 9)",
    "OPT_OUT_USED_AT_COLLECTION": _OPT_OUT,
    "EXCLUSION_REGISTER": _OPT_OUT,
    "ADDRESS_HARVESTED": _BOUGHT,
    "SENDER_IDENTITY_MISSING": _TECHNICAL,
    "SENDER_IDENTITY_CONCEALED": _TECHNICAL,
    "UNSUBSCRIBE_NOT_INJECTABLE": "without a visible opt-out nobody can say no",
    "DKIM_UNAVAILABLE": _TECHNICAL,
}


def passed(decision: Decision) -> bool:
    """Whether a finding was passed by observing: allowed, and the reason code says what would have blocked."""
    return decision.verdict == "allow" and not decision.reason_code.startswith("ALLOW_")


def observe(facts: Facts, packs: Packs) -> Decision:
    """As `decide`, but what PASSABLE names is let through. Total: raises nothing.

    A passed decision says allow, with the code, source and pack of the finding. It has a ground only where every pack
    gave one and the finding is about form; without one its links stop the whole controller (RULES 5.2.6).
    """
    decision = decide(facts, packs)
    if decision.verdict != "block" or decision.reason_code not in PASSABLE:
        return decision
    in_force = [packs.get(code) or packs[UNKNOWN] for code in facts.jurisdictions or (UNKNOWN,)]
    grounds = [find_ground(facts, pack) for pack in in_force]
    grounded = all(ground.allowed for ground in grounds)
    if not grounded:
        if any(not ground.allowed and ground.code not in PASSABLE for ground in grounds):
            return decision
        if any(_protected(case_of(facts, pack)) for pack in in_force):
            return decision
    for pack, ground in zip(in_force, grounds, strict=True):
        for duty in (*DUTIES, SIGNING):
            if duty.effect.code not in PASSABLE and duty.missing(facts, pack, ground.basis or ""):
                verdict: Verdict = "defer" if duty is SIGNING else "block"
                return replace(
                    decision, verdict=verdict, reason_code=duty.effect.code, cite=duty.source, pack=pack.code,
                    trace=(*decision.trace, f"passed {decision.reason_code}", f"{duty.id}:{pack.code}"),
                )  # fmt: skip
    return replace(
        decision, verdict="allow", basis=grounds[0].basis if grounded else None,
        trace=(*decision.trace, f"passed {decision.reason_code}", "G"),
    )  # fmt: skip


def next_change(facts: Facts, packs: Packs, until: datetime) -> datetime:
    """As `decision.next_change` while observing until then: at the end, everything is decided anew."""
    change = unobserved.next_change(facts, packs)
    return until if change is None else min(change, until)


def _protected(case: Case) -> bool:
    """Whether the facts hold anything that is never passed, be it behind another finding."""
    recipient = case.facts.recipient
    return (
        case.facts.message.uses_special_category
        or recipient.address_source in ("purchased", "harvested")
        or recipient.on_exclusion_register
        or case.minor
        or case.age_unknown
        or case.opt_out_used
        or any(_given_away(case, record) or _too_young(case, record) for record in case.facts.consents)
    )


def _given_away(case: Case, record: Consent) -> bool:
    """Whether a record says that the address was bought, or came from somebody without leave to give it to us."""
    if record.source in OWN_SOURCES:
        return False
    return record.source == "purchased_list" or not record.sharing_consent or not names_us(case, record)


def _too_young(case: Case, record: Consent) -> bool:
    """Whether a record was made below the pack age without a parent (D1 check 15), whatever else is wrong with it."""
    birth = case.facts.recipient.birth_date
    if birth is None or record.parental_authorisation or record.given_at is None:
        return False
    return completed_years(birth, record.given_at.date()) < case.pack.age_of_digital_consent
