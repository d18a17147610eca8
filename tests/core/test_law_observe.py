"""Observing lets through what is about ground and form, and never what protects a person (DESIGN section 7)."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from suppression.decision import Decision, decide
from suppression.facts import Facts
from suppression.observe import NEVER_PASSED, PASSABLE, next_change, observe, passed
from suppression.reason_code import FAMILY
from tests.core.law_facts import base, consent, packs, restriction, sale, suppression
from tests.core.law_strategies import facts as any_facts
from tests.core.law_strategies import marketing_in_order

Json = dict[str, Any]


def observed(document: Json) -> Decision:
    return observe(Facts.from_dict(document), packs())


def test_every_code_is_passable_or_not() -> None:
    assert set(PASSABLE) | set(NEVER_PASSED) == set(FAMILY)
    assert not set(PASSABLE) & set(NEVER_PASSED)
    assert all(reason.strip() for reason in (*PASSABLE.values(), *NEVER_PASSED.values()))


def test_no_opt_out_is_passable() -> None:
    assert not {code for code, family in FAMILY.items() if family == "opt-out"} & set(PASSABLE)


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"consents": []}, "NO_CONSENT_OR_CUSTOMER_RELATION"),
        ({"recipient__known": False}, "RECIPIENT_UNKNOWN"),
        ({"consents": [consent(evidence__wording_version=None)]}, "CONSENT_UNPROVEN"),
        ({"sales": [sale(product_categories=["clothing"])]}, "PRODUCT_NOT_SIMILAR"),
        ({"message__product_categories": [], "sales": [sale()]}, "PRODUCT_CATEGORY_UNKNOWN"),
        ({"consents": [consent()], "sender__postal_address_present": False}, "POSTAL_ADDRESS_MISSING"),
        ({"consents": [consent()], "sender__opt_out_contact_present": False}, "OPT_OUT_CONTACT_MISSING"),
        ({"consents": [consent()], "message__ad_identifiable": False}, "AD_NOT_IDENTIFIABLE"),
    ],
)
def test_a_finding_is_reported_and_passed(changes: Json, code: str) -> None:
    document = base(**changes)
    assert decide(Facts.from_dict(document), packs()).reason_code == code
    decision = observed(document)
    assert (decision.verdict, decision.reason_code) == ("allow", code)
    assert passed(decision) and decision.cite and f"passed {code}" in decision.trace
    assert decision.basis == ("opt_in" if code in ("POSTAL_ADDRESS_MISSING", "OPT_OUT_CONTACT_MISSING",
                                                   "AD_NOT_IDENTIFIABLE") else None)  # fmt: skip


def test_what_is_lawful_is_allowed_as_ever() -> None:
    decision = observed(base(consents=[consent()]))
    assert decision == decide(Facts.from_dict(base(consents=[consent()])), packs())
    assert decision.reason_code == "ALLOW_OPT_IN" and not passed(decision)


CHILD = {"recipient__birth_date": "2012-06-01"}


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        # each hides something never passed behind a finding that alone would be
        ({**CHILD, "consents": [consent(evidence__wording_version=None)]}, "CONSENT_UNPROVEN"),
        ({**CHILD}, "NO_CONSENT_OR_CUSTOMER_RELATION"),
        ({"sender__directed_at_children": True}, "NO_CONSENT_OR_CUSTOMER_RELATION"),
        ({"recipient__address_source": "harvested", "consents": [consent(granular=False)]}, "CONSENT_NOT_SPECIFIC"),
        ({"recipient__address_source": "purchased", "sales": [sale(privacy_notice_version=None)]}, "NO_PRIVACY_NOTICE"),
        ({"consents": [consent(source="purchased_list", named_recipients=["acme"], action="silence")]},
         "CONSENT_NOT_ACTIVE"),
        ({"consents": [consent(source="third_party_share", named_recipients=["acme"], sharing_consent=False,
                               granular=False)]}, "CONSENT_NOT_SPECIFIC"),
        ({"sales": [sale(opt_out_used_at_collection=True, kind="contest")]}, "NO_SALE_CONTEXT"),
        ({"recipient__on_exclusion_register": True}, "NO_CONSENT_OR_CUSTOMER_RELATION"),
    ],
)  # fmt: skip
def test_what_hides_behind_a_passable_finding_still_blocks(changes: Json, code: str) -> None:
    decision = observed(base(**changes))
    assert code in PASSABLE
    assert (decision.verdict, decision.reason_code) == ("block", code)


@pytest.mark.parametrize(
    ("changes", "verdict", "code"),
    [
        ({"sender__legal_name_present": False}, "block", "SENDER_IDENTITY_MISSING"),
        ({"sender__from_domain_verified": False}, "block", "SENDER_IDENTITY_CONCEALED"),
        ({"message__unsubscribe": "not_injectable"}, "block", "UNSUBSCRIBE_NOT_INJECTABLE"),
        ({"infrastructure__dkim_ready": False}, "defer", "DKIM_UNAVAILABLE"),
    ],
)
def test_behind_a_passed_finding_the_rest_is_looked_at(changes: Json, verdict: str, code: str) -> None:
    decision = observed(base(**changes))
    assert (decision.verdict, decision.reason_code) == (verdict, code)


def test_every_pack_has_its_say() -> None:
    """Stale under the first pack, and taken back: the second pack finds no valid record, so the withdrawal counts."""
    record = consent(given_at="2019-06-01T10:00:00Z", withdrawn_at="2025-07-01T10:00:00Z")
    for codes in (("NL",), ("CA", "NL"), ("US", "NL")):
        assert observed(base(*codes, consents=[record])).verdict == "block"


@given(any_facts | marketing_in_order, st.sampled_from(("suppressed", "restricted", "erased", "objecting")))
def test_observing_never_passes_a_person_who_said_no(document: Json, what: str) -> None:
    more: Json = {
        "suppressed": {"suppressions": [suppression()]},
        "restricted": {"restrictions": [restriction()]},
        "erased": {"erasure_requests": [
            {"controller_id": "acme", "received_at": "2015-01-01T00:00:00Z", "status": "open"}
        ]},
        "objecting": {"suppressions": [suppression(reason="objection", scope="global", controller_id=None)]},
    }[what]  # fmt: skip
    document = document | more | {"as_of": "2026-03-02T10:00:00Z"}
    decision = observed(document)
    assert not passed(decision)
    assert decision == decide(Facts.from_dict(document), packs())


@given(any_facts | marketing_in_order, st.sampled_from(("harvested", "purchased")))
def test_observing_never_passes_a_bought_or_harvested_address(document: Json, source: str) -> None:
    document = document | {"recipient": document["recipient"] | {"address_source": source}}
    decision = observed(document)
    grounds = {"POSTAL_ADDRESS_MISSING", "OPT_OUT_CONTACT_MISSING", "AD_NOT_IDENTIFIABLE"}
    assert not passed(decision) or (decision.reason_code in grounds and decision.basis is not None)


@given(any_facts | marketing_in_order)
def test_observing_never_passes_a_child_without_a_parent(document: Json) -> None:
    document = document | {
        "recipient": document["recipient"] | {"birth_date": "2016-06-01", "parental_authorisation": False},
        "consents": [c | {"parental_authorisation": False} for c in document["consents"]],
    }
    assert not passed(observed(document))


@given(any_facts | marketing_in_order)
def test_observing_changes_a_block_of_the_table_or_nothing(document: Json) -> None:
    """Whatever the facts: only a block with a passable code becomes something else, and never more than it says."""
    before, after = decide(Facts.from_dict(document), packs()), observed(document)
    if before.verdict != "block" or before.reason_code not in PASSABLE:
        assert after == before
        return
    assert after == before or passed(after) or after.reason_code in NEVER_PASSED
    if passed(after):
        assert after.reason_code == before.reason_code
        assert document["message"]["uses_special_category"] is False or after.basis is not None
        assert not any(
            s["opt_out_used_at_collection"] and s["controller_id"] == "acme" and s["concluded_at"] <= document["as_of"]
            for s in document["sales"]
        ) or after.basis is not None  # fmt: skip


@given(any_facts)
def test_the_end_of_observing_is_a_change(document: Json) -> None:
    made = Facts.from_dict(document)
    until = made.as_of + timedelta(days=3)
    assert made.as_of < next_change(made, packs(), until) <= until
    assert next_change(Facts.from_dict(base()), packs(), datetime(2026, 3, 5, tzinfo=UTC)) == datetime(
        2026, 3, 5, tzinfo=UTC
    )
