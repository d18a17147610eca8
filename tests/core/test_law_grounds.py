"""Boundaries of stage D, the legal grounds, and of stages E to G. Rows by rule id."""

from typing import Any

import pytest

from tests.core.law_facts import base, code, consent, judged, sale

OTHER = "sister"
LEGAL = {"recipient.kind": "legal_person", "message.b2b_relevant": True}
NOTHING = "NO_CONSENT_OR_CUSTOMER_RELATION"


def evidence(**changes: Any) -> dict[str, Any]:
    return {
        "method": "web_form", "wording_version": "w3", "privacy_notice_version": "pn5", "origin": "https://shop.example",
    } | changes  # fmt: skip


def doi(**changes: Any) -> dict[str, Any]:
    return {"required": False, "requested_at": None, "confirmed_at": None, "mails_sent": 0} | changes


def given(*consents: dict[str, Any], pack: str = "NL", **changes: Any) -> dict[str, Any]:
    return base(pack, consents=list(consents), **changes)


def sold(*sales: dict[str, Any], pack: str = "NL", **changes: Any) -> dict[str, Any]:
    return base(pack, sales=list(sales), **changes)


THIRD = {
    "source": "third_party_share", "controller_id": "partner", "sharing_consent": True, "named_recipients": ["acme"],
}  # fmt: skip
BOUGHT = THIRD | {"source": "purchased_list", "seller_verified": True, "buyer_verified": True}
GONE = {"withdrawn_at": "2026-02-01T00:00:00Z"}
D1 = {
    "D1-1 naming us does not make an own record ours": (
        given(consent(controller_id=OTHER, named_recipients=["acme"])), "CONSENT_OTHER_CONTROLLER",
    ),
    "D1-2 a third-party source must name us, collected by us or not": (
        given(consent(source="third_party_share", sharing_consent=True)), "THIRD_PARTY_RECIPIENT_NOT_NAMED",
    ),
    "D1-3 limited to none": (given(consent(product_categories=[])), "CONSENT_PURPOSE_MISMATCH"),
    "D1-3 limited and the message has none": (
        given(consent(product_categories=["wine"]), message__product_categories=[]), "CONSENT_PURPOSE_MISMATCH",
    ),
    "D1-3 one category outside": (
        given(consent(product_categories=["wine"]), message__product_categories=["wine", "spirits"]),
        "CONSENT_PURPOSE_MISMATCH",
    ),
    "D1-3 all inside": (
        given(consent(product_categories=["wine", "beer"]), message__product_categories=["beer"]), "ALLOW_OPT_IN",
    ),
    "D1-3 unlimited and the message has none": (
        given(consent(), message__product_categories=[]), "ALLOW_OPT_IN",
    ),
    "D1-4 our own offer with advertisers named": (given(consent(advertisers=["partner"])), "ALLOW_OPT_IN"),
    "D1-5 given at the instant": (given(consent(given_at="2026-03-02T10:00:00Z")), "ALLOW_OPT_IN"),
    "D1-5 a second later": (given(consent(given_at="2026-03-02T10:00:01Z")), "CONSENT_NOT_YET_GIVEN"),
    "D2 withdrawn before it is said to be given": (
        given(consent(given_at="2026-03-02T10:00:01Z", **GONE), pack="US"), "CONSENT_WITHDRAWN",
    ),
    "D1-6 withdrawn at the instant": (given(consent(withdrawn_at="2026-03-02T10:00:00Z")), "CONSENT_WITHDRAWN"),
    "D1-6 a second later": (given(consent(withdrawn_at="2026-03-02T10:00:01Z")), "ALLOW_OPT_IN"),
    "D1-6 an older record is overtaken": (
        given(consent(id="a", **GONE), consent(id="b", given_at="2025-05-01T00:00:00Z")), "CONSENT_WITHDRAWN",
    ),
    "D1-6 given at the instant of the withdrawal is overtaken": (
        given(consent(id="a", **GONE), consent(id="b", given_at="2026-02-01T00:00:00Z")), "CONSENT_WITHDRAWN",
    ),
    "D1-6 given a second after the withdrawal": (
        given(consent(id="a", **GONE), consent(id="b", given_at="2026-02-01T00:00:01Z")), "ALLOW_OPT_IN",
    ),
    "D1-6 given before, confirmed after": (
        given(
            consent(id="a", **GONE),
            consent(id="b", double_opt_in=doi(required=True, confirmed_at="2026-02-01T00:00:01Z")),
        ),
        "ALLOW_OPT_IN",
    ),
    "D1-6 given after, confirmed before, not required": (
        given(
            consent(id="a", **GONE),
            consent(id="b", given_at="2026-02-02T00:00:00Z", double_opt_in=doi(confirmed_at="2026-01-31T00:00:00Z")),
        ),
        "CONSENT_WITHDRAWN",
    ),
    "D1-6 a future confirmation counts as absent": (
        given(consent(id="a", **GONE), consent(id="b", double_opt_in=doi(confirmed_at="2026-03-02T10:00:01Z"))),
        "CONSENT_WITHDRAWN",
    ),
    "D1-6 no time counts as not later": (
        given(consent(id="a", **GONE), consent(id="b", given_at=None)), "CONSENT_WITHDRAWN",
    ),
    "D1-6 a withdrawal of another purpose does not count": (
        given(consent(id="a", purposes=["events"], **GONE), consent(id="b")), "ALLOW_OPT_IN",
    ),
    "D1-6 a withdrawal limited to other categories does not count": (
        given(consent(id="a", product_categories=["clothing"], **GONE), consent(id="b")), "ALLOW_OPT_IN",
    ),
    "D1-6 a withdrawal at another controller does not count": (
        given(consent(id="a", controller_id=OTHER, **GONE), consent(id="b")), "ALLOW_OPT_IN",
    ),
    "D1-6 a withdrawal at a source that names us counts": (
        given(consent(id="a", **THIRD, **GONE), consent(id="b")), "CONSENT_WITHDRAWN",
    ),
    "D1-6 the latest withdrawal counts": (
        given(
            consent(id="a", withdrawn_at="2025-01-01T00:00:00Z"), consent(id="b", **GONE),
            consent(id="c", given_at="2025-06-01T00:00:00Z"),
        ),
        "CONSENT_WITHDRAWN",
    ),
    "D1-6 an unproven withdrawn record still withdraws": (
        given(consent(id="a", evidence=evidence(origin=None), **GONE), consent(id="b")), "CONSENT_WITHDRAWN",
    ),
    "D1-7 no time": (given(consent(given_at=None)), "CONSENT_UNPROVEN"),
    "D1-7 no method": (given(consent(evidence=evidence(method=None))), "CONSENT_UNPROVEN"),
    "D1-7 no origin": (given(consent(evidence=evidence(origin=None))), "CONSENT_UNPROVEN"),
    "D1-7 action unknown": (given(consent(action="unknown")), "CONSENT_UNPROVEN"),
    "D1-11 one purpose, one choice for several": (given(consent(granular=False)), "CONSENT_NOT_SPECIFIC"),
    "D1-13 only the seller": (given(consent(**(BOUGHT | {"buyer_verified": False}))), "PURCHASED_LIST_UNVERIFIED"),
    "D1-13 before D1-14": (
        given(consent(**(BOUGHT | {"buyer_verified": False, "sharing_consent": False}))), "PURCHASED_LIST_UNVERIFIED",
    ),
    "D1-14 bought": (given(consent(**(BOUGHT | {"sharing_consent": False}))), "SHARING_WITHOUT_CONSENT"),
    "D1-13 not for what was shared": (given(consent(**THIRD)), "ALLOW_OPT_IN"),
    "D1-15 sixteen on the day it was given": (
        given(consent(), recipient__birth_date="2009-06-01"), "ALLOW_OPT_IN",
    ),
    "D1-15 sixteen the day after": (
        given(consent(), recipient__birth_date="2009-06-02"), "MINOR_WITHOUT_PARENTAL_AUTHORISATION",
    ),
    "D1-15 old enough today does not help": (
        given(consent(), recipient__birth_date="2009-06-02", as_of="2027-03-02T10:00:00Z"),
        "MINOR_WITHOUT_PARENTAL_AUTHORISATION",
    ),
    "D1-15 only the record's authorisation counts": (
        given(consent(), recipient__birth_date="2012-01-01", recipient__parental_authorisation=True),
        "MINOR_WITHOUT_PARENTAL_AUTHORISATION",
    ),
    "D1-15 born 29 February, on the 28th": (
        given(consent(given_at="2025-02-28T23:59:59Z"), pack="BE", recipient__birth_date="2012-02-29"),
        "MINOR_WITHOUT_PARENTAL_AUTHORISATION",
    ),
    "D1-15 born 29 February, on 1 March": (
        given(consent(given_at="2025-03-01T00:00:00Z"), pack="BE", recipient__birth_date="2012-02-29"), "ALLOW_OPT_IN",
    ),
    "D1-16 parental authorisation on the record": (
        given(consent(parental_authorisation=True), sender__directed_at_children=True), "ALLOW_OPT_IN",
    ),
    "D1-16 birth date known": (
        given(consent(), sender__directed_at_children=True, recipient__birth_date="1980-01-01"), "ALLOW_OPT_IN",
    ),
    "D1-17 confirmed at the instant": (
        given(consent(double_opt_in=doi(required=True, confirmed_at="2026-03-02T10:00:00Z"))), "ALLOW_OPT_IN",
    ),
    "D1-17 confirmed a second later": (
        given(consent(double_opt_in=doi(required=True, confirmed_at="2026-03-02T10:00:01Z"))),
        "OPT_IN_PENDING_CONFIRMATION",
    ),
    "D1-18 end reached": (given(consent(expires_at="2026-03-02T10:00:00Z")), "CONSENT_EXPIRED"),
    "D1-18 a second left": (given(consent(expires_at="2026-03-02T10:00:01Z")), "ALLOW_OPT_IN"),
    "D1-19 the last day": (given(consent(given_at="2024-03-02T00:00:00Z")), "ALLOW_OPT_IN"),
    "D1-19 the day after": (given(consent(given_at="2024-03-01T23:59:59Z")), "CONSENT_STALE"),
    "D1-19 29 February and 24 months": (
        given(consent(given_at="2024-02-29T12:00:00Z"), as_of="2026-02-28T23:59:59Z"), "ALLOW_OPT_IN",
    ),
    "D1-19 29 February and 24 months, the day after": (
        given(consent(given_at="2024-02-29T12:00:00Z"), as_of="2026-03-01T00:00:00Z"), "CONSENT_STALE",
    ),
    "D1-19 France 36": (given(consent(given_at="2023-03-02T00:00:00Z"), pack="FR"), "ALLOW_OPT_IN"),
    "D1-19 confirmed later": (
        given(consent(given_at="2023-01-01T00:00:00Z", double_opt_in=doi(confirmed_at="2024-03-02T00:00:00Z"))),
        "ALLOW_OPT_IN",
    ),
    "D1-19 an interaction in the future counts as absent": (
        given(consent(given_at="2024-03-01T00:00:00Z", last_interaction_at="2026-03-02T10:00:01Z")), "CONSENT_STALE",
    ),
    "D1-19 no limit in Canada": (given(consent(given_at="2015-01-01T00:00:00Z"), pack="CA"), "ALLOW_OPT_IN"),
    "D1-20 explicit": (
        given(consent(explicit_special_category=True), message__uses_special_category=True), "ALLOW_OPT_IN",
    ),
    "D1 one valid record suffices": (
        given(consent(id="a", action="silence"), consent(id="b"), consent(id="c", controller_id=OTHER)), "ALLOW_OPT_IN",
    ),
    "D1 withdrawn and given anew": (
        given(consent(id="a", **GONE), consent(id="b", given_at="2026-02-15T00:00:00Z")), "ALLOW_OPT_IN",
    ),
}  # fmt: skip

