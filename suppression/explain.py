"""What a reason code means to people: its family (the five colours of the staff pages) and who can act on it.

The sentences are in the catalogue of the pages; here is only what does not depend on a language.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

Family = Literal["opt-out", "no ground", "proof", "product", "technical"]
Actor = Literal["person", "marketer", "privacy", "operator", "nobody"]

#: Reason code -> (family, who can act). Every code of a block or defer, in the order of RULES 2.3.
_ROWS: Mapping[str, tuple[Family, Actor]] = {
    # Stage A
    "EVIDENCE_STORE_UNAVAILABLE": ("technical", "operator"),
    "RECIPIENT_INVALID": ("technical", "marketer"),
    "SENDER_NOT_AUTHORISED": ("technical", "operator"),
    "UNCLASSIFIED_MESSAGE": ("technical", "operator"),
    "ADDRESS_UNDELIVERABLE": ("technical", "marketer"),
    "PROCESSING_RESTRICTED": ("opt-out", "privacy"),
    # Stage B
    "TRANSACTIONAL_WITHOUT_BASIS": ("no ground", "marketer"),
    "DOI_NOT_REQUESTED": ("no ground", "marketer"),
    "DOI_ALREADY_SENT": ("no ground", "person"),
    "DOI_EXPIRED": ("no ground", "person"),
    # Stage C
    "ERASED_DO_NOT_CONTACT": ("opt-out", "nobody"),
    "OBJECTED_TO_MARKETING": ("opt-out", "person"),
    "COMPLAINT_RECEIVED": ("opt-out", "person"),
    "SUPPRESSED_GLOBAL": ("opt-out", "person"),
    "SUPPRESSED_SENDER": ("opt-out", "person"),
    "SUPPRESSED_PURPOSE": ("opt-out", "person"),
    "ERASURE_PENDING": ("opt-out", "privacy"),
    "PURPOSE_MISSING": ("technical", "marketer"),
    # D1 to D3: consent
    "CONSENT_OTHER_CONTROLLER": ("no ground", "person"),
    "THIRD_PARTY_RECIPIENT_NOT_NAMED": ("no ground", "person"),
    "CONSENT_PURPOSE_MISMATCH": ("no ground", "person"),
    "THIRD_PARTY_OFFER_NOT_CONSENTED": ("product", "marketer"),
    "CONSENT_NOT_YET_GIVEN": ("proof", "privacy"),
    "CONSENT_WITHDRAWN": ("opt-out", "person"),
    "CONSENT_UNPROVEN": ("proof", "privacy"),
    "CONSENT_NOT_ACTIVE": ("proof", "person"),
    "CONSENT_BUNDLED_WITH_TERMS": ("proof", "person"),
    "CONSENT_NOT_FREE": ("proof", "person"),
    "CONSENT_NOT_SPECIFIC": ("proof", "person"),
    "NO_PRIVACY_NOTICE": ("proof", "privacy"),
    "PURCHASED_LIST_UNVERIFIED": ("proof", "privacy"),
    "SHARING_WITHOUT_CONSENT": ("proof", "person"),
    "MINOR_WITHOUT_PARENTAL_AUTHORISATION": ("proof", "privacy"),
    "AGE_UNVERIFIED": ("proof", "privacy"),
    "OPT_IN_PENDING_CONFIRMATION": ("proof", "person"),
    "CONSENT_EXPIRED": ("no ground", "person"),
    "CONSENT_STALE": ("no ground", "person"),
    "SPECIAL_CATEGORY_NO_EXPLICIT_CONSENT": ("no ground", "person"),
    # D4, D6: customers
    "SOFT_OPT_IN_OTHER_CONTROLLER": ("no ground", "nobody"),
    "SOFT_OPT_IN_NOT_OWN_PRODUCT": ("product", "marketer"),
    "NO_SALE_CONTEXT": ("no ground", "person"),
    "CHARITY_SOFT_OPT_IN_NOT_RETROACTIVE": ("no ground", "person"),
    "CHARITY_PURPOSE_NOT_SOLE": ("product", "marketer"),
    "ADDRESS_NOT_FROM_SALE": ("proof", "privacy"),
    "NO_OPT_OUT_AT_COLLECTION": ("proof", "person"),
    "OPT_OUT_USED_AT_COLLECTION": ("opt-out", "person"),
    "OPT_OUT_MISSING_IN_EARLIER_MESSAGE": ("proof", "person"),
    "SOFT_OPT_IN_TIME_LIMIT": ("no ground", "person"),
    "CUSTOMER_RELATION_STALE": ("no ground", "person"),
    "PRODUCT_CATEGORY_UNKNOWN": ("product", "marketer"),
    "PRODUCT_NOT_SIMILAR": ("product", "marketer"),
    "EXCLUSION_REGISTER": ("opt-out", "person"),
    "IMPLIED_CONSENT_EXPIRED": ("no ground", "person"),
    # D7, D8
    "ADDRESS_HARVESTED": ("no ground", "nobody"),
    "RECIPIENT_UNKNOWN": ("no ground", "person"),
    "NO_CONSENT_OR_CUSTOMER_RELATION": ("no ground", "person"),
    # Stages E, F
    "SENDER_IDENTITY_MISSING": ("technical", "operator"),
    "SENDER_IDENTITY_CONCEALED": ("technical", "operator"),
    "POSTAL_ADDRESS_MISSING": ("technical", "operator"),
    "OPT_OUT_CONTACT_MISSING": ("technical", "operator"),
    "AD_NOT_IDENTIFIABLE": ("technical", "marketer"),
    "UNSUBSCRIBE_NOT_INJECTABLE": ("technical", "marketer"),
    "DKIM_UNAVAILABLE": ("technical", "operator"),
}

#: The family of a code: whose voice it is, or what is missing.
FAMILY: Mapping[str, Family] = {code: family for code, (family, _) in _ROWS.items()}

#: Who can make the message lawful: the person (a new consent, a choice), the marketer (the message, the list), the
#: privacy officer (the evidence, the request), the operator (the set-up), or nobody.
ACTOR: Mapping[str, Actor] = {code: actor for code, (_, actor) in _ROWS.items()}
