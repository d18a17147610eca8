"""Import files as text and as values: what is read, what is refused, and that nothing absent ever opens a way."""

import csv
import io
import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.files import native, table
from gateway.files.native import CONSENT, FIELDS, KINDS, SALE, Kind, Native, Rejected, Stated, identified
from gateway.files.table import LINE_BYTES, LINES_PER_ROW, Refusal, Row, Table, check_text
from suppression.consent import Consent
from suppression.decision import Decision, decide
from suppression.facts import Facts
from suppression.ledger import encode
from suppression.sale import Sale
from tests.core import law_facts, law_strategies
from tests.core.law_facts import Json, packs

NEVER_BLOCKING = {"product_categories", "withdrawn_at", "expires_at", "relation_ended_at"}
"""Fields whose absence means "none" by contract; product_categories only of a consent."""


def rows_of(text: str, kind: Kind = "consents") -> tuple[Table, list[Row]]:
    read = Table(io.StringIO(text, newline=""), native.columns(kind))
    return read, list(read)


def refused(text: str, kind: Kind = "consents") -> str:
    with pytest.raises(Refusal) as refusal:
        rows_of(text, kind)
    return str(refusal.value)


def refused_bytes(data: bytes) -> str:
    with pytest.raises(Refusal) as refusal:
        check_text(data.splitlines(keepends=True))
    return str(refusal.value)


def one(kind: Kind, /, **cells: str) -> Stated | Rejected:
    """One row with an address, read for acme, which declared newsletter and events."""
    cells = {"email": "anna@example.org", **{name.replace("__", "."): cell for name, cell in cells.items()}}
    return Native(kind, list(cells), "acme", ("newsletter", "events")).read(list(cells.values()))


def said(kind: Kind, /, **cells: str) -> dict[str, Any]:
    stated = one(kind, **cells)
    assert isinstance(stated, Stated), stated
    return stated.fields


def fault(kind: Kind, /, **cells: str) -> str:
    rejected = one(kind, **cells)
    assert isinstance(rejected, Rejected), rejected
    return " ".join(rejected.reasons)


def cells_of(record: Mapping[str, Any], within: str = "") -> dict[str, str]:
    """A record of the schema as the cells of a row."""
    cells: dict[str, str] = {}
    for name, value in record.items():
        if isinstance(value, dict):
            cells |= cells_of(value, f"{name}.")
        elif isinstance(value, list):
            cells[within + name] = "|".join(value) or "|"
        elif isinstance(value, bool):
            cells[within + name] = str(value).lower()
        elif value is not None:
            cells[within + name] = str(value)
    return cells


def read_cells(kind: Kind, cells: Mapping[str, str]) -> dict[str, Any]:
    stated = Native(kind, ["email", *cells], "acme", ("newsletter", "events")).read(["a@b.nl", *cells.values()])
    assert isinstance(stated, Stated), stated
    return {**stated.fields, "id": stated.fields["id"] or "generated"}


# The text of the file


@pytest.mark.parametrize("mark", [",", ";", "\t"])
def test_the_delimiter_is_read_off_the_header(mark: str) -> None:
    read, rows = rows_of(mark.join(["email", "purposes"]) + "\r\n" + mark.join(["a@b.nl", '"x, y; z"']) + "\r\n")
    assert (read.delimiter, read.columns, rows[0].cells) == (mark, ("email", "purposes"), ["a@b.nl", "x, y; z"])


def test_names_of_columns_may_have_capitals_and_blanks() -> None:
    assert rows_of(" Email ,Purposes\n")[0].columns == ("email", "purposes")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "the file is empty"),
        ("\n\n", "the file is empty"),
        ("email,purpose\n", "line 1: there is no column 'purpose'. Did you mean purposes"),
        ("\nemail,qqqq\n", "line 2: there is no column 'qqqq'. The columns are "),
        ("email,purposes,purposes\n", "the column purposes stands there twice"),
        ("purposes,source\n", "there is no column email"),
        ("email,,purposes\n", "column 2 has no name"),
    ],
)
def test_a_header_that_cannot_be_meant_is_refused_with_a_remedy(text: str, told: str) -> None:
    assert told in refused(text)