D2_D3 = {
    "D2 whatever its categories": (
        given(consent(product_categories=["clothing"], **GONE), sales=[sale()]), "CONSENT_WITHDRAWN",
    ),
    "D2 whatever its advertisers": (
        given(consent(**GONE), message__advertiser_id="partner", sales=[sale()]), "CONSENT_WITHDRAWN",
    ),
    "D2 a third party that names us": (given(consent(**THIRD, **GONE), sales=[sale()]), "CONSENT_WITHDRAWN"),
    "D2 a third party that does not": (
        given(consent(**(THIRD | {"named_recipients": []}), **GONE), sales=[sale()]), "ALLOW_SOFT_OPT_IN",
    ),
    "D2 other purpose": (given(consent(purposes=["events"], **GONE), sales=[sale()]), "ALLOW_SOFT_OPT_IN"),
    "D2 other controller": (given(consent(controller_id=OTHER, **GONE), sales=[sale()]), "ALLOW_SOFT_OPT_IN"),
    "D2 in the future": (
        given(consent(withdrawn_at="2026-03-02T10:00:01Z", action="silence"), sales=[sale()]), "ALLOW_SOFT_OPT_IN",
    ),
    "D2 closes the opt-out regime": (given(consent(**GONE), pack="US"), "CONSENT_WITHDRAWN"),
    "D2 closes the business exemption": (
        given(consent(**GONE), pack="UK", recipient__kind="legal_person"), "CONSENT_WITHDRAWN",
    ),
    "D2 closes implied consent": (given(consent(**GONE), pack="CA", sales=[sale()]), "CONSENT_WITHDRAWN"),
    "2.1.12 expiry leaves the other ways open": (
        given(consent(expires_at="2026-01-01T00:00:00Z"), sales=[sale()]), "ALLOW_SOFT_OPT_IN",
    ),
    "2.1.12 a missing confirmation leaves them open": (
        given(consent(double_opt_in=doi(required=True)), sales=[sale()]), "ALLOW_SOFT_OPT_IN",
    ),
    "D3 no fallback on a sale": (
        sold(sale(), message__uses_special_category=True), "SPECIAL_CATEGORY_NO_EXPLICIT_CONSENT",
    ),
    "D3 finding below 5": (
        given(consent(controller_id=OTHER), message__uses_special_category=True),
        "SPECIAL_CATEGORY_NO_EXPLICIT_CONSENT",
    ),
    "D3 finding of 5 or more": (
        given(consent(action="silence"), message__uses_special_category=True), "CONSENT_NOT_ACTIVE",
    ),
    "D3 in the United States": (
        base("US", message__uses_special_category=True), "SPECIAL_CATEGORY_NO_EXPLICIT_CONSENT",
    ),
}  # fmt: skip

