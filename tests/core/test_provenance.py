"""Where a third party's list came from: its file, and what of a record may be believed."""

from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from suppression.consent import Consent
from suppression.decision import Decision
from suppression.fields import FactsError
from suppression.provenance import (
    SHOWN,
    BuyerCheck,
    ListSource,
    SellerCheck,
    SourceError,
    list_named,
    obtained_from,
    presumably_from,
    third_party,
    with_provenance,
)
from tests.core import law_strategies

DAY = date(2026, 11, 1)
NOW = datetime(2026, 11, 21, 10, 0, tzinfo=UTC)
SELLER = SellerCheck(record="stand 14, paper", wording="v7", sharing_consent="second box, names Acme", checked_on=DAY)
BUYER = BuyerCheck(sample=20, good=20, checker="P. de Vries", result="all called, all agreed", checked_on=DAY)
OPENED = ListSource(name="expo2026", kind="purchased_list", seller="Expo B.V.", version=1)
CHECKED = OPENED.next(seller_check=SELLER).next(buyer_check=BUYER)
ROW: dict[str, Any] = {
    "id": "c1", "controller_id": "acme", "source": "purchased_list", "named_recipients": ["acme"],
    "purposes": ["newsletter"], "product_categories": None, "advertisers": [], "given_at": "2026-06-01T09:00:00Z",
    "withdrawn_at": None, "expires_at": None, "last_interaction_at": None,
    "evidence": {"method": "paper", "wording_version": "v7", "privacy_notice_version": "p", "origin": "stand 14"},
    "action": "signed", "bundled_with_terms": False, "conditional_on_service": False, "granular": True,
    "double_opt_in": {"required": False, "requested_at": None, "confirmed_at": None, "mails_sent": 0},
    "parental_authorisation": False, "sharing_consent": True, "seller_verified": True, "buyer_verified": True,
    "explicit_special_category": False,
}  # fmt: skip
LISTED = {**ROW, "evidence": {**ROW["evidence"], "origin": "list:expo2026"}}
FILES = {"expo2026": CHECKED}


@pytest.mark.parametrize(
    ("file", "missing"),
    [
        (OPENED, ["seller's check", "buyer's own check"]),
        (OPENED.next(seller_check=SELLER), ["buyer's own check"]),
        (OPENED.next(buyer_check=BUYER), ["seller's check"]),
        (CHECKED.next(buyer_check=replace(BUYER, good=19)), ["of the sample wrong"]),
        (CHECKED.next(buyer_check=replace(BUYER, sample=0, good=0)), ["looked at nobody"]),
        (CHECKED, []),
    ],
)
def test_a_file_is_complete_when_both_sides_checked_and_found_it_good(file: ListSource, missing: list[str]) -> None:
    said = file.missing()
    assert len(said) == len(missing)
    assert all(one in text for one, text in zip(missing, said, strict=True))
    assert file.complete == (not missing)
    assert ListSource.from_dict(file.to_dict()) == file


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"name": "Expo 2026"}, "no name for a list"),
        ({"name": "../x"}, "no name for a list"),
        ({"seller": " "}, "seller needs a name"),
        ({"seller": "Expo (B.V.)"}, "without brackets"),
        ({"kind": "own_form"}, "purchased_list or a third_party_share"),
        ({"seller_check": replace(SELLER, wording=" ")}, "says nothing about: wording"),
        ({"buyer_check": replace(BUYER, good=21)}, "21 of 20"),
        ({"buyer_check": replace(BUYER, checker="")}, "name of who did it"),
    ],
)
def test_what_cannot_be_kept_says_why(changes: dict[str, Any], named: str) -> None:
    with pytest.raises(SourceError, match=named):
        replace(OPENED, **changes)


@pytest.mark.parametrize("change", [{"name": 3}, {"seller_check": {}}, {"buyer_check": {"checked_on": "x"}}])
def test_what_is_no_file_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(FactsError):
        ListSource.from_dict({**CHECKED.to_dict(), **change})