def test_a_refusal_repeats_no_address_when_the_header_is_missing() -> None:
    assert "anna" not in refused("anna@example.org,newsletter\n")


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (
            b"email\na@b.nl\ncaf\xe9@b.nl\n",
            "line 3: is not UTF-8 text: byte 0xE9 is number 4 of the line, 17 of the file, in Windows-1252 it is é",
        ),
        (b"email\na@b.nl\0\n", "line 2: holds a NUL byte"),
        ("email\n".encode("utf-16"), "the file is UTF-16 text, not UTF-8 text"),
        ("email\n".encode("utf-16-le"), "line 1: holds a NUL byte"),
        (b"email\na@b.nl\xc3", "line 2: ends in the middle of a character"),
        (b"email\n" + b"x" * (LINE_BYTES + 1), "line 2: is longer than a megabyte"),
    ],
)
def test_what_is_not_utf_8_text_is_refused_with_its_line(data: bytes, told: str) -> None:
    assert told in refused_bytes(data)


def test_utf_8_with_and_without_a_mark_is_text() -> None:
    check_text(["email\r\n".encode("utf-8-sig"), "jürgen@b.nl\n".encode()])


def test_a_row_is_known_by_the_line_it_begins_on() -> None:
    rows = rows_of('email,evidence.origin\n\na@b.nl,"two\nlines"\nb@b.nl,x\r\nc@b.nl,"a\r\nb\r\nc"\nd@b.nl,\n')[1]
    assert [(row.line, row.cells[0], row.fault) for row in rows] == [
        (3, "a@b.nl", None), (5, "b@b.nl", None), (6, "c@b.nl", None), (9, "d@b.nl", None),
    ]  # fmt: skip


def test_a_row_with_too_many_or_too_few_cells_has_a_fault_and_the_next_is_read() -> None:
    rows = rows_of("email,purposes\na@b.nl\nb@b.nl,x,y\nc@b.nl,z\n")[1]
    assert [row.fault and row.fault[:40] for row in rows] == [
        "row: has 1 cells, the header has 2. Put ", "row: has 3 cells, the header has 2. Put ", None,
    ]  # fmt: skip


@pytest.mark.parametrize("cell", ["x" * 131_073, '"' + "x," * 70_000 + '"'])
def test_a_cell_that_is_too_long_is_named_with_its_column(cell: str) -> None:
    table = Table(["email,name,language\n", f"a@example.org,{cell},nl\n", "b@example.org,,nl\n"], None)
    long, good = table
    assert long.fault == "row: cell 2 ('name') is longer than 131,072 characters. Shorten it or empty it."
    assert (long.line, good.line, good.fault) == (2, 3, None)


@pytest.mark.parametrize("bad", ['a@b.nl,"open', 'a@b.nl,"he said "no""', 'a@b.nl,"x"y'])
@pytest.mark.parametrize("more", ["", "b@b.nl,good\n", 'b@b.nl,"good"\n' * 3, "b@b.nl,good\n" * (LINES_PER_ROW + 5)])
def test_a_quotation_mark_left_open_costs_one_line_and_no_more(bad: str, more: str) -> None:
    rows = rows_of(f"email,purposes\n{bad}\n{more}")[1]
    assert rows[0].line == 2 and rows[0].fault is not None and "quotation mark" in rows[0].fault
    assert [row.cells for row in rows[1:]] == [["b@b.nl", "good"]] * more.count("\n")
    assert [row.line for row in rows] == list(range(2, 3 + more.count("\n")))


def test_the_marks_of_a_file_of_rejected_rows_are_no_columns_when_it_comes_back() -> None:
    read, rows = rows_of("email,reason,line,reason\na@b.nl,unsubscribe,7,purpose: is wrong\n", "suppressions")
    assert read.columns == ("email", "reason")
    assert Native("suppressions", read.columns, "acme").read(rows[0].cells).fields["reason"] == "unsubscribe"  # type: ignore[union-attr]