CHARITY = {"sender.is_charity": True, "message.charitable_only": True}
DONATION = {"kind": "donation", "concluded_at": "2026-02-06T10:00:00Z", "product_categories": []}
D4 = {
    "D4-1 also beside an own one": (sold(sale(controller_id=OTHER), sale(id="s2")), "ALLOW_SOFT_OPT_IN"),
    "D4-3 void": (sold(sale(status="void")), "NO_SALE_CONTEXT"),
    "D4-3 sold at the instant": (sold(sale(concluded_at="2026-03-02T10:00:00Z")), "ALLOW_SOFT_OPT_IN"),
    "D4-3 sold a second later": (sold(sale(concluded_at="2026-03-02T10:00:01Z")), "NO_SALE_CONTEXT"),
    "D4-3 donation without a charity": (
        sold(sale(**DONATION), message__charitable_only=True), "NO_SALE_CONTEXT",
    ),
    "D4-3 donation to a charity, NL": (sold(sale(**DONATION), **CHARITY), "ALLOW_CHARITY_SOFT_OPT_IN"),
    "D4-3 donation to a charity, BE": (sold(sale(**DONATION), pack="BE", **CHARITY), "NO_SALE_CONTEXT"),
    "D4-4 on the first day": (
        sold(sale(**(DONATION | {"concluded_at": "2026-02-05T00:00:00Z"})), pack="UK", **CHARITY),
        "ALLOW_CHARITY_SOFT_OPT_IN",
    ),
    "D4-4 the second before": (
        sold(sale(**(DONATION | {"concluded_at": "2026-02-04T23:59:59Z"})), pack="UK", **CHARITY),
        "CHARITY_SOFT_OPT_IN_NOT_RETROACTIVE",
    ),
    "D4-4 not for a purchase": (
        sold(sale(concluded_at="2026-01-01T00:00:00Z"), pack="UK", sender__is_charity=True), "ALLOW_SOFT_OPT_IN",
    ),
    "D4-5 beside a purchase": (
        sold(sale(**DONATION), sale(id="s2"), sender__is_charity=True), "ALLOW_SOFT_OPT_IN",
    ),
    "D4 one charity context needs no category": (
        sold(sale(**DONATION), sale(id="s2"), message__product_categories=[], **CHARITY), "ALLOW_CHARITY_SOFT_OPT_IN",
    ),
    "D4-6 unknown": (sold(sale(address_source="unknown")), "ADDRESS_NOT_FROM_SALE"),
    "D4-8 in another record of any kind": (
        sold(sale(), sale(id="s2", kind="contest", opt_out_used_at_collection=True)), "OPT_OUT_USED_AT_COLLECTION",
    ),
    "D4-8 in a void record": (
        sold(sale(), sale(id="s2", status="void", opt_out_used_at_collection=True)), "OPT_OUT_USED_AT_COLLECTION",
    ),
    "D4-8 in a future record it has not happened": (
        sold(sale(), sale(id="s2", concluded_at="2026-03-02T10:00:01Z", opt_out_used_at_collection=True)),
        "ALLOW_SOFT_OPT_IN",
    ),
    "D4-8 at another controller": (
        sold(sale(), sale(id="s2", controller_id=OTHER, opt_out_used_at_collection=True)), "ALLOW_SOFT_OPT_IN",
    ),
    "D4-10 in any record": (
        sold(sale(), sale(id="s2", status="void", opt_out_in_all_messages=False)), "OPT_OUT_MISSING_IN_EARLIER_MESSAGE",
    ),
    "D4-10 at another controller": (
        sold(sale(), sale(id="s2", controller_id=OTHER, opt_out_in_all_messages=False)), "ALLOW_SOFT_OPT_IN",
    ),
    "D4-11 sixteen today": (sold(sale(), recipient__birth_date="2010-03-02"), "ALLOW_SOFT_OPT_IN"),
    "D4-11 sixteen tomorrow": (
        sold(sale(), recipient__birth_date="2010-03-03"), "MINOR_WITHOUT_PARENTAL_AUTHORISATION",
    ),
    "D4-11 with the person's authorisation": (
        sold(sale(), recipient__birth_date="2010-03-03", recipient__parental_authorisation=True), "ALLOW_SOFT_OPT_IN",
    ),
    "D4-12 authorisation does not help an unknown age": (
        sold(sale(), sender__directed_at_children=True, recipient__parental_authorisation=True), "AGE_UNVERIFIED",
    ),
    "D4-13 the last day": (sold(sale(concluded_at="2025-03-02T00:00:00Z"), pack="IE"), "ALLOW_SOFT_OPT_IN"),
    "D4-13 the day after": (sold(sale(concluded_at="2025-03-01T23:59:59Z"), pack="IE"), "SOFT_OPT_IN_TIME_LIMIT"),
    "D4-13 a running contract does not help": (
        sold(sale(kind="contract", relation_active=True, concluded_at="2020-01-01T00:00:00Z"), pack="IE"),
        "SOFT_OPT_IN_TIME_LIMIT",
    ),
    "D4-13 an unbroken chain, out of order": (
        sold(
            sale(
                concluded_at="2022-01-10T00:00:00Z",
                marketing_sent_at=["2025-06-01T00:00:00Z", "2023-01-10T23:00:00Z", "2024-01-10T00:00:00Z",
                                   "2024-12-31T00:00:00Z"],
            ),
            pack="IE",
        ),
        "ALLOW_SOFT_OPT_IN",
    ),
    "D4-13 a gap ends the walk": (
        sold(
            sale(
                concluded_at="2022-01-10T00:00:00Z",
                marketing_sent_at=["2023-01-11T00:00:00Z", "2023-06-01T00:00:00Z", "2026-01-01T00:00:00Z"],
            ),
            pack="IE",
        ),
        "SOFT_OPT_IN_TIME_LIMIT",
    ),
    "D4-13 a message before the sale or after now does not count": (
        sold(
            sale(
                concluded_at="2025-02-01T00:00:00Z",
                marketing_sent_at=["2024-12-01T00:00:00Z", "2026-03-02T10:00:01Z"],
            ),
            pack="IE",
        ),
        "SOFT_OPT_IN_TIME_LIMIT",
    ),
    "D4-14 the last day": (sold(sale(concluded_at="2024-03-02T00:00:00Z")), "ALLOW_SOFT_OPT_IN"),
    "D4-14 the day after": (sold(sale(concluded_at="2024-03-01T23:59:59Z")), "CUSTOMER_RELATION_STALE"),
    "D4-14 the end of the contract is later": (
        sold(sale(kind="contract", concluded_at="2019-01-01T00:00:00Z", relation_ended_at="2024-03-02T00:00:00Z")),
        "ALLOW_SOFT_OPT_IN",
    ),
    "D4-14 an end before the sale does not shorten": (
        sold(sale(relation_ended_at="2020-01-01T00:00:00Z")), "ALLOW_SOFT_OPT_IN",
    ),
    "D4-14 a running contract with an end that has come runs no more": (
        sold(
            sale(
                kind="contract", concluded_at="2019-01-01T00:00:00Z", relation_active=True,
                relation_ended_at="2022-01-01T00:00:00Z",
            )
        ),
        "CUSTOMER_RELATION_STALE",
    ),
    "D4-14 an end to come has not come": (
        sold(sale(concluded_at="2019-01-01T00:00:00Z", relation_ended_at="2027-01-01T00:00:00Z")),
        "CUSTOMER_RELATION_STALE",
    ),
    "D4-16 every category must be covered": (
        sold(sale(), message__product_categories=["wine", "clothing"]), "PRODUCT_NOT_SIMILAR",
    ),
    "D4-16 by the records taken together": (
        sold(
            sale(), sale(id="s2", product_categories=["it_services"]),
            message__product_categories=["it_hardware", "spirits"],
        ),
        "ALLOW_SOFT_OPT_IN",
    ),
    "D4-16 a record with a finding does not cover": (
        sold(
            sale(), sale(id="s2", product_categories=["clothing"], status="void"),
            message__product_categories=["clothing"],
        ),
        "PRODUCT_NOT_SIMILAR",
    ),
    "D4-16 a pair works both ways": (
        sold(sale(product_categories=["spirits"])), "ALLOW_SOFT_OPT_IN",
    ),
    "D4-16 pairs are not chained": (
        sold(
            sale(),
            message__product_categories=["glass"], similar_categories=[["wine", "spirits"], ["spirits", "glass"]],
        ),
        "PRODUCT_NOT_SIMILAR",
    ),
    "D4-17 the register does not stop an opt-in": (
        given(consent(), pack="ES", recipient__on_exclusion_register=True), "ALLOW_OPT_IN",
    ),
    "D4-17 only where the pack checks it": (sold(sale(), recipient__on_exclusion_register=True), "ALLOW_SOFT_OPT_IN"),
    "D4-17 after D4-16": (
        sold(
            sale(), pack="ES", recipient__on_exclusion_register=True, message__product_categories=["clothing"],
        ),
        "PRODUCT_NOT_SIMILAR",
    ),
}  # fmt: skip

