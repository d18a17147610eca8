"""A decision explained: facts, rule, article, since when, until when, what would make it lawful, who can do that."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings

from gateway.packs import read_packs
from suppression.decision import decide
from suppression.explain import CHECKS_OF, Explanation, explain, outline, rules_of
from suppression.facts import Facts
from suppression.reason_code import ACTOR, FAMILY, REMEDY
from tests.core import law_strategies
from tests.core.law_facts import base, consent, packs, restriction, sale, suppression, vectors

BOOK = read_packs()


def told(document: dict[str, Any]) -> Explanation:
    facts = Facts.from_dict(document)
    return explain(facts, decide(facts, packs()), BOOK)


def day(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@settings(max_examples=150, deadline=None)
@given(law_strategies.facts | law_strategies.marketing_in_order)
def test_whatever_is_decided_can_be_explained(document: dict[str, Any]) -> None:
    """For all facts: explain raises nothing, agrees with the decision, and `until` is when the verdict really turns."""
    facts = Facts.from_dict(document)
    decision = decide(facts, packs())
    said = explain(facts, decision, BOOK)
    assert (said.verdict, said.code, said.articles) == (decision.verdict, decision.reason_code, decision.cite)
    assert said.rule and said.remedy == REMEDY[said.code] and said.actor == ACTOR[said.code]
    assert said.since is None or said.since <= facts.as_of
    json.dumps(said.to_dict())
    if said.until is not None:
        assert said.until > facts.as_of
        later = decide(Facts.from_dict({**document, "as_of": said.to_dict()["until"]}), packs())
        assert (later.verdict == "allow") != (decision.verdict == "allow")


@settings(max_examples=200, deadline=None)
@given(law_strategies.facts)
def test_an_explanation_without_facts_names_the_same_stage_code_and_remedy(document: dict[str, Any]) -> None:
    """What is kept of a decision is enough for rule, article, remedy and actor."""
    facts = Facts.from_dict(document)
    decision = decide(facts, packs())
    whole, bare = explain(facts, decision, BOOK), outline(
        decision.verdict, decision.reason_code, decision.cite, decision.trace, decision.basis, decision.pack
    )  # fmt: skip
    assert (bare.code, bare.articles, bare.remedy, bare.actor) == (
        whole.code, whole.articles, whole.remedy, whole.actor
    )  # fmt: skip
    assert bare.rule[:1] == whole.rule[:1]
    assert bare.facts == ()


@pytest.mark.parametrize("vector", vectors(), ids=lambda vector: vector["id"])
def test_the_worked_examples_are_all_explained(vector: dict[str, Any]) -> None:
    said = told(vector["facts"])
    assert said.rule in rules_of(said.code), said
    if said.code in CHECKS_OF and said.verdict == "block" and not said.rule.startswith(("D2", "D3", "D7", "D8", "E")):
        assert said.rule in CHECKS_OF[said.code]


def test_every_code_has_a_remedy_and_somebody_who_can_act() -> None:
    assert set(REMEDY) == set(ACTOR) and set(FAMILY) < set(REMEDY)
    assert {code for code in REMEDY if code not in FAMILY} == {code for code in REMEDY if code.startswith("ALLOW_")}
    for code in REMEDY:
        assert outline("block", code, "GDPR 5").remedy == REMEDY[code]


def test_an_opt_out_speaks_with_its_date_and_scope_and_nothing_of_time_ends_it() -> None:
    said = told(base(consents=[consent()], suppressions=[
        suppression(scope="purpose", purpose="newsletter", at="2026-02-01T08:00:00Z"), suppression(),
    ]))  # fmt: skip
    assert (said.code, said.rule, said.actor, said.remedy) == ("SUPPRESSED_SENDER", "C1", "person", "respect")
    assert [(fact.scope, fact.reason) for fact in said.facts] == [("sender", "unsubscribe"), ("purpose", "unsubscribe")]
    assert said.since == day("2026-01-15T08:00:00") and said.until is None


def test_a_pause_says_when_it_is_over() -> None:
    said = told(base(consents=[consent()], suppressions=[
        suppression(scope="purpose", purpose="newsletter", lifted_at="2026-04-01T00:00:00Z")
    ]))  # fmt: skip
    assert (said.code, said.until) == ("SUPPRESSED_PURPOSE", day("2026-04-01"))


def test_a_consent_that_carries_a_message_is_named_with_its_proof_and_its_end() -> None:
    said = told(base(consents=[consent(expires_at="2026-12-31T00:00:00Z"), consent(id="c2", purposes=["events"])]))
    assert (said.code, said.rule, said.remedy, said.actor) == ("ALLOW_OPT_IN", "D1", "may_stop", "person")
    first, second = said.facts
    assert first.carries and first.at == said.since and first.method and first.wording and first.origin
    assert (second.rule, second.code) == ("D1-3", "CONSENT_PURPOSE_MISMATCH")
    assert said.until is not None and said.until <= day("2026-12-31")


def test_each_record_that_failed_says_at_which_check_and_the_one_that_came_furthest_decides() -> None:
    said = told(base(consents=[
        consent(purposes=["events"]), consent(id="c2", given_at="2020-01-10T10:00:00Z", last_interaction_at=None),
    ], sales=[sale(concluded_at="2010-01-01T00:00:00Z")]))  # fmt: skip
    assert (said.code, said.rule) == ("CONSENT_STALE", "D1-19")
    assert [(fact.record, fact.rule) for fact in said.facts] == [
        ("c2", "D1-19"), ("c1", "D1-3"), ("s1", "D4-14")
    ]  # fmt: skip
    months = packs()["NL"].consent_max_months_since_interaction
    assert months == 24 and said.since == day("2022-01-11")


def test_another_product_shows_what_was_bought_and_what_is_offered() -> None:
    said = told(base(sales=[sale()], message__product_categories=["clothing"]))
    assert (said.code, said.rule, said.since) == ("PRODUCT_NOT_SIMILAR", "D4-16", None)
    offered, bought = said.facts
    assert (offered.name, offered.categories, bought.categories) == ("product_categories", ("clothing",), ("wine",))


def test_a_withdrawal_is_dated_and_other_records_cannot_replace_it() -> None:
    said = told(base(consents=[consent(withdrawn_at="2026-02-01T09:00:00Z")], sales=[sale()]))
    assert (said.code, said.rule, said.since) == ("CONSENT_WITHDRAWN", "D2", day("2026-02-01T09:00:00"))


def test_a_restriction_says_since_when_and_who_can_lift_it() -> None:
    said = told(base(consents=[consent()], restrictions=[restriction()]))
    assert (said.code, said.rule, said.actor) == ("PROCESSING_RESTRICTED", "A6", "privacy")
    assert said.since == day("2026-01-15T08:00:00") and said.facts[0].scope == "all"


def test_a_customer_is_named_with_the_sale_and_the_day_on_which_that_ends() -> None:
    said = told(base(sales=[sale()], message__product_categories=["wine"]))
    assert (said.code, said.rule) == ("ALLOW_SOFT_OPT_IN", "D4")
    assert said.facts[0].carries and said.since == day("2025-09-10T12:00:00")
    assert said.until is not None and said.until > day("2026-03-02")


def test_no_explanation_holds_a_date_of_birth() -> None:
    said = told(base(
        consents=[consent(parental_authorisation=False)], recipient__birth_date="2013-03-02",
    ))  # fmt: skip
    assert said.code == "MINOR_WITHOUT_PARENTAL_AUTHORISATION"
    assert "2013-03-02" not in json.dumps(said.to_dict())
