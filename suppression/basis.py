"""Stage D of the decision as tables: what makes a consent, a sale or an address carry marketing under one pack.

D1, D4 and D6 are tables of numbered checks that run per record; the first failing check is the record's finding. D5
and D7 are short tables of their own. Checks ask for the good fact, so an unknown one fails (RULES 2.1.3). ground.py
runs the tables in the order of RULES 2.3 and applies D2, D3 and D8.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Generic, NamedTuple, TypeVar

from suppression.consent import Consent
from suppression.facts import Facts
from suppression.months import completed_years, within_months
from suppression.pack import Pack
from suppression.sale import Sale
from suppression.similarity import similar

R = TypeVar("R")

OWN_SOURCES = frozenset(("own_form", "own_paper", "own_oral", "imported_legacy"))
ACTIVE = frozenset(("active_tick", "active_other", "signed", "oral_recorded"))
#: Kinds that carry implied consent only for a charity: stricter than the Act (D6).
CHARITY_KINDS = frozenset(("donation", "volunteering", "membership"))


class Case(NamedTuple):
    """What the checks ask again and again about one set of facts under one pack.

    `own_offer`: the controller advertises for itself. `age_unknown`: the service is aimed at children and the birth
    date is not known (D4 check 12). `minor`: below the pack age today, no parental authorisation (D4 check 11).
    `opt_out_used`, `opt_out_lacking`: said by any sale record of this controller (D4 checks 8, 10). `bought`: the
    address was purchased or harvested, or its origin is not known (RULES 2.1.11). `withdrawn_at`: the latest
    withdrawal that D1 check 6 looks at.
    """

    facts: Facts
    pack: Pack
    as_of: datetime
    controller_id: str
    purpose: str
    categories: tuple[str, ...]
    advertiser_id: str
    own_offer: bool
    is_charity: bool
    age_unknown: bool
    minor: bool
    opt_out_used: bool
    opt_out_lacking: bool
    bought: bool
    withdrawn_at: datetime | None


class Check(NamedTuple, Generic[R]):
    """One row of a table: its number in RULES 2.3, its code, its source, and when it fails."""

    number: int
    code: str
    source: str
    fails: Callable[[Case, R], bool]


def first_failing(checks: tuple[Check[R], ...], case: Case, record: R) -> Check[R] | None:
    """The finding of one record: the first check that fails, or None."""
    for check in checks:
        if check.fails(case, record):
            return check
    return None


# --- D1: consent -------------------------------------------------------------------------------------------------


def names_us(case: Case, consent: Consent) -> bool:
    return case.controller_id in consent.named_recipients


def _outside_categories(case: Case, consent: Consent) -> bool:
    limits = consent.product_categories
    if limits is None:
        return False
    return not case.categories or not set(case.categories) <= set(limits)


def is_withdrawn(case: Case, at: datetime | None) -> bool:
    return at is not None and at <= case.as_of


def _confirmed_at(case: Case, consent: Consent) -> datetime | None:
    """The confirmation, unless it lies in the future (RULES 2.1.5)."""
    at = consent.double_opt_in.confirmed_at
    return at if at is not None and at <= case.as_of else None


def _overtaken(case: Case, consent: Consent) -> bool:
    """Whether the consent is not newer than the latest withdrawal of its kind; without a time it is not newer."""
    if case.withdrawn_at is None:
        return False
    given = _confirmed_at(case, consent) or consent.given_at
    return given is None or given <= case.withdrawn_at


def _unproven(consent: Consent) -> bool:
    evidence = consent.evidence
    return (
        consent.given_at is None
        or not evidence.method
        or not evidence.wording_version
        or not evidence.origin
        or consent.action == "unknown"
    )


def _too_young_when_given(case: Case, consent: Consent) -> bool:
    birth = case.facts.recipient.birth_date
    if birth is None or consent.parental_authorisation or consent.given_at is None:
        return False
    return completed_years(birth, consent.given_at.date()) < case.pack.age_of_digital_consent


def _stale(case: Case, consent: Consent) -> bool:
    months = case.pack.consent_max_months_since_interaction
    if months is None:
        return False
    anchor = consent.given_at
    for at in (consent.double_opt_in.confirmed_at, consent.last_interaction_at):
        if at is not None and at <= case.as_of and (anchor is None or at > anchor):
            anchor = at
    return anchor is None or not within_months(anchor, months, case.as_of)


#: Checks 1-4: whether the record speaks about this sender, purpose and offer at all. A withdrawal counts among these.
CONSENT_SCOPE: tuple[Check[Consent], ...] = (
    Check(1, "CONSENT_OTHER_CONTROLLER", "GDPR 4(7)",
          lambda k, c: c.source in OWN_SOURCES and c.controller_id != k.controller_id),
    Check(2, "THIRD_PARTY_RECIPIENT_NOT_NAMED", "GDPR 13(1)(e), 14; EDPB 05/2020",
          lambda k, c: c.source not in OWN_SOURCES and not names_us(k, c)),
    Check(3, "CONSENT_PURPOSE_MISMATCH", "GDPR 5(1)(b), 6(1)(a)",
          lambda k, c: k.purpose not in c.purposes or _outside_categories(k, c)),
    Check(4, "THIRD_PARTY_OFFER_NOT_CONSENTED", "GDPR 4(11)",
          lambda k, c: not k.own_offer and k.advertiser_id not in c.advertisers),
)  # fmt: skip

CONSENT_CHECKS: tuple[Check[Consent], ...] = (
    *CONSENT_SCOPE,
    Check(5, "CONSENT_NOT_YET_GIVEN", 'ePD 13(1) "prior"',
          lambda k, c: c.given_at is not None and c.given_at > k.as_of),
    Check(6, "CONSENT_WITHDRAWN", "GDPR 7(3)",
          lambda k, c: is_withdrawn(k, c.withdrawn_at) or _overtaken(k, c)),
    Check(7, "CONSENT_UNPROVEN", "GDPR 7(1); Tw 11.7(1)", lambda k, c: _unproven(c)),
    Check(8, "CONSENT_NOT_ACTIVE", "C-673/17 Planet49", lambda k, c: c.action not in ACTIVE),
    Check(9, "CONSENT_BUNDLED_WITH_TERMS", "GDPR 7(2)", lambda k, c: c.bundled_with_terms),
    Check(10, "CONSENT_NOT_FREE", "GDPR 7(4)", lambda k, c: c.conditional_on_service),
    Check(11, "CONSENT_NOT_SPECIFIC", "GDPR rec. 32, 43", lambda k, c: not c.granular),
    Check(12, "NO_PRIVACY_NOTICE", "GDPR 13", lambda k, c: not c.evidence.privacy_notice_version),
    Check(13, "PURCHASED_LIST_UNVERIFIED", "GDPR 5(2), 7(1)",
          lambda k, c: c.source == "purchased_list" and not (c.seller_verified and c.buyer_verified)),
    Check(14, "SHARING_WITHOUT_CONSENT", "GDPR rec. 43",
          lambda k, c: c.source not in OWN_SOURCES and not c.sharing_consent),
    Check(15, "MINOR_WITHOUT_PARENTAL_AUTHORISATION", "GDPR 8", _too_young_when_given),
    Check(16, "AGE_UNVERIFIED", "GDPR 8(2)",
          lambda k, c: k.age_unknown and not c.parental_authorisation),
    Check(17, "OPT_IN_PENDING_CONFIRMATION", "GDPR 7(1)",
          lambda k, c: c.double_opt_in.required and _confirmed_at(k, c) is None),
    Check(18, "CONSENT_EXPIRED", "GDPR 5(1)(e)",
          lambda k, c: c.expires_at is not None and c.expires_at <= k.as_of),
    Check(19, "CONSENT_STALE", "GDPR 5(1)(e)", _stale),
    Check(20, "SPECIAL_CATEGORY_NO_EXPLICIT_CONSENT", "GDPR 9(2)(a)",
          lambda k, c: k.facts.message.uses_special_category and not c.explicit_special_category),
)  # fmt: skip


# --- D4: soft opt-in ---------------------------------------------------------------------------------------------


def is_charity_context(case: Case, sale: Sale) -> bool:
    return case.is_charity and sale.kind in case.pack.charity_contexts


def _no_sale_context(case: Case, sale: Sale) -> bool:
    if sale.status != "concluded" or sale.concluded_at > case.as_of:
        return True
    if sale.kind in case.pack.soft_opt_in_contexts or is_charity_context(case, sale):
        return False
    return not (case.pack.free_account_counts_as_sale and sale.kind == "free_account")


def _before_charity_start(case: Case, sale: Sale) -> bool:
    start = case.pack.charity_collected_on_or_after
    return start is not None and sale.concluded_at < start and is_charity_context(case, sale)


def _only_pre_ticked(case: Case) -> bool:
    """Whether the opt-out may have been a pre-ticked box, where the controller does not let one count (Q15).

    A sale does not say what its opt-out looked like; a pre-ticked consent on record with this controller does.
    """
    return not case.pack.pre_ticked_box_is_opt_out and any(
        consent.action == "pre_ticked"
        and consent.controller_id == case.controller_id
        and (consent.given_at is None or consent.given_at <= case.as_of)
        for consent in case.facts.consents
    )


def _within_relation(case: Case, sale: Sale, months: int) -> bool:
    """Whether a contract runs, or the later of sale and end of contract is not too long ago. 0 months: it has to run.

    An end that lies in the future has not happened; one that has happened ends a contract still marked as running.
    """
    ended = sale.relation_ended_at
    if ended is not None and ended > case.as_of:
        ended = None
    if sale.relation_active and ended is None:
        return True
    anchor = sale.concluded_at if ended is None or ended < sale.concluded_at else ended
    return bool(months) and within_months(anchor, months, case.as_of)


def rolling_anchor(sale: Sale, months: int, as_of: datetime) -> datetime:
    """The sale or the last marketing message of the unbroken chain from it, up to `as_of` (D4, rolling window)."""
    anchor = sale.concluded_at
    for at in sorted(sale.marketing_sent_at):
        if sale.concluded_at <= at <= as_of:
            if not within_months(anchor, months, at):
                break
            anchor = at
    return anchor


def _outside_rolling(case: Case, sale: Sale) -> bool:
    if case.pack.soft_opt_in_time_rule != "rolling":
        return False
    months = case.pack.soft_opt_in_max_months
    return not months or not within_months(rolling_anchor(sale, months, case.as_of), months, case.as_of)


#: Checks 1-14, per record.
SALE_CHECKS: tuple[Check[Sale], ...] = (
    Check(1, "SOFT_OPT_IN_OTHER_CONTROLLER", "ePD 13(2)", lambda k, s: s.controller_id != k.controller_id),
    Check(2, "SOFT_OPT_IN_NOT_OWN_PRODUCT", "ePD 13(2)", lambda k, s: not k.own_offer),
    Check(3, "NO_SALE_CONTEXT", "ePD 13(2)", _no_sale_context),
    Check(4, "CHARITY_SOFT_OPT_IN_NOT_RETROACTIVE", "SI 2026/82", _before_charity_start),
    Check(5, "CHARITY_PURPOSE_NOT_SOLE", "PECR 22 as amended",
          lambda k, s: is_charity_context(k, s) and not k.facts.message.charitable_only),
    Check(6, "ADDRESS_NOT_FROM_SALE", "ePD 13(2)", lambda k, s: s.address_source != "given_in_context"),
    Check(7, "NO_OPT_OUT_AT_COLLECTION", "ePD 13(2)",
          lambda k, s: not s.opt_out_offered_at_collection or _only_pre_ticked(k)),
    Check(8, "OPT_OUT_USED_AT_COLLECTION", "GDPR 21(3)", lambda k, s: k.opt_out_used),
    Check(9, "NO_PRIVACY_NOTICE", "GDPR 13", lambda k, s: not s.privacy_notice_version),
    Check(10, "OPT_OUT_MISSING_IN_EARLIER_MESSAGE", "ePD 13(2)", lambda k, s: k.opt_out_lacking),
    Check(11, "MINOR_WITHOUT_PARENTAL_AUTHORISATION", "GDPR rec. 38", lambda k, s: k.minor),
    Check(12, "AGE_UNVERIFIED", "GDPR rec. 38", lambda k, s: k.age_unknown),
    Check(13, "SOFT_OPT_IN_TIME_LIMIT", "SI 336/2011 13(11)", _outside_rolling),
    Check(14, "CUSTOMER_RELATION_STALE", "GDPR 5(1)(e)",
          lambda k, s: k.pack.soft_opt_in_time_rule != "rolling"
          and not _within_relation(k, s, k.pack.soft_opt_in_max_months or 0)),
)  # fmt: skip


def _dissimilar(case: Case, sales: Sequence[Sale]) -> bool:
    sold = {category for sale in sales for category in sale.product_categories}
    pairs = case.facts.similar_categories
    return not all(any(similar(category, other, pairs) for other in sold) for category in case.categories)


#: Checks 15-17, over the records without finding taken together. A charity context needs only the last.
OFFER_CHECKS: tuple[Check[Sequence[Sale]], ...] = (
    Check(15, "PRODUCT_CATEGORY_UNKNOWN", "ePD 13(2)", lambda k, sales: not k.categories),
    Check(16, "PRODUCT_NOT_SIMILAR", "ePD 13(2)", _dissimilar),
    Check(17, "EXCLUSION_REGISTER", "LOPDGDD 23(4)",
          lambda k, sales: k.pack.exclusion_register_check and k.facts.recipient.on_exclusion_register),
)  # fmt: skip
REGISTER_CHECK = OFFER_CHECKS[2:]


# --- D5: business addresses --------------------------------------------------------------------------------------

_PROFESSIONAL = frozenset(("legal_person", "sole_trader"))

#: By the name in the pack's data (RULES section 3, "B2B names in the data").
B2B_TESTS: dict[str, Callable[[Facts], bool]] = {
    "none": lambda f: False,
    "published": lambda f: (
        f.recipient.kind in _PROFESSIONAL and f.recipient.published_for_marketing and f.message.b2b_relevant
    ),
    "role_legal": lambda f: (
        f.recipient.kind == "legal_person" and f.recipient.address_kind == "role" and f.message.b2b_relevant
    ),
    "professional": lambda f: (
        (f.recipient.kind == "legal_person" and f.recipient.address_kind == "role")
        or (f.recipient.kind in _PROFESSIONAL and f.recipient.informed_at_collection and f.message.b2b_relevant)
    ),
    "business_activity": lambda f: f.recipient.kind in _PROFESSIONAL and f.message.b2b_relevant,
    "corporate": lambda f: f.recipient.kind == "legal_person",
}


def business_exempt(case: Case) -> bool:
    """D5: the exemption of the pack for business addresses."""
    return (
        case.own_offer
        and not case.bought
        and not case.opt_out_used
        and not case.minor
        and not case.age_unknown
        and B2B_TESTS[case.pack.b2b_exemption](case.facts)
    )


# --- D6: implied consent (Canada) --------------------------------------------------------------------------------


def _no_implied_context(case: Case, sale: Sale) -> bool:
    if sale.status != "concluded" or sale.concluded_at > case.as_of:
        return True
    if sale.kind not in case.pack.implied_consent_months:
        return True
    return sale.kind in CHARITY_KINDS and not case.is_charity


#: Check 8 first: an opt-out in any record of this controller closes the whole path.
IMPLIED_CHECKS: tuple[Check[Sale], ...] = (
    Check(8, "OPT_OUT_USED_AT_COLLECTION", "GDPR 21(3)", lambda k, s: k.opt_out_used),
    Check(1, "SOFT_OPT_IN_OTHER_CONTROLLER", "CASL 10(9)", lambda k, s: s.controller_id != k.controller_id),
    Check(2, "SOFT_OPT_IN_NOT_OWN_PRODUCT", "CASL 10(9)", lambda k, s: not k.own_offer),
    Check(3, "NO_SALE_CONTEXT", "CASL 10(10), 10(13)", _no_implied_context),
    Check(11, "MINOR_WITHOUT_PARENTAL_AUTHORISATION", "GDPR rec. 38", lambda k, s: k.minor),
    Check(12, "AGE_UNVERIFIED", "GDPR rec. 38", lambda k, s: k.age_unknown),
    Check(13, "IMPLIED_CONSENT_EXPIRED", "CASL 10(9)-(10)",
          lambda k, s: not _within_relation(k, s, k.pack.implied_consent_months.get(s.kind, 0))),
)  # fmt: skip


def published(case: Case) -> bool:
    """D6, second route: the address is conspicuously published for offers and the message is relevant to the role."""
    return (
        case.facts.recipient.published_for_marketing
        and case.facts.message.b2b_relevant
        and case.own_offer
        and not case.bought
        and not case.opt_out_used
        and not case.minor
        and not case.age_unknown
    )


# --- D7: opt-out regime (United States) --------------------------------------------------------------------------

#: In order; the codes are final.
OPT_OUT_CHECKS: tuple[Check[None], ...] = (
    Check(1, "ADDRESS_HARVESTED", "15 USC 7704(b)(1)",
          lambda k, _: k.facts.recipient.address_source == "harvested"),
    Check(2, "PURCHASED_LIST_UNVERIFIED", "GDPR 5(2), 7(1)", lambda k, _: k.bought),
    Check(3, "MINOR_WITHOUT_PARENTAL_AUTHORISATION", "GDPR rec. 38", lambda k, _: k.minor),
    Check(4, "AGE_UNVERIFIED", "GDPR rec. 38", lambda k, _: k.age_unknown),
    Check(5, "OPT_OUT_USED_AT_COLLECTION", "15 USC 7704(a)(4)", lambda k, _: k.opt_out_used),
    Check(6, "THIRD_PARTY_OFFER_NOT_CONSENTED", "GDPR 4(11)", lambda k, _: not k.own_offer),
)  # fmt: skip