D5 = {
    "D5 bought address": (
        base("UK", recipient__kind="legal_person", recipient__address_source="purchased"), "PURCHASED_LIST_UNVERIFIED",
    ),
    "D5 unknown origin counts as purchased": (
        base("UK", recipient__kind="legal_person", recipient__address_source="unknown"), NOTHING,
    ),
    "D5 other advertiser": (base("UK", recipient__kind="legal_person", message__advertiser_id="partner"), NOTHING),
    "D5 opt-out used in a void record": (
        sold(
            sale(status="void", opt_out_used_at_collection=True), pack="UK", recipient__kind="legal_person",
        ),
        "NO_SALE_CONTEXT",
    ),
    "D5 aimed at children": (
        base("UK", recipient__kind="legal_person", sender__directed_at_children=True), NOTHING,
    ),
    "D5 after a D4 that fails": (
        sold(sale(product_categories=["clothing"]), pack="UK", recipient__kind="legal_person"), "ALLOW_B2B_EXEMPTION",
    ),
    "D5 unknown kind counts as a natural person": (base("UK", recipient__kind="unknown"), NOTHING),
    "D5 NL sole trader who published": (
        base(recipient__kind="sole_trader", recipient__published_for_marketing=True, message__b2b_relevant=True),
        "ALLOW_B2B_EXEMPTION",
    ),
    "D5 NL published, not relevant": (
        base(recipient__kind="legal_person", recipient__published_for_marketing=True), NOTHING,
    ),
    "D5 BE unknown address kind counts as personal": (base("BE", recipient__address_kind="unknown", **LEGAL), NOTHING),
    "D5 FR role address, relevant or not": (
        base(
            "FR",
            recipient__kind="legal_person", recipient__address_kind="role", recipient__informed_at_collection=False,
        ),
        "ALLOW_B2B_EXEMPTION",
    ),
    "D5 FR informed professional": (
        base("FR", recipient__kind="sole_trader", message__b2b_relevant=True), "ALLOW_B2B_EXEMPTION",
    ),
    "D5 FR professional not informed": (
        base("FR", recipient__informed_at_collection=False, **LEGAL), NOTHING,
    ),
    "D5 FR role address of a sole trader, not relevant": (
        base("FR", recipient__kind="sole_trader", recipient__address_kind="role"), NOTHING,
    ),
    "D5 IE business": (base("IE", **LEGAL), "ALLOW_B2B_EXEMPTION"),
    "D5 IE not relevant": (base("IE", recipient__kind="legal_person"), NOTHING),
    "D5 none in Italy": (base("IT", recipient__published_for_marketing=True, **LEGAL), NOTHING),
}  # fmt: skip

