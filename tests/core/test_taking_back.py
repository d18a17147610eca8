"""An import taken back: for any history, what is left is the history without it, and no opt-out is ever lost."""

from collections.abc import Sequence
from typing import Any

import hypothesis.strategies as st
from hypothesis import given

from gateway.files.native import Native, Stated, absent_recipient
from suppression import standing
from suppression.standing import BROUGHT_BY, STAYS
from suppression.taking_back import UNDONE, Said, is_done, without

IMPORTS = ("", "a1", "b2", "c3")
"""Which import brought an entry; the first: none did, somebody acted."""


def record(held: Any, **cells: str) -> dict[str, Any]:
    """What a row of our own format says, as the ledger has it."""
    stated = Native(held, ["email", *cells], "acme", ("newsletter", "events")).read(["a@b.nl", *cells.values()])
    assert isinstance(stated, Stated)
    return stated.fields


INSTANTS = st.sampled_from(["", "2026-01-02T00:00:00Z", "2026-03-04T00:00:00Z"])
CONSENTS = st.builds(
    lambda name, purposes, given, withdrawn, origin: ("consent", record("consents", **{
        "id": name, "purposes": purposes, "given_at": given, "withdrawn_at": withdrawn, "evidence.origin": origin,
    })),
    st.sampled_from(["1", "2"]), st.sampled_from(["newsletter", "events", "newsletter|events"]), INSTANTS, INSTANTS,
    st.sampled_from(["shop", "page"]),
)  # fmt: skip
SALES = st.builds(
    lambda name, used, category: ("sale", record("sales", id=name, kind="purchase", status="concluded",
        concluded_at="2026-01-02T00:00:00Z", opt_out_used_at_collection=used, product_categories=category)),
    st.sampled_from(["1", "2"]), st.sampled_from(["true", "false", ""]), st.sampled_from(["wine", "spirits"]),
)  # fmt: skip
PEOPLE = st.builds(
    lambda country, register, kind: ("person", {
        **({"country": country} if country else {}), **({"on_exclusion_register": True} if register else {}),
        **({"kind": kind} if kind else {}), "unless_known": absent_recipient(),
    }),
    st.sampled_from(["", "NL", "BE"]), st.booleans(), st.sampled_from(["", "legal_person"]),
)  # fmt: skip
OTHERS = st.sampled_from([
    ("undeliverable", {"undeliverable": True}),
    ("withdrawal", {"at": "2026-05-01T00:00:00Z", "purpose": None, "ref": "01"}),
    ("objection", {"at": "2026-05-01T00:00:00Z", "purpose": "newsletter", "ref": "02"}),
    ("suppression", {"scope": "sender", "purpose": None, "reason": "admin", "source": "import", "ref": "03"}),
])  # fmt: skip
ENTRIES = st.tuples(st.one_of(CONSENTS, SALES, PEOPLE, OTHERS), st.sampled_from(IMPORTS))
HISTORIES = st.lists(ENTRIES, max_size=10)


def said(history: Sequence[tuple[tuple[str, dict[str, Any]], str]]) -> list[Said]:
    """A history as the ledger has it."""
    entries = []
    for (kind, fields), brought in history:
        marks: dict[str, Any] = {BROUGHT_BY: brought} if brought else {}
        if brought and fields.get("opt_out_used_at_collection") and fields["product_categories"] == ["wine"]:
            marks[STAYS] = True  # of the others the row left it out
        entries.append(Said(kind, {**marks, **fields}))
    return entries


def amount(entries: Sequence[Said]) -> standing.Document:
    document: standing.Document = {}
    for one in entries:
        document = standing.apply(document, one.kind, one.fields)
    return document


def undone(entries: list[Said], mark: str) -> list[Said]:
    """The ledger after the import was taken back."""
    return [*entries, Said(UNDONE, {BROUGHT_BY: mark, **without(entries, mark).fields})]