@pytest.mark.parametrize(
    ("row", "files", "named", "verified", "origin"),
    [
        (LISTED, FILES, None, (True, True), "list:expo2026@3 (Expo B.V.)"),
        (ROW, FILES, "expo2026", (True, True), "list:expo2026@3 (Expo B.V.) / stand 14"),
        (ROW, FILES, None, (False, False), "stand 14"),
        (ROW, {}, "expo2026", (False, False), "stand 14"),
        (LISTED, {}, None, (False, False), "list:expo2026"),
        (LISTED, {"expo2026": OPENED}, None, (False, False), "list:expo2026@1 (Expo B.V.)"),
        ({**LISTED, "buyer_verified": False}, FILES, None, (True, False), "list:expo2026@3 (Expo B.V.)"),
        ({**ROW, "source": "third_party_share"}, {}, None, (False, False), "stand 14"),
    ],
)
def test_a_claim_counts_only_with_a_complete_file(
    row: dict[str, Any], files: dict[str, ListSource], named: str | None, verified: tuple[bool, bool], origin: str
) -> None:
    before = str(row)
    made = with_provenance(row, files, named)
    assert (made["seller_verified"], made["buyer_verified"]) == verified
    assert made["evidence"]["origin"] == origin
    assert str(row) == before
    assert with_provenance(made, files, named)["evidence"] == made["evidence"]


def test_what_we_collected_ourselves_is_left_alone_unless_it_is_said_to_come_from_a_list() -> None:
    own = {**ROW, "source": "own_form"}
    assert with_provenance(own, FILES) is own
    assert with_provenance(own, FILES, "expo2026")["source"] == "purchased_list"


@given(law_strategies.consent, st.booleans(), st.sampled_from([None, "expo2026", "other"]))
def test_no_file_ever_verifies_what_the_row_does_not_claim(row: dict[str, Any], complete: bool, named: Any) -> None:
    """Invariant: a record gains no verification, and the result is still a record."""
    made = with_provenance(row, {"expo2026": CHECKED if complete else OPENED}, named)
    record = Consent.from_dict(made)
    assert record.seller_verified <= row["seller_verified"]
    assert record.buyer_verified <= row["buyer_verified"]


@pytest.mark.parametrize(
    ("origin", "named", "told"),
    [
        ("list:expo2026@3 (Expo B.V.) / stand 14", "expo2026", "Expo B.V."),
        ("list:expo2026@3 (Expo B.V.)", "expo2026", "Expo B.V."),
        ("list:expo2026", "expo2026", "expo2026"),
        ("partner.example/form\r\nBcc: x", None, "partner.example/form Bcc: x"),
        ("x" * 500, None, "x" * SHOWN),
        (None, None, ""),
    ],
)
def test_who_passed_an_address_on_is_told_in_one_line(origin: str | None, named: str | None, told: str) -> None:
    record = Consent.from_dict({**ROW, "evidence": {**ROW["evidence"], "origin": origin}})
    assert list_named(origin) == named
    assert third_party(record) == told
    assert third_party(replace(record, source="own_form")) is None


def decision(*valid: str, basis: str | None = "opt_in") -> Decision:
    return Decision(
        verdict="allow", reason_code="ALLOW_OPT_IN", cite="", basis=basis, pack="NL", trace=(),
        findings=(*(f"NL D1 {id_} valid" for id_ in valid), "NL D1-7 c9 CONSENT_UNPROVEN"),
    )  # fmt: skip


def test_only_a_mail_that_rests_on_a_third_partys_consent_alone_names_it() -> None:
    bought = Consent.from_dict(with_provenance(LISTED, FILES))
    own = replace(bought, id="c2", source="own_form")
    assert obtained_from(decision("c1"), (bought,)) == "Expo B.V."
    assert obtained_from(decision("c1", "c2"), (bought, own)) is None
    assert obtained_from(decision("c1"), (bought, own)) == "Expo B.V."  # the other one does not carry it
    assert obtained_from(decision(basis="soft_opt_in"), (bought,)) is None
    assert obtained_from(decision(), (bought,)) is None
    assert presumably_from((bought,), "acme", "newsletter", NOW) == "Expo B.V."
    assert presumably_from((bought, own), "acme", "newsletter", NOW) is None
    assert presumably_from((bought,), "acme", "events", NOW) is None
    assert presumably_from((bought,), "other", "newsletter", NOW) is None