PUBLISHED = {"recipient.published_for_marketing": True, "message.b2b_relevant": True}
D6_D7 = {
    "D6 24 months, the last day": (sold(sale(concluded_at="2024-03-02T00:00:00Z"), pack="CA"), "ALLOW_IMPLIED_CONSENT"),
    "D6 the day after": (sold(sale(concluded_at="2024-03-01T00:00:00Z"), pack="CA"), "IMPLIED_CONSENT_EXPIRED"),
    "D6 inquiry 6 months, 31 August": (
        sold(sale(kind="inquiry", concluded_at="2025-08-31T00:00:00Z"), pack="CA", as_of="2026-02-28T00:00:00Z"),
        "ALLOW_IMPLIED_CONSENT",
    ),
    "D6 running contract": (
        sold(sale(kind="contract", relation_active=True, concluded_at="2010-01-01T00:00:00Z"), pack="CA"),
        "ALLOW_IMPLIED_CONSENT",
    ),
    "D6 membership without a charity": (sold(sale(kind="membership"), pack="CA"), "NO_SALE_CONTEXT"),
    "D6 membership of a charity": (
        sold(sale(kind="membership"), pack="CA", sender__is_charity=True), "ALLOW_IMPLIED_CONSENT",
    ),
    "D6 expression of interest is not listed": (
        sold(sale(kind="expression_of_interest"), pack="CA", sender__is_charity=True), "NO_SALE_CONTEXT",
    ),
    "D6 no similar product needed": (sold(sale(), pack="CA", message__product_categories=[]), "ALLOW_IMPLIED_CONSENT"),
    "D6 foreign advertiser": (
        sold(sale(), pack="CA", message__advertiser_id="partner"), "SOFT_OPT_IN_NOT_OWN_PRODUCT",
    ),
    "D6 opt-out used closes both routes": (
        sold(sale(), sale(id="s2", status="void", opt_out_used_at_collection=True), pack="CA", **PUBLISHED),
        "OPT_OUT_USED_AT_COLLECTION",
    ),
    "D6 opt-out used at another controller closes none": (
        sold(sale(controller_id=OTHER, opt_out_used_at_collection=True), pack="CA", **PUBLISHED),
        "ALLOW_IMPLIED_CONSENT",
    ),
    "D6 published": (base("CA", **PUBLISHED), "ALLOW_IMPLIED_CONSENT"),
    "D6 published, origin unknown": (base("CA", recipient__address_source="unknown", **PUBLISHED), NOTHING),
    "D6 published, not relevant": (base("CA", recipient__published_for_marketing=True), NOTHING),
    "D6 fourteen": (sold(sale(), pack="CA", recipient__birth_date="2012-03-02"), "ALLOW_IMPLIED_CONSENT"),
    "D6 thirteen": (
        sold(sale(), pack="CA", recipient__birth_date="2012-03-03"), "MINOR_WITHOUT_PARENTAL_AUTHORISATION",
    ),
    "D6 the first failing check, then the highest number": (
        sold(sale(id="a", controller_id=OTHER), sale(id="b", concluded_at="2020-01-01T00:00:00Z"), pack="CA"),
        "IMPLIED_CONSENT_EXPIRED",
    ),
    "D7 unknown origin": (base("US", recipient__address_source="unknown"), "PURCHASED_LIST_UNVERIFIED"),
    "D7 harvested before age": (
        base("US", recipient__address_source="harvested", recipient__birth_date="2020-01-01"), "ADDRESS_HARVESTED",
    ),
    "D7 minor before opt-out": (
        sold(sale(opt_out_used_at_collection=True), pack="US", recipient__birth_date="2020-01-01"),
        "MINOR_WITHOUT_PARENTAL_AUTHORISATION",
    ),
    "D7 children, age unknown": (base("US", sender__directed_at_children=True), "AGE_UNVERIFIED"),
    "D7 opt-out before advertiser": (
        sold(sale(opt_out_used_at_collection=True), pack="US", message__advertiser_id="partner"),
        "OPT_OUT_USED_AT_COLLECTION",
    ),
    "D7 advertiser": (base("US", message__advertiser_id="partner"), "THIRD_PARTY_OFFER_NOT_CONSENTED"),
    "D7 final: a finding of D1 does not come first": (
        given(consent(action="silence"), pack="US", message__advertiser_id="partner"),
        "THIRD_PARTY_OFFER_NOT_CONSENTED",
    ),
    "D7 an unproven consent does not close it": (given(consent(action="silence"), pack="US"), "ALLOW_OPT_OUT_REGIME"),
    "D7 a stranger": (base("US", recipient__known=False), "ALLOW_OPT_OUT_REGIME"),
}  # fmt: skip