def opt_outs(document: standing.Document) -> set[tuple[str, ...]]:
    """What in a standing speaks against mailing: withdrawn purposes, opt-outs used, registers, withdrawals."""
    found = {
        ("consent", purpose)
        for one in document.get("consents", ()) if one["withdrawn_at"] is not None for purpose in one["purposes"]
    }  # fmt: skip
    found |= {("withdrawal", one["ref"]) for one in document.get("withdrawals", ())}
    return found


def marks_of_import(document: Any) -> bool:
    return BROUGHT_BY in str(document) or STAYS in str(document)


@given(HISTORIES)
def test_what_is_left_is_the_history_without_it_and_its_opt_outs(history: Any) -> None:
    """Without opt-outs in the import, taking it back is the same as if it had never been."""
    harmless = [
        (act, brought) for act, brought in history
        if brought != "a1" or (act[0] in ("person", "undeliverable") and not act[1].get("on_exclusion_register"))
        or (act[0] == "consent" and act[1]["withdrawn_at"] is None)
    ]  # fmt: skip
    entries = said(harmless)
    never = amount([one for one in entries if one.fields.get(BROUGHT_BY) != "a1"])
    after = amount(undone(entries, "a1"))
    assert {name: value for name, value in after.items() if value is not None} == never
    assert not without(entries, "a1").opted_out


@given(HISTORIES)
def test_no_opt_out_is_lost_whatever_is_taken_back(history: Any) -> None:
    """P3: not those it brought, not those of others. What an entry says is withdrawn stays withdrawn."""
    entries = said(history)
    before = {
        ("consent", purpose)
        for one in entries if one.kind == "consent" and one.fields["withdrawn_at"] is not None
        for purpose in one.fields["purposes"]
    } | {("withdrawal", one.fields["ref"]) for one in entries if one.kind in ("withdrawal", "objection")}  # fmt: skip
    assert opt_outs(amount(entries)) >= before
    for mark in ("a1", "b2"):
        entries = undone(entries, mark)
        assert opt_outs(amount(entries)) >= before
    used = [
        one for one in said(history)
        if one.kind == "sale" and one.fields["opt_out_used_at_collection"]
        and (one.fields.get(STAYS) or not one.fields.get(BROUGHT_BY))
    ]  # fmt: skip
    if used:
        assert any(sale["opt_out_used_at_collection"] for sale in amount(entries)["sales"])
    registers = [one for one in said(history) if one.kind == "person" and one.fields.get("on_exclusion_register")]
    if registers:
        assert amount(entries)["recipient"]["on_exclusion_register"]


@given(HISTORIES)
def test_in_whatever_order_imports_are_taken_back_the_same_is_left(history: Any) -> None:
    one, other = said(history), said(history)
    for mark in ("a1", "b2"):
        one = undone(one, mark)
    for mark in ("b2", "a1"):
        other = undone(other, mark)
    assert amount(one) == amount(other)


@given(HISTORIES, HISTORIES)
def test_what_comes_after_goes_on_from_what_is_left(history: Any, later: Any) -> None:
    """Acts after the undoing apply to what is left, and a second undoing leaves them."""
    entries = undone(said(history), "a1")
    later = [(act, brought) for act, brought in later if brought not in ("a1", "b2")]
    whole = [*entries, *said(later)]
    expected = amount(entries)
    for one in said(later):
        expected = standing.apply(expected, one.kind, one.fields)
    assert amount(whole) == expected and not marks_of_import(amount(whole))
    assert amount(undone(whole, "a1")) == expected


def test_an_import_that_went_on_after_it_was_taken_back_is_taken_back_again() -> None:
    brought, gone = Said("consent", {BROUGHT_BY: "a"}), Said(UNDONE, {BROUGHT_BY: "a"})
    other = Said("consent", {BROUGHT_BY: "b"})
    assert not is_done([], "a") and not is_done([brought, other], "a")
    assert is_done([brought, gone], "a") and is_done([brought, gone, other], "a")
    assert not is_done([brought, gone, brought], "a")
    assert not is_done([brought, gone, other], "b")
