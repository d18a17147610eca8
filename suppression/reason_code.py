"""What a reason code means to people: its family (the five colours of the staff pages), what would make the message
lawful, and who can do that. The sentences are in the catalogue of the pages; here is what depends on no language.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

Family = Literal["opt-out", "no ground", "proof", "product", "technical"]
Actor = Literal["person", "marketer", "privacy", "operator", "nobody"]

#: Reason code -> (family, who can act, what would make it lawful). Every code of a block or defer, in the order of
#: RULES 2.3. Only the person takes an opt-out back, by a new consent (RULES 2.1.10 a).
_ROWS: Mapping[str, tuple[Family, Actor, str]] = {
    # Stage A
    "EVIDENCE_STORE_UNAVAILABLE": ("technical", "operator", "operator"),
    "RECIPIENT_INVALID": ("technical", "marketer", "correct_address"),
    "SENDER_NOT_AUTHORISED": ("technical", "operator", "operator"),
    "UNCLASSIFIED_MESSAGE": ("technical", "operator", "classify"),
    "ADDRESS_UNDELIVERABLE": ("technical", "marketer", "correct_address"),
    "PROCESSING_RESTRICTED": ("opt-out", "privacy", "privacy"),
    # Stage B
    "TRANSACTIONAL_WITHOUT_BASIS": ("no ground", "marketer", "declare_transaction"),
    "DOI_NOT_REQUESTED": ("no ground", "marketer", "sign_up_again"),
    "DOI_ALREADY_SENT": ("no ground", "person", "wait"),
    "DOI_EXPIRED": ("no ground", "person", "sign_up_again"),
    # Stage C
    "ERASED_DO_NOT_CONTACT": ("opt-out", "person", "respect"),
    "OBJECTED_TO_MARKETING": ("opt-out", "person", "respect"),
    "COMPLAINT_RECEIVED": ("opt-out", "person", "respect"),
    "SUPPRESSED_GLOBAL": ("opt-out", "person", "respect"),
    "SUPPRESSED_SENDER": ("opt-out", "person", "respect"),
    "SUPPRESSED_PURPOSE": ("opt-out", "person", "respect"),
    "ERASURE_PENDING": ("opt-out", "privacy", "privacy"),
    "PURPOSE_MISSING": ("technical", "marketer", "settings"),
    # D1 to D3: consent
    "CONSENT_OTHER_CONTROLLER": ("no ground", "person", "ask_first"),
    "THIRD_PARTY_RECIPIENT_NOT_NAMED": ("no ground", "person", "bought"),
    "CONSENT_PURPOSE_MISMATCH": ("no ground", "person", "right_purpose"),
    "THIRD_PARTY_OFFER_NOT_CONSENTED": ("product", "marketer", "own_product"),
    "CONSENT_NOT_YET_GIVEN": ("proof", "privacy", "dates"),
    "CONSENT_WITHDRAWN": ("opt-out", "person", "respect"),
    "CONSENT_UNPROVEN": ("proof", "privacy", "add_proof"),
    "CONSENT_NOT_ACTIVE": ("proof", "person", "fix_form"),
    "CONSENT_BUNDLED_WITH_TERMS": ("proof", "person", "fix_form"),
    "CONSENT_NOT_FREE": ("proof", "person", "fix_form"),
    "CONSENT_NOT_SPECIFIC": ("proof", "person", "fix_form"),
    "NO_PRIVACY_NOTICE": ("proof", "privacy", "fix_form"),
    "PURCHASED_LIST_UNVERIFIED": ("proof", "privacy", "bought"),
    "SHARING_WITHOUT_CONSENT": ("proof", "person", "bought"),
    "MINOR_WITHOUT_PARENTAL_AUTHORISATION": ("proof", "privacy", "parent"),
    "AGE_UNVERIFIED": ("proof", "privacy", "age"),
    "OPT_IN_PENDING_CONFIRMATION": ("proof", "person", "wait"),
    "CONSENT_EXPIRED": ("no ground", "person", "ask_first"),
    "CONSENT_STALE": ("no ground", "person", "ask_first"),
    "SPECIAL_CATEGORY_NO_EXPLICIT_CONSENT": ("no ground", "person", "ask_explicitly"),
    # D4, D6: customers
    "SOFT_OPT_IN_OTHER_CONTROLLER": ("no ground", "nobody", "ask_first"),
    "SOFT_OPT_IN_NOT_OWN_PRODUCT": ("product", "marketer", "own_product"),
    "NO_SALE_CONTEXT": ("no ground", "person", "ask_first"),
    "CHARITY_SOFT_OPT_IN_NOT_RETROACTIVE": ("no ground", "person", "ask_first"),
    "CHARITY_PURPOSE_NOT_SOLE": ("product", "marketer", "charity_only"),
    "ADDRESS_NOT_FROM_SALE": ("proof", "privacy", "ask_first"),
    "NO_OPT_OUT_AT_COLLECTION": ("proof", "person", "fix_checkout"),
    "OPT_OUT_USED_AT_COLLECTION": ("opt-out", "person", "respect"),
    "OPT_OUT_MISSING_IN_EARLIER_MESSAGE": ("proof", "person", "ask_first"),
    "SOFT_OPT_IN_TIME_LIMIT": ("no ground", "person", "ask_first"),
    "CUSTOMER_RELATION_STALE": ("no ground", "person", "ask_first"),
    "PRODUCT_CATEGORY_UNKNOWN": ("product", "marketer", "categories"),
    "PRODUCT_NOT_SIMILAR": ("product", "marketer", "similar"),
    "EXCLUSION_REGISTER": ("opt-out", "person", "ask_first"),
    "IMPLIED_CONSENT_EXPIRED": ("no ground", "person", "ask_first"),
    # D7, D8
    "ADDRESS_HARVESTED": ("no ground", "nobody", "remove"),
    "RECIPIENT_UNKNOWN": ("no ground", "person", "import"),
    "NO_CONSENT_OR_CUSTOMER_RELATION": ("no ground", "person", "ask_first"),
    # Stages E, F
    "SENDER_IDENTITY_MISSING": ("technical", "operator", "settings"),
    "SENDER_IDENTITY_CONCEALED": ("technical", "operator", "from_domain"),
    "POSTAL_ADDRESS_MISSING": ("technical", "operator", "settings"),
    "OPT_OUT_CONTACT_MISSING": ("technical", "operator", "settings"),
    "AD_NOT_IDENTIFIABLE": ("technical", "marketer", "settings"),
    "UNSUBSCRIBE_NOT_INJECTABLE": ("technical", "marketer", "add_link"),
    "DKIM_UNAVAILABLE": ("technical", "operator", "operator"),
}

#: Reason code of an allowed message -> who can end that, and what there is to know. Marketing the person can always
#: stop.
_ALLOWED: Mapping[str, tuple[Actor, str]] = {
    "ALLOW_MANDATORY_NOTICE": ("nobody", "none"),
    "ALLOW_TRANSACTIONAL": ("nobody", "none"),
    "ALLOW_DOI_CONFIRMATION": ("nobody", "none"),
    "ALLOW_OPT_IN": ("person", "may_stop"),
    "ALLOW_SOFT_OPT_IN": ("person", "may_stop"),
    "ALLOW_CHARITY_SOFT_OPT_IN": ("person", "may_stop"),
    "ALLOW_B2B_EXEMPTION": ("person", "may_stop"),
    "ALLOW_IMPLIED_CONSENT": ("person", "may_stop"),
    "ALLOW_OPT_OUT_REGIME": ("person", "may_stop"),
}

#: The family of a code: whose voice it is, or what is missing.
FAMILY: Mapping[str, Family] = {code: family for code, (family, _, _) in _ROWS.items()}

#: Who can make the message lawful: the person (a new consent, a choice), the marketer (the message, the list), the
#: privacy officer (the evidence, the request), the operator (the set-up), or nobody. Of an allowed one: who can end it.
ACTOR: Mapping[str, Actor] = {
    **{code: actor for code, (_, actor, _) in _ROWS.items()},
    **{code: actor for code, (actor, _) in _ALLOWED.items()},
}

#: What would make the message lawful; the catalogue has a sentence for each.
REMEDY: Mapping[str, str] = {
    **{code: remedy for code, (_, _, remedy) in _ROWS.items()},
    **{code: remedy for code, (_, remedy) in _ALLOWED.items()},
}