D8 = {
    "D8a consent of 5 or more before a sale": (
        given(consent(action="silence"), sales=[sale(status="void")]), "CONSENT_NOT_ACTIVE",
    ),
    "D8a the highest number": (
        given(consent(id="a", action="silence"), consent(id="b", granular=False), consent(id="c", controller_id=OTHER)),
        "CONSENT_NOT_SPECIFIC",
    ),
    "D8a before PRODUCT_NOT_SIMILAR": (
        given(consent(expires_at="2026-01-01T00:00:00Z"), sales=[sale()], message__product_categories=["clothing"]),
        "CONSENT_EXPIRED",
    ),
    "D8b a sale before consent below 5": (
        given(consent(purposes=["events"]), sales=[sale(status="void")]), "NO_SALE_CONTEXT",
    ),
    "D8b the highest number": (
        sold(
            sale(controller_id=OTHER), sale(id="s2", concluded_at="2020-01-01T00:00:00Z"), sale(id="s3", status="void"),
        ),
        "CUSTOMER_RELATION_STALE",
    ),
    "D8b 15 outranks the finding of another record": (
        sold(sale(), sale(id="s2", concluded_at="2020-01-01T00:00:00Z"), message__product_categories=[]),
        "PRODUCT_CATEGORY_UNKNOWN",
    ),
    "D8b a sale before harvested": (
        sold(sale(status="void"), recipient__address_source="harvested"), "NO_SALE_CONTEXT",
    ),
    "D8c": (
        given(consent(purposes=["events"]), recipient__address_source="harvested"), "CONSENT_PURPOSE_MISMATCH",
    ),
    "D8c the highest number": (
        given(consent(purposes=["events"]), consent(id="b", controller_id=OTHER)), "CONSENT_PURPOSE_MISMATCH",
    ),
    "D8d": (base(recipient__address_source="harvested", recipient__known=False), "ADDRESS_HARVESTED"),
    "D8e": (base(recipient__address_source="purchased", recipient__known=False), "PURCHASED_LIST_UNVERIFIED"),
    "D8f": (base(recipient__known=False), "RECIPIENT_UNKNOWN"),
    "D8f an unknown origin is not purchased here": (
        base(recipient__known=False, recipient__address_source="unknown"), "RECIPIENT_UNKNOWN",
    ),
    "D8g": (base(), NOTHING),
    "D8 without soft opt-in sales say nothing": (sold(sale(), pack="XX"), NOTHING),
}  # fmt: skip

