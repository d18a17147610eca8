"""Facts of the schema as hypothesis draws them: few names and instants, so that records meet, overlap and touch."""

from typing import Any

from hypothesis import strategies as st

Json = dict[str, Any]

NOW = "2026-03-02T10:00:00Z"
INSTANTS = (
    "2015-06-01T00:00:00Z", "2024-02-29T12:00:00Z", "2024-03-01T23:59:59Z", "2024-03-02T00:00:00Z",
    "2025-03-01T10:00:00Z", "2025-09-10T12:00:00Z", "2026-02-05T00:00:00Z", "2026-02-23T10:00:00Z",
    "2026-03-02T09:59:59Z", NOW, "2026-03-02T10:00:01Z", "2026-09-01T00:00:00Z", "2030-01-01T00:00:00Z",
)  # fmt: skip
instant = st.sampled_from(INSTANTS)
maybe_instant = st.none() | instant
controller = st.sampled_from(("acme", "acme", "acme", "sister"))
purpose = st.sampled_from(("newsletter", "newsletter", "events"))
category = st.sampled_from(("wine", "spirits", "clothing"))
categories = st.lists(category, max_size=2, unique=True)
flag = st.booleans()
mostly_yes = st.sampled_from((True, True, True, False))
mostly_no = st.sampled_from((False, False, False, True))
maybe_text = st.none() | st.just("v1")
text = st.sampled_from(("v1", "v1", "v1", None))