@settings(max_examples=400, deadline=None)
@given(kind=st.sampled_from(KINDS), data=st.data())
def test_any_text_is_read_or_refused(kind: Kind, data: st.DataObject) -> None:
    """Whatever the file holds, the only exception is Refusal, and every row is stated or rejected with a reason."""
    names = data.draw(st.lists(st.sampled_from(native.columns(kind)), max_size=6))
    piece = st.sampled_from([
        ",", ";", "\t", '"', '""', "\n", "\r\n", "\r", "|", "a@b.nl", "true", "2026-01-01T00:00:00Z", "9" * 30, "=1+1",
        "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "2026-02-30T00:00:00Z", "٣", "\x85", "\u2028",
    ]) | st.text(max_size=8)  # fmt: skip
    head = ",".join(names) + "\n" if names and data.draw(st.booleans()) else ""
    text = head + "".join(data.draw(st.lists(piece, max_size=30)))
    try:
        encoded = text.encode()
        check_text(io.BytesIO(encoded))
        read, rows = rows_of(text, kind)
    except (Refusal, UnicodeEncodeError):
        return
    reader = Native(kind, read.columns, "acme")
    for row in rows:
        result = reader.read(row.cells)
        if isinstance(result, Rejected):
            assert result.reasons and all(reason.partition(":")[0] in read.columns or "email" in reason
                                          for reason in result.reasons)  # fmt: skip
        else:
            assert "@" in result.address


# Cells


@pytest.mark.parametrize(
    ("cell", "utc"),
    [
        ("2026-03-02T10:00:00Z", "2026-03-02T10:00:00Z"),
        ("2026-03-02T11:00:00+01:00", "2026-03-02T10:00:00Z"),
        ("2026-03-02 11:00:00.999+0100", "2026-03-02T10:00:00Z"),
        ("2026-03-01T23:30-10", "2026-03-02T09:30:00Z"),
    ],
)
def test_an_instant_becomes_utc_in_whole_seconds(cell: str, utc: str) -> None:
    assert said("consents", given_at=cell)["given_at"] == utc


@pytest.mark.parametrize(
    "cell",
    ["2026-03-02", "2026-03-02T10:00:00", "2026-02-30T10:00:00Z", "02-03-2026 10:00Z", "2026-W10-1T10:00:00Z",
     "1772445600", "0001-01-01T00:00:00+14:00", "2026-03-02T10:00:60Z", "٢026-03-02T10:00:00Z"],
)  # fmt: skip
def test_an_instant_without_zone_or_in_another_form_is_rejected(cell: str) -> None:
    assert fault("consents", given_at=cell).startswith("given_at: ")
    assert "2026-03-02T10:00:00Z" in fault("consents", given_at=cell)


@pytest.mark.parametrize("cell", ["TRUE", "yes", "1", "waar"])
def test_a_boolean_is_true_or_false_and_nothing_else(cell: str) -> None:
    assert fault("consents", granular=cell).startswith("granular: must be true or false")


@pytest.mark.parametrize(
    ("kind", "column", "cell"),
    [
        ("consents", "source", "web"), ("consents", "action", "clicked"),
        ("consents", "double_opt_in__mails_sent", "-1"), ("consents", "evidence__origin", "x" * 4001),
        ("consents", "purposes", "newsletter||events"), ("consents", "purposes", "|newsletter"),
        ("sales", "kind", "order"), ("sales", "status", "paid"),
        ("sales", "marketing_sent_at", "2026-01-01T00:00:00Z|today"), ("people", "country", "Nederland"),
        ("people", "birth_date", "17-05-1990"), ("people", "language", "Dutch!"), ("people", "kind", "human"),
        ("suppressions", "scope", "list"), ("suppressions", "reason", "bounced"), ("suppressions", "at", "now"),
    ],
)  # fmt: skip
def test_a_cell_that_cannot_be_read_rejects_its_row_and_names_the_column(kind: Kind, column: str, cell: str) -> None:
    told = fault(kind, **{column: cell})
    assert told.startswith(column.replace("__", ".") + ": ") and told.endswith(".")
    assert cell not in told or cell == "-1"


def test_every_fault_of_a_row_is_told() -> None:
    rejected = one("consents", email="nobody", granular="ja", given_at="gisteren")
    assert isinstance(rejected, Rejected)
    assert [reason.partition(":")[0] for reason in rejected.reasons] == ["email", "granular", "given_at"]


@pytest.mark.parametrize("cell", ["", "  ", "anna", "anna@", "=cmd@evil", "a@b.nl,c@d.nl"])
def test_a_row_without_an_address_is_rejected(cell: str) -> None:
    assert fault("consents", email=cell).startswith("email: ")


def test_an_address_is_kept_in_its_one_form() -> None:
    stated = one("people", email="  Anna@EXAMPLE.org ")
    assert isinstance(stated, Stated) and stated.address == "anna@example.org"