PACKS = {
    "no jurisdiction is UNKNOWN": (base(consents=[consent()], jurisdictions=[]), "ALLOW_OPT_IN"),
    "no jurisdiction needs a postal address": (
        base(consents=[consent()], jurisdictions=[], sender__postal_address_present=False), "POSTAL_ADDRESS_MISSING",
    ),
    "an unlisted code is UNKNOWN": (sold(sale(), pack="XX"), NOTHING),
    "GB is unlisted: the resolver writes UK": (sold(sale(), pack="GB"), NOTHING),
    "the first pack that blocks": (
        base("NL", "US", sales=[sale()], recipient__address_source="unknown"), "PURCHASED_LIST_UNVERIFIED",
    ),
    "list order, not weight": (
        base("US", "NL", recipient__address_source="unknown", recipient__known=False), "PURCHASED_LIST_UNVERIFIED",
    ),
    "the code of the first pack": (base("US", "NL", sales=[sale()]), "ALLOW_OPT_OUT_REGIME"),
    "the code of the first pack, turned": (base("NL", "US", sales=[sale()]), "ALLOW_SOFT_OPT_IN"),
    "one unlisted among them": (base("NL", "XX", sales=[sale()]), NOTHING),
    "grounds of every pack before duties of any": (
        base("US", "NL", sender__legal_name_present=False), NOTHING,
    ),
    "duties in list order": (
        base("IE", "NL", consents=[consent()], sender__postal_address_present=False, message__ad_identifiable=False),
        "AD_NOT_IDENTIFIABLE",
    ),
    "duties in list order, turned": (
        base("NL", "IE", consents=[consent()], sender__postal_address_present=False, message__ad_identifiable=False),
        "POSTAL_ADDRESS_MISSING",
    ),
    "E1 before E2": (
        given(consent(), sender__legal_name_present=False, sender__from_domain_verified=False),
        "SENDER_IDENTITY_MISSING",
    ),
    "E3 not in France": (given(consent(), pack="FR", sender__postal_address_present=False), "ALLOW_OPT_IN"),
    "E4 before E5": (
        given(consent(), sender__opt_out_contact_present=False, message__ad_identifiable=False),
        "OPT_OUT_CONTACT_MISSING",
    ),
    "E5 unless consent": (given(consent(), pack="US", message__ad_identifiable=False), "ALLOW_OPT_IN"),
    "E5 no consent": (base("US", message__ad_identifiable=False), "AD_NOT_IDENTIFIABLE"),
    "E5 never in Canada": (sold(sale(), pack="CA", message__ad_identifiable=False), "ALLOW_IMPLIED_CONSENT"),
    "E5 by the ground of its own pack": (
        base("FR", "US", sales=[sale(concluded_at="2025-09-10T12:00:00Z")], message__ad_identifiable=False),
        "AD_NOT_IDENTIFIABLE",
    ),
    "E6 present": (given(consent(), message__unsubscribe="present"), "ALLOW_OPT_IN"),
    "E6 before F": (
        given(consent(), message__unsubscribe="not_injectable", **{"infrastructure.dkim_ready": False}),
        "UNSUBSCRIBE_NOT_INJECTABLE",
    ),
    "F after every duty": (given(consent(), **{"infrastructure.dkim_ready": False}), "DKIM_UNAVAILABLE"),
}  # fmt: skip

