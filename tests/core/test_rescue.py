"""What is lacking where somebody was kept out: the pair to rule on, the pieces of evidence; nothing of an opt-out."""

from typing import Any

import pytest

from suppression.decision import decide
from suppression.facts import Facts
from suppression.reason_code import ACTOR, FAMILY
from suppression.rescue import PIECES, lacking, rescuable
from tests.core.law_facts import base, consent, packs, sale


def lacking_in(apart: tuple[frozenset[str], ...] = (), **changes: Any) -> tuple[str, str]:
    """The reason code of these facts, and what is lacking."""
    facts = Facts.from_dict(base(**changes))
    decision = decide(facts, packs())
    return decision.reason_code, lacking(
        decision, categories=facts.message.product_categories, consents=facts.consents, sales=facts.sales,
        controller_id=facts.sender.controller_id, apart=apart,
    )  # fmt: skip


def test_no_opt_out_and_nothing_that_nobody_can_mend_is_to_be_rescued() -> None:
    for code in FAMILY:
        assert rescuable(code) == (FAMILY[code] != "opt-out" and ACTOR[code] != "nobody")
    assert not any(map(rescuable, ("SUPPRESSED_SENDER", "CONSENT_WITHDRAWN", "ERASURE_PENDING", "ADDRESS_HARVESTED")))
    assert not rescuable("ALLOW_OPT_IN") and not rescuable("NEVER_HEARD_OF")
    assert all(map(rescuable, ("OPT_IN_PENDING_CONFIRMATION", "CONSENT_UNPROVEN", "PRODUCT_NOT_SIMILAR")))


def test_the_pair_to_rule_on_is_named() -> None:
    assert lacking_in(sales=[sale(product_categories=["clothing"])]) == ("PRODUCT_NOT_SIMILAR", "wine~clothing")
    both = [sale(product_categories=["clothing"]), sale(id="s2", product_categories=["books"])]
    assert lacking_in(sales=both) == ("PRODUCT_NOT_SIMILAR", "wine~books or wine~clothing")


def test_a_pair_that_was_ruled_not_similar_is_nothing_to_do() -> None:
    both = [sale(product_categories=["clothing"]), sale(id="s2", product_categories=["books"])]
    one = (frozenset(("books", "wine")),)
    assert lacking_in(one, sales=both) == ("PRODUCT_NOT_SIMILAR", "wine~clothing")
    assert lacking_in(one, sales=both[1:]) == ("PRODUCT_NOT_SIMILAR", "")


def test_what_another_controller_sold_is_nothing_to_rule_on() -> None:
    mine, theirs = sale(product_categories=["clothing"]), sale(id="s2", controller_id="sister")
    assert lacking_in(sales=[mine, theirs]) == ("PRODUCT_NOT_SIMILAR", "wine~clothing")


@pytest.mark.parametrize(
    ("change", "piece"),
    [
        ({"given_at": None}, "time"), ({"evidence__method": None}, "method"),
        ({"evidence__wording_version": None}, "wording_version"), ({"evidence__origin": None}, "origin"),
        ({"action": "unknown"}, "action"),
    ],
)  # fmt: skip
def test_each_piece_of_evidence_is_named(change: dict[str, Any], piece: str) -> None:
    assert piece in PIECES
    assert lacking_in(consents=[consent(**change)]) == ("CONSENT_UNPROVEN", piece)


def test_the_record_that_was_found_wanting_is_the_one_that_is_told_of() -> None:
    other = consent(id="c9", purposes=["events"], evidence__origin=None)  # about something else: not looked at so far
    mine = consent(id="c1", evidence__method=None, evidence__wording_version=None)
    assert lacking_in(consents=[other, mine]) == ("CONSENT_UNPROVEN", "method, wording_version")


def test_where_the_code_says_it_all_nothing_is_added() -> None:
    assert lacking_in(recipient__known=False) == ("RECIPIENT_UNKNOWN", "")
    assert lacking_in(consents=[consent()]) == ("ALLOW_OPT_IN", "")