@pytest.mark.parametrize("kind", ["consents", "sales", "suppressions"])
def test_another_controllers_record_is_rejected(kind: Kind) -> None:
    assert fault(kind, controller_id="globex").startswith("controller_id: is another controller's")
    assert isinstance(one(kind, controller_id="acme"), Stated)


def test_a_lift_is_rejected_and_an_empty_one_is_no_lift() -> None:
    assert "no import lifts an opt-out" in fault("suppressions", lifted_at="2026-03-02T10:00:00Z")
    assert isinstance(one("suppressions", lifted_at=""), Stated)


def test_a_cell_read_once_is_read_the_same_again() -> None:
    reader = Native("consents", ["email", "granular", "given_at"], "acme")
    cells = ["a@b.nl", " true ", "2026-03-02T11:00:00+01:00"]
    assert reader.read(cells) == reader.read(cells)
    assert isinstance(reader.read(["a@b.nl", " True ", ""]), Rejected)


# Values


def test_every_field_of_the_schema_has_its_column() -> None:
    consent, sale = law_facts.consent(), law_facts.sale()
    consent["evidence"] = dict.fromkeys(consent["evidence"], "x")
    every = {**consent, "expires_at": "x", "withdrawn_at": "x", "last_interaction_at": "x", "product_categories": []}
    every["double_opt_in"] = dict.fromkeys(consent["double_opt_in"], "x")
    assert set(cells_of(every)) == set(CONSENT)
    assert {*cells_of(sale), "relation_ended_at"} == set(SALE)
    assert {name for fields in FIELDS.values() for name in fields} >= set(law_facts.base()["recipient"])


@settings(max_examples=200, deadline=None)
@given(record=law_strategies.consent)
def test_a_whole_consent_comes_back_as_it_was(record: Json) -> None:
    """Native cells of a full record read to the same facts."""
    record = {**record, "controller_id": "acme"}
    assert read_cells("consents", cells_of(record)) == record
    assert Consent.from_dict(record)


@settings(max_examples=200, deadline=None)
@given(record=law_strategies.sale)
def test_a_whole_sale_comes_back_as_it_was(record: Json) -> None:
    """Native cells of a full record read to the same facts."""
    record = {**record, "controller_id": "acme"}
    assert read_cells("sales", cells_of(record)) == record
    assert Sale.from_dict(record)


def test_whatever_is_absent_the_record_can_be_read_by_the_law() -> None:
    assert Consent.from_dict({**said("consents"), "id": "1"})
    assert Sale.from_dict({**said("sales"), "id": "1"})


def decided(facts: Json) -> Decision:
    return decide(Facts.from_dict(facts), packs())


def test_nothing_but_an_address_never_opens_a_way() -> None:
    """A consent or sale of which only the address is known blocks in every pack."""
    for code in ("NL", "BE", "DE", "FR", "IE", "UK", "ES", "IT", "EU", "CA", "US", "XX"):
        facts = law_facts.base(code)
        facts["consents"], facts["sales"] = [{**said("consents"), "id": "1"}], [{**said("sales"), "id": "1"}]
        assert decided(facts).verdict == "block", code


@pytest.mark.parametrize(
    "column",
    ["purposes", "source", "given_at", "action", "evidence.method", "evidence.wording_version",
     "evidence.privacy_notice_version", "evidence.origin", "bundled_with_terms", "conditional_on_service", "granular",
     "double_opt_in.required"],
)  # fmt: skip
def test_a_consent_without_one_of_these_does_not_count(column: str) -> None:
    cells = cells_of(law_facts.consent())
    assert decided({**law_facts.base(), "consents": [read_cells("consents", cells)]}).verdict == "allow"
    cells.pop(column, None)
    cells.pop("double_opt_in.confirmed_at", None)
    record = read_cells("consents", cells)
    assert decided({**law_facts.base(), "consents": [record]}).verdict == "block"


@pytest.mark.parametrize(
    "column",
    ["kind", "status", "concluded_at", "product_categories", "address_source", "opt_out_offered_at_collection",
     "opt_out_used_at_collection", "privacy_notice_version", "opt_out_in_all_messages"],
)  # fmt: skip
def test_a_sale_without_one_of_these_does_not_count(column: str) -> None:
    facts = law_facts.base(message__product_categories=["wine"])
    cells = cells_of(law_facts.sale())
    assert decided({**facts, "sales": [read_cells("sales", cells)]}).verdict == "allow"
    del cells[column]
    assert decided({**facts, "sales": [read_cells("sales", cells)]}).verdict == "block"