sender = st.fixed_dictionaries({
    "controller_id": st.just("acme"), "principal_authorised": mostly_yes, "legal_name_present": mostly_yes,
    "postal_address_present": mostly_yes, "opt_out_contact_present": mostly_yes, "from_domain_verified": mostly_yes,
    "is_charity": flag, "directed_at_children": mostly_no,
})  # fmt: skip
message = st.fixed_dictionaries({
    "class": st.sampled_from((
        "marketing", "marketing", "marketing", "mixed", "consent_request", "transactional", "mandatory_notice",
        "doi_confirmation", "unknown",
    )),
    "promotional_content": flag, "purpose": st.sampled_from(("newsletter", "newsletter", "events", None)),
    "product_categories": categories, "advertiser_id": controller, "charitable_only": flag,
    "uses_special_category": mostly_no, "b2b_relevant": flag, "transaction_ref_present": flag,
    "restriction_exemption": st.sampled_from((None, None, "legal_claims", "public_interest")),
    "unsubscribe": st.sampled_from(("injectable", "present", "not_injectable")), "ad_identifiable": mostly_yes,
})  # fmt: skip
recipient = st.fixed_dictionaries({
    "address_valid": mostly_yes, "undeliverable": mostly_no, "known": mostly_yes,
    "kind": st.sampled_from(("natural_person", "sole_trader", "legal_person", "unknown")),
    "address_kind": st.sampled_from(("personal", "role", "unknown")),
    "address_source": st.sampled_from(("own_collection", "own_collection", "purchased", "harvested", "unknown")),
    "published_for_marketing": flag, "informed_at_collection": flag,
    "birth_date": st.sampled_from((None, "1980-05-17", "2010-03-02", "2010-03-03", "2012-02-29", "2013-03-02")),
    "parental_authorisation": mostly_no, "on_exclusion_register": mostly_no,
})  # fmt: skip
suppression = st.fixed_dictionaries({
    "scope": st.sampled_from(("global", "sender", "purpose")), "controller_id": st.none() | controller,
    "purpose": st.none() | purpose,
    "reason": st.sampled_from(("unsubscribe", "objection", "complaint", "erasure", "admin")),
    "at": instant, "lifted_at": maybe_instant,
})  # fmt: skip
restriction = st.fixed_dictionaries({
    "controller_id": controller, "scope": st.sampled_from(("all", "marketing", "purpose")),
    "purpose": st.none() | purpose, "from": instant, "lifted_at": maybe_instant,
})  # fmt: skip
erasure_request = st.fixed_dictionaries({
    "controller_id": controller, "received_at": instant, "status": st.sampled_from(("open", "completed", "refused")),
})  # fmt: skip
consent = st.fixed_dictionaries({
    "id": st.sampled_from(("c1", "c2", "c3")), "controller_id": controller,
    "source": st.sampled_from((
        "own_form", "own_form", "own_paper", "own_oral", "imported_legacy", "third_party_share", "purchased_list",
    )),
    "named_recipients": st.lists(controller, max_size=2), "purposes": st.lists(purpose, max_size=2),
    "product_categories": st.none() | st.none() | categories, "advertisers": st.lists(controller, max_size=2),
    "given_at": instant | instant | maybe_instant, "withdrawn_at": st.none() | st.none() | instant,
    "expires_at": st.none() | st.none() | instant, "last_interaction_at": maybe_instant,
    "evidence": st.fixed_dictionaries({
        "method": text, "wording_version": text, "privacy_notice_version": text, "origin": text,
    }),
    "action": st.sampled_from((
        "active_tick", "active_tick", "active_other", "signed", "oral_recorded", "pre_ticked", "silence", "unknown",
    )),
    "bundled_with_terms": mostly_no, "conditional_on_service": mostly_no, "granular": mostly_yes,
    "double_opt_in": st.fixed_dictionaries({
        "required": flag, "requested_at": maybe_instant, "confirmed_at": maybe_instant,
        "mails_sent": st.integers(0, 2),
    }),
    "parental_authorisation": flag, "sharing_consent": mostly_yes, "seller_verified": mostly_yes,
    "buyer_verified": mostly_yes, "explicit_special_category": flag,
})  # fmt: skip
sale = st.fixed_dictionaries({
    "id": st.sampled_from(("s1", "s2", "s3")), "controller_id": controller,
    "kind": st.sampled_from((
        "purchase", "purchase", "contract", "negotiation", "inquiry", "free_account", "donation", "volunteering",
        "expression_of_interest", "membership", "contest",
    )),
    "status": st.sampled_from(("concluded", "concluded", "concluded", "void")), "concluded_at": instant,
    "relation_active": mostly_no, "relation_ended_at": maybe_instant, "product_categories": categories,
    "address_source": st.sampled_from((
        "given_in_context", "given_in_context", "given_in_context", "given_elsewhere", "third_party", "unknown",
    )),
    "opt_out_offered_at_collection": mostly_yes, "opt_out_used_at_collection": mostly_no,
    "privacy_notice_version": text, "opt_out_in_all_messages": mostly_yes,
    "marketing_sent_at": st.lists(instant, max_size=3),
})  # fmt: skip
jurisdictions = st.lists(
    st.sampled_from(("NL", "BE", "DE", "FR", "IE", "UK", "ES", "IT", "EU", "CA", "US", "XX")), max_size=2
)
facts = st.fixed_dictionaries({
    "schema": st.just("facts/1"), "as_of": st.just(NOW) | st.sampled_from(INSTANTS), "jurisdictions": jurisdictions,
    "stores_available": mostly_yes, "infrastructure": st.fixed_dictionaries({"dkim_ready": mostly_yes}),
    "sender": sender, "message": message, "recipient": recipient,
    "suppressions": st.lists(suppression, max_size=2), "restrictions": st.lists(restriction, max_size=1),
    "erasure_requests": st.lists(erasure_request, max_size=1), "consents": st.lists(consent, max_size=3),
    "sales": st.lists(sale, max_size=3),
    "similar_categories": st.lists(st.lists(category, min_size=2, max_size=2), max_size=2),
})  # fmt: skip

#: Facts of which the message is marketing that nothing but the ground could stop: the rest is in order.
_FINE_SENDER = {
    "controller_id": "acme", "principal_authorised": True, "legal_name_present": True, "postal_address_present": True,
    "opt_out_contact_present": True, "from_domain_verified": True,
}  # fmt: skip


def _in_order(drawn: Json) -> Json:
    return drawn | {
        "stores_available": True, "infrastructure": {"dkim_ready": True},
        "sender": drawn["sender"] | _FINE_SENDER,
        "message": drawn["message"] | {
            "class": "marketing", "purpose": "newsletter", "unsubscribe": "present", "ad_identifiable": True,
        },
        "recipient": drawn["recipient"] | {"address_valid": True, "undeliverable": False},
        "suppressions": [], "restrictions": [], "erasure_requests": [],
    }  # fmt: skip


marketing_in_order = facts.map(_in_order)