TABLES = {"D1": D1, "D2, D3": D2_D3, "D4": D4, "D5": D5, "D6, D7": D6_D7, "D8": D8, "packs, E, F": PACKS}
ROWS = [pytest.param(*row, id=name) for table in TABLES.values() for name, row in table.items()]


@pytest.mark.parametrize(("facts", "wanted"), ROWS)
def test_the_boundary(facts: dict[str, Any], wanted: str) -> None:
    assert code(facts) == wanted


def test_findings_name_each_record_with_its_check() -> None:
    decision = judged(
        base("US", "NL", consents=[consent(id="c1", action="silence")], sales=[sale(), sale(id="s2", status="void")])
    )
    assert decision.reason_code == "ALLOW_OPT_OUT_REGIME"
    assert decision.findings == (
        "US D1-8 c1 CONSENT_NOT_ACTIVE", "NL D1-8 c1 CONSENT_NOT_ACTIVE",
        "NL D4 s1 valid", "NL D4-3 s2 NO_SALE_CONTEXT",
    )  # fmt: skip
    assert (decision.basis, decision.pack) == ("opt_out_regime", "US")


def test_the_ground_is_kept_with_an_allowed_message_only() -> None:
    assert judged(given(consent())).basis == "opt_in"
    assert judged(sold(sale())).basis == "soft_opt_in"
    assert judged(sold(sale(**DONATION), **CHARITY)).basis == "charity"
    assert judged(base("UK", recipient__kind="legal_person")).basis == "b2b"
    assert judged(base("CA", **PUBLISHED)).basis == "implied"
    blocked = judged(base())
    assert (blocked.basis, blocked.pack) == (None, "NL")