@settings(max_examples=200, deadline=None)
@given(
    facts=law_strategies.facts | law_strategies.marketing_in_order, consent=law_strategies.consent,
    sale=law_strategies.sale,
    absent=st.sampled_from([*((0, name) for name in CONSENT), *((1, name) for name in SALE)]),
)  # fmt: skip
def test_an_absent_field_never_opens_a_way(facts: Json, consent: Json, sale: Json, absent: tuple[int, str]) -> None:
    """Leaving out a field never turns a block into an allow, but for those whose absence means none by contract."""
    which, column = absent
    if column in NEVER_BLOCKING and not (which == 1 and column == "product_categories"):
        return
    rows = [cells_of({**consent, "controller_id": "acme"}), cells_of({**sale, "controller_id": "acme"})]
    verdicts = []
    for _ in range(2):
        facts["consents"] = [read_cells("consents", rows[0])]
        facts["sales"] = [read_cells("sales", rows[1])]
        verdicts.append(decided(facts).verdict)
        rows[which].pop(column, None)
    assert verdicts[1] != "allow" or verdicts[0] == "allow"


def test_a_withdrawal_counts_even_where_the_row_leaves_open_what_was_withdrawn() -> None:
    """RULES 2.1.12: neither an older consent nor a sale opens a way past it."""
    good, bought = law_facts.consent(), law_facts.sale()
    for column in ("purposes", "source"):
        cells = cells_of({**law_facts.consent(), "id": "2", "withdrawn_at": "2026-01-01T00:00:00Z"})
        del cells[column]
        gone = read_cells("consents", cells)
        facts = law_facts.base(message__product_categories=["wine"])
        assert decided({**facts, "consents": [good]}).verdict == "allow"
        assert decided({**facts, "sales": [bought]}).verdict == "allow"
        found = decided({**facts, "consents": [good, gone], "sales": [bought]})
        assert (found.verdict, found.reason_code) == ("block", "CONSENT_WITHDRAWN"), column


def test_the_fields_of_people_and_suppressions() -> None:
    assert said("people", country="nl", language="NL-be", name="Anna", birth_date="1990-05-17", known="false") == {
        "country": "NL", "language": "nl-be", "name": "Anna", "birth_date": "1990-05-17", "known": False,
    }  # fmt: skip
    assert said("suppressions") == {"scope": "sender", "purpose": None, "reason": "admin", "at": None}
    assert said("suppressions", scope="purpose", purpose="events", reason="complaint")["purpose"] == "events"
    assert said("suppressions", scope="global", purpose="events")["purpose"] is None


def test_a_generated_id_depends_on_person_and_content_alone() -> None:
    record = said("consents", purposes="newsletter")

    def made(kind: Kind, key: bytes, content: dict[str, Any]) -> str:
        whole, plain = identified(kind, key, content)
        assert json.loads(plain) == whole == {**content, "id": whole["id"]} and plain == encode(whole)
        return str(whole["id"])

    first = made("consents", b"k" * 16, record)
    assert first == made("consents", b"k" * 16, dict(reversed(record.items())))
    others = [
        made("sales", b"k" * 16, record), made("consents", b"l" * 16, record),
        made("consents", b"k" * 16, {**record, "granular": True}),
    ]  # fmt: skip
    assert len({first, *others}) == 4


def test_an_id_that_is_given_is_kept_and_no_text_is_taken_for_a_missing_one() -> None:
    record = said("consents", purposes='"id":null,', **{"evidence.origin": '{"id":null}'})
    assert identified("consents", b"k" * 16, {**record, "id": "7"}) == (
        {**record, "id": "7"}, encode({**record, "id": "7"}),
    )  # fmt: skip
    nested = {**record, "evidence": {**record["evidence"], "id": None}}
    for content in (record, nested):
        whole, plain = identified("consents", b"k" * 16, content)
        assert plain == encode(whole) and json.loads(plain) == {**content, "id": whole["id"]}


def test_rejected_cells_are_written_so_that_they_read_the_same() -> None:
    cells = ['a "b"', "x,y", "two\nlines", "=1+1", ""]
    assert next(csv.reader(io.StringIO(table.written(cells, ","), newline=""))) == cells
