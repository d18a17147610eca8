"""Readers of other tools' files: what each row says, which tool a file is from, and that no opt-out is ever lost."""

import contextlib
import io
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import hypothesis.strategies as st
import pytest
from hypothesis import given

from gateway.files import entries, formats, hashes, moment, native
from gateway.files.entries import Entries
from gateway.files.formats import FORMATS, NAMES, OptOuts, Translated
from gateway.files.native import Native, Stated
from gateway.files.table import Refusal, Row, Table
from gateway.files.vendor import ORDER, Scribe, Terms, is_dead, plain

VECTORS = Path(__file__).resolve().parent.parent / "vectors" / "import"
NOW = datetime(2026, 11, 21, 10, 0, 0, tzinfo=UTC)
STATED = Terms(
    now=NOW, purposes=("newsletter",), wording="w1", notice="pn1", method="web_form", action="active_tick",
    separate=True, single_opt_in=True, by="Jan", purposes_declared=("newsletter", "events"),
)  # fmt: skip
PLAIN = Terms(now=NOW, purposes_declared=("newsletter", "events"), by="command line")


def sheet(text: str) -> tuple[str, Any]:
    """The format of a text and its rows, as an import finds them."""
    if text.lstrip()[:1] in "[{":
        names = entries.names([text])
        return formats.recognise(names, "suppressions"), Entries([text], names)
    first = next(line for line in text.splitlines(keepends=True) if line.strip())
    form = formats.sniff_line(first) or formats.recognise(Table([first], None).header, "suppressions")
    return form, Table(io.StringIO(text, newline=""), None, formats.headless(form, first))


def said(file: str, terms: Terms = PLAIN) -> list[tuple[int, str, Mapping[str, Any]]]:
    """What every row of a vector says, in the order in which it is taken in: line, kind, what matters of it."""
    path = VECTORS / file
    found = []
    opt_outs = OptOuts()
    for kind in ORDER:
        form, rows = sheet(path.read_text("utf-8"))
        assert form == path.parent.name
        own = Terms(**{name: getattr(terms, name) for name in Terms.__slots__} | {"part": path.name})
        translated = Translated(rows, FORMATS[form], own, kind, opt_outs)
        reader = Native(kind, translated.columns, "acme", ("newsletter", "events"))
        for row in translated:
            if row.fault is not None:
                found.append((row.line, "rejected", {"fault": row.fault}))
                continue
            stated = reader.read(row.cells)
            assert isinstance(stated, Stated), stated
            found.append((row.line, kind, {"address": stated.address, **stated.fields}))
    return found


def short(file: str, terms: Terms = PLAIN) -> list[tuple[Any, ...]]:
    """The same without what says nothing: opt-outs as address, scope, purpose, reason, time; dead addresses; people."""
    told: list[tuple[Any, ...]] = []
    for line, kind, fields in said(file, terms):
        if kind == "suppressions":
            told.append((
                line, fields["address"].partition("@")[0], fields["purpose"] or fields["scope"], fields["reason"],
                fields["at"],
            ))  # fmt: skip
        elif kind == "people":
            told.append(
                (line, fields["address"].partition("@")[0], "dead" if fields.get("undeliverable") else "person")
            )
        else:
            told.append((line, kind))
    return told


AT = "2026-01-01T00:00:00Z"


@pytest.mark.parametrize(
    ("file", "told"),
    [
        ("brevo/contacts.csv", [
            (3, "bea", "sender", "unsubscribe", None), (4, "carl", "sender", "unsubscribe", None),
            (2, "anna", "person"), (2, "consents"),
        ]),
        ("sendgrid/bounces.csv", [(2, "dead", "dead"), (4, "gone", "dead")]),
        ("sendgrid/invalid.csv", [(2, "dead", "dead")]),
        ("sendgrid/spam_reports.csv", [(2, "bea", "sender", "complaint", AT)]),
        ("sendgrid/spam_reports.json", [(1, "bea", "sender", "complaint", AT)]),
        ("sendgrid/unsubscribes.csv", [
            (2, "anna", "sender", "unsubscribe", AT), (3, "carl", "sender", "unsubscribe", "2026-01-02T03:04:05Z"),
        ]),
        ("sendgrid/group.json", [(1, "anna", "events", "unsubscribe", AT), (2, "bea", "sender", "unsubscribe", AT)]),
        ("mailgun/unsubscribes.csv", [
            (2, "anna", "sender", "unsubscribe", "2022-10-21T11:02:55Z"),
            (3, "bea", "events", "unsubscribe", "2022-10-21T09:02:55Z"),
            (4, "carl", "sender", "unsubscribe", "2022-10-21T11:02:55Z"),
            (4, "carl", "events", "unsubscribe", "2022-10-21T11:02:55Z"),
        ]),
        ("mailgun/unsubscribes.json", [
            (1, "anna", "sender", "unsubscribe", "2022-10-21T11:02:55Z"),
            (2, "bea", "events", "unsubscribe", "2022-10-21T11:02:55Z"),
        ]),
        ("mailgun/bounces.csv", [(2, "dead", "dead")]),
        ("mailgun/complaints.csv", [(2, "bea", "sender", "complaint", "2022-10-21T11:02:55Z")]),
        ("ses/suppressed.json", [(2, "bea", "sender", "complaint", AT), (1, "dead", "dead")]),
        ("ses/suppressed.csv", [(2, "bea", "sender", "complaint", None), (1, "dead", "dead")]),
        ("ses/lines.json", [(2, "bea", "sender", "complaint", None), (1, "dead", "dead")]),
        ("ses/contacts.json", [(1, "anna", "events", "unsubscribe", AT), (2, "bea", "sender", "unsubscribe", AT)]),
        ("postmark/dump.json", [
            (2, "bea", "sender", "complaint", "2026-01-02T08:04:05Z"),
            (3, "anna", "sender", "unsubscribe", "2026-01-02T08:04:05Z"),
            (4, "carl", "sender", "admin", "2026-01-02T08:04:05Z"), (1, "dead", "dead"),
        ]),
        ("listmonk/subscribers.csv", [
            (3, "bea", "sender", "unsubscribe", "2026-02-02T14:04:05Z"),
            (4, "carl", "sender", "admin", "2026-02-02T14:04:05Z"), (2, "anna", "person"), (2, "consents"),
        ]),
        ("usesend/suppressions.csv", [
            (3, "bea", "sender", "complaint", AT), (4, "anna", "sender", "admin", AT), (2, "dead", "dead"),
        ]),
        ("mailchimp/unsubscribed_email_audience_export_1.csv", [
            (2, "dora", "sender", "unsubscribe", "2026-02-01T07:00:00Z"),
            (3, "emil", "sender", "complaint", "2026-02-02T07:00:00Z"),
        ]),
        ("mailchimp/cleaned_email_audience_export_1.csv", [(2, "fien", "dead")]),
    ],
)  # fmt: skip
def test_what_the_rows_of_each_tool_say(file: str, told: list[tuple[Any, ...]]) -> None:
    assert short(file) == told


def test_a_group_unsubscribe_without_its_group_stops_everything() -> None:
    """The API lists the members of a group as bare addresses."""
    assert formats.recognise(["email"], None) == "native"  # which is why --format has to say so
    rows = Entries([(VECTORS / "sendgrid/group_members.json").read_text("utf-8")], ["email"])
    told = [
        one.cells["email"] for row in rows for one in FORMATS["sendgrid"].read({"email": row.cells[0]}, Scribe(PLAIN))
    ]
    assert told == ["anna@example.org", "bea@example.org"]


def consents(terms: Terms) -> dict[str, Mapping[str, Any]]:
    file = "mailchimp/subscribed_email_audience_export_1.csv"
    return {fields["address"]: fields for _, kind, fields in said(file, terms) if kind == "consents"}


def test_a_mailchimp_sign_up_proves_its_time_and_its_confirmation_and_nothing_else() -> None:
    anna = consents(PLAIN)["anna@example.org"]
    assert anna["given_at"] == "2026-05-02T10:00:00Z"
    assert anna["double_opt_in"]["confirmed_at"] == "2026-05-02T10:04:31Z"
    assert anna["evidence"] == {
        "method": None, "wording_version": None, "privacy_notice_version": None, "origin": "Mailchimp audience",
    }  # fmt: skip
    assert (anna["purposes"], anna["action"], anna["granular"], anna["source"]) == (
        [],
        "unknown",
        False,
        "imported_legacy",
    )


def test_a_confirmation_that_is_not_one_confirms_nothing() -> None:
    """Bea's two times are equal: a form without confirmation. Carl was added by somebody: he has no OPTIN_TIME."""
    found = consents(PLAIN)
    assert found["bea@example.org"]["double_opt_in"]["confirmed_at"] is None
    assert found["carl@example.org"]["given_at"] is None
    assert found["carl@example.org"]["double_opt_in"]["confirmed_at"] is None


def test_what_is_stated_for_all_rows_is_kept_with_who_stated_it() -> None:
    bea = consents(STATED)["bea@example.org"]
    assert (bea["purposes"], bea["action"], bea["granular"]) == (["newsletter"], "active_tick", True)
    assert (bea["bundled_with_terms"], bea["conditional_on_service"]) == (False, False)
    assert bea["double_opt_in"]["required"] is False
    assert bea["evidence"]["wording_version"] == "w1" and bea["evidence"]["privacy_notice_version"] == "pn1"
    assert bea["evidence"]["origin"].startswith("Mailchimp audience; stated at import by Jan: purpose, wording, notice")


def test_one_choice_for_two_purposes_is_separate_for_neither() -> None:
    two = Terms(**{name: getattr(STATED, name) for name in Terms.__slots__} | {"purposes": ("newsletter", "events")})
    assert consents(two)["bea@example.org"]["granular"] is False


def test_a_stated_column_gives_the_time_where_the_file_has_none() -> None:
    terms = Terms(now=NOW, given_column="created_at", by="Jan")
    [anna] = [fields for _, kind, fields in said("listmonk/subscribers.csv", terms) if kind == "consents"]
    assert anna["given_at"] == "2025-01-02T15:04:05Z"


def test_a_row_that_says_when_it_left_is_out_whatever_its_file_is_called() -> None:
    row = {"email_address": "a@b.nl", "unsub_time": "2026-01-01 00:00:00", "leid": "1"}
    terms = Terms(now=NOW, part="subscribed_1.csv")
    assert [one.kind for one in FORMATS["mailchimp"].read(row, Scribe(terms))] == ["suppressions"]
    nobody = Terms(now=NOW, part="nonsubscribed_1.csv")
    assert [one.kind for one in FORMATS["mailchimp"].read({"email_address": "a@b.nl"}, Scribe(nobody))] == ["people"]


def test_an_opt_out_dated_ahead_counts_from_the_import() -> None:
    assert Scribe(PLAIN).opt_out("a@b.nl", at="2027-01-01T00:00:00Z").cells["at"] == ""
    assert Scribe(PLAIN).opt_out("a@b.nl", at="no date").cells["at"] == ""


# Instants


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("2026-01-02 03:04:05", "2026-01-02T03:04:05Z"),
        ("2026-01-02", "2026-01-02T00:00:00Z"),
        ("2026-01-02T03:04:05.678+01:00", "2026-01-02T02:04:05Z"),
        ("2026-01-02 03:04:05.999999999 +0000 UTC", "2026-01-02T03:04:05Z"),
        ("2026-01-02 03:04:05 -0330 NST", "2026-01-02T06:34:05Z"),
        ("1767225600", AT),
        ("1767225600123", AT),
        ("1767225600.5", AT),
        ("Fri, 02 Jan 2026 03:04:05 -0000", "2026-01-02T03:04:05Z"),
        ("Fri, 02 Jan 2026 03:04:05 EST", "2026-01-02T08:04:05Z"),
        ("Fri Jan 02 2026 03:04:05 GMT-0500 (Eastern Standard Time)", "2026-01-02T08:04:05Z"),
        ("21/11/2025 03:04:05", "2025-11-21T03:04:05Z"),
        ("11-21-2025", "2025-11-21T00:00:00Z"),
        ("03/03/2026 10:00", "2026-03-03T10:00:00Z"),
    ],
)
def test_instants_as_other_tools_write_them(text: str, at: str) -> None:
    found = moment.read(text, UTC)
    assert found is not None and found.text == at


@pytest.mark.parametrize(
    "text", ["", "03/04/2026", "31/31/2026", "2026-13-01", "1", "99999999999999999999", "x", "0001-01-01"]
)
def test_what_is_no_sure_instant_is_none(text: str) -> None:
    assert moment.read(text, UTC) is None


def test_a_date_without_zone_is_read_in_the_one_given_and_counted() -> None:
    scribe = Scribe(Terms(now=NOW, zone=ZoneInfo("Europe/Amsterdam")))
    assert scribe.moment("2026-07-02 10:00:00") == "2026-07-02T08:00:00Z"
    assert scribe.moment("2026-07-02T10:00:00Z") == "2026-07-02T10:00:00Z"
    assert scribe.notes == {"dates without zone read as Europe/Amsterdam": 1}


def test_of_an_hour_that_passed_twice_an_opt_out_takes_the_second() -> None:
    zone = ZoneInfo("Europe/Amsterdam")
    early, late = (moment.read("2025-10-26 02:30:00", zone, late=late) for late in (False, True))
    assert early is not None and late is not None
    assert (early.text, late.text) == ("2025-10-26T00:30:00Z", "2025-10-26T01:30:00Z")


@given(st.text(max_size=60))
def test_no_text_makes_the_reader_of_instants_raise(text: str) -> None:
    found = moment.read(text, UTC)
    assert found is None or found.at.tzinfo is UTC


# Which tool


def test_every_vector_is_known_by_its_header_alone() -> None:
    for path in VECTORS.glob("*/*.*"):
        if path.name != "group_members.json":
            assert sheet(path.read_text("utf-8"))[0] == path.parent.name, path


def test_own_files_stay_own_whatever_they_look_like() -> None:
    for kind in native.KINDS:
        assert formats.recognise(native.columns(kind), kind) == "native"
    assert formats.recognise(["email", "reason"], "suppressions") == "native"
    assert formats.recognise(["email", "reason", "line", "reason"], "suppressions") == "native"


@pytest.mark.parametrize(
    ("header", "told"),
    [
        (["Naam", "Postcode"], "no format has the header ('Naam', 'Postcode')"),
        (["anna@example.org", "x"], "a name that looks like an address"),
        (["EmailAddress", "Reason", "SuppressionReason"], "could be ses or postmark"),
        (["email", "created"], "no format has the header ('email', 'created')"),
        (["address", "created_at"], "no format has the header ('address', 'created_at')"),
    ],
)
def test_what_nobody_knows_or_two_claim_is_refused_with_what_was_seen(header: list[str], told: str) -> None:
    with pytest.raises(Refusal) as refusal:
        formats.recognise(header, None)
    assert told in str(refusal.value) and "--format" in str(refusal.value)


@pytest.mark.parametrize(
    ("header", "tool"), [(["email", "created"], "sendgrid"), (["address", "created_at"], "mailgun")]
)
def test_columns_of_any_list_are_told_how_to_be_opt_outs(header: list[str], tool: str) -> None:
    with pytest.raises(Refusal, match=f"If it holds opt-outs.* --format {tool}, or import suppressions"):
        formats.recognise(header, None)


def test_a_format_that_is_claimed_for_the_file_of_another_tool_is_refused() -> None:
    brevo = ["CONTACT ID", "EMAIL", "FIRSTNAME", "ADDED_TIME", "emailBlacklisted"]
    with pytest.raises(Refusal, match=r"the header is that of Brevo contacts .*, not of mailchimp. Say --format brevo"):
        formats.check_claim("mailchimp", brevo)
    formats.check_claim("brevo", brevo)
    formats.check_claim("sendgrid", ["email"])  # nobody's: whoever claims it is believed


def test_the_names_of_formats_are_those_of_the_command() -> None:
    assert set(NAMES) == {"auto", "native", *FORMATS, "hashes"}


# JSON


def entries_of(text: str, size: int) -> list[Mapping[str, str]]:
    return list(entries.entries(text[at : at + size] for at in range(0, len(text), size)))


TEXTS = st.dictionaries(st.sampled_from(["email", "reason", "created"]), st.text(max_size=8), min_size=1)


@given(
    st.lists(TEXTS, min_size=1, max_size=8),
    st.integers(1, 40),
    st.sampled_from(["array", "lines", "document", "pages"]),
)
def test_entries_are_the_same_however_the_text_comes_in(records: list[dict[str, str]], size: int, way: str) -> None:
    document = json.dumps({"total": 3, "Suppressions": records, "paging": {"next": "x"}, "last": None})
    text = {
        "array": json.dumps(records), "lines": "\n".join(map(json.dumps, records)), "document": document,
        "pages": document + "\n" + document,
    }[way]  # fmt: skip
    wanted = [{name: value.strip() for name, value in record.items()} for record in records]
    assert entries_of(text, size) == (wanted * 2 if way == "pages" else wanted)


@pytest.mark.parametrize(
    "text", ['[{"email":"a@b.nl"}', '[{"email":"a@b', "[1]", '{"items":[{"address":"a"}', "[] x", "{"]
)
def test_a_list_that_was_cut_off_is_refused(text: str) -> None:
    with pytest.raises(Refusal):
        entries_of(text, 7)


@given(st.text(alphabet='{}[]",:\\ eaitms1\n', max_size=60), st.integers(1, 20))
def test_any_text_is_entries_or_a_refusal(text: str, size: int) -> None:
    with contextlib.suppress(Refusal):
        entries_of(text, size)


# What is never lost

HEADERS = {
    "mailchimp": ["email_address", "optin_time", "confirm_time", "confirm_ip", "unsub_time", "unsub_reason", "leid"],
    "brevo": ["email", "emailblacklisted", "added_time", "double_opt_in"],
    "sendgrid": ["email", "created", "ip"],
    "mailgun": ["address", "tags", "created_at"],
    "ses": ["emailaddress", "reason", "lastupdatetime"],
    "postmark": ["emailaddress", "suppressionreason", "origin", "createdat"],
    "listmonk": ["uuid", "email", "name", "attributes", "status", "updated_at"],
    "usesend": ["email", "reason", "created_at"],
}
CELLS = st.one_of(
    st.text(max_size=12),
    st.sampled_from(
        ["", "a@b.nl", "true", "no", "*", "events", "BOUNCE", "COMPLAINT", "HardBounce", "2026-01-01", "1767225600"]
    ),
)


@given(st.sampled_from(sorted(FORMATS)), st.data())
def test_readers_never_raise_and_what_they_say_the_native_reader_takes(name: str, data: st.DataObject) -> None:
    row = {column: data.draw(CELLS).strip() for column in HEADERS[name]}
    for kind in ORDER:
        translated = Translated(_One(list(row), list(row.values())), FORMATS[name], STATED, kind, OptOuts())
        reader = Native(kind, translated.columns, "acme", ("newsletter", "events"))
        for made in translated:
            if made.fault is None:
                assert isinstance(reader.read(made.cells), Stated)


class _One:
    """One row under a header."""

    def __init__(self, header: list[str], cells: list[str]) -> None:
        self.header, self._cells = header, cells
        self.columns, self.delimiter, self.width = tuple(header), ",", len(header)

    def __iter__(self) -> Any:
        yield Row(2, self._cells, None)


@given(st.text(min_size=1, max_size=10))
def test_a_flag_or_status_that_nobody_knows_is_an_opt_out(word: str) -> None:
    """An opt-out is never lost to a spelling."""
    blocked = FORMATS["brevo"].read({"email": "a@b.nl", "emailblacklisted": word}, Scribe(PLAIN))
    assert (blocked[0].kind == "suppressions") == (
        word.strip().lower() not in {"", "0", "false", "no", "n", "nee", "nein", "non", "f", "null", "none"}
    )
    status = FORMATS["listmonk"].read({"email": "a@b.nl", "status": word}, Scribe(PLAIN))
    assert (status[0].kind == "suppressions") == (word.lower() not in ("", "enabled"))


@pytest.mark.parametrize(
    ("code", "text", "dead"),
    [
        ("5.1.1", "", True), ("550", "no such user", True), ("550", "5.1.10 null mx", True), ("", "unknown", True),
        ("550", "5.7.1 policy", False), ("552", "5.2.2 full", False), ("421", "no such user", False),
        ("4.1.1", "", False), ("550", "blocked: spam", False), ("5.1.8", "bad sender", False),
    ],
)  # fmt: skip
def test_full_mailboxes_and_policies_kill_no_address(code: str, text: str, dead: bool) -> None:
    assert is_dead(code, text) is dead


# Contradictions and hashes


def test_who_agreed_and_opted_out_in_one_file_is_named_with_both_lines() -> None:
    text = "email,emailBlacklisted,contact_id\nanna@b.nl,false,1\nbea@b.nl,false,2\n\nANNA@b.nl,yes,3\n"
    opt_outs = OptOuts()
    pairs = []
    for kind in ORDER:
        translated = Translated(sheet(text)[1], FORMATS["brevo"], PLAIN, kind, opt_outs)
        list(translated)
        opt_outs.seal()
        pairs += [(one.line, one.other_line) for one in translated.contradictions]
    assert pairs == [(2, 5)]


@given(st.lists(st.integers(0, 50), max_size=30), st.lists(st.integers(0, 50), max_size=30))
def test_opt_outs_are_found_again_and_nobody_elses(out: list[int], asked: list[int]) -> None:
    opt_outs = OptOuts()
    for line, number in enumerate(out, 1):
        opt_outs.add(f"a{number}@example.org", "x", line)
    opt_outs.seal()
    for number in asked:
        found = opt_outs.of(f"A{number}@example.org")
        assert (found is not None) == (number in out)
        assert found is None or out[found[1] - 1] == number


def test_hashes_are_read_bare_or_in_a_column() -> None:
    for name, lines in (("sha256.txt", [1, 2]), ("md5.csv", [2])):
        form, rows = sheet((VECTORS / "hashes" / name).read_text("utf-8"))
        found = list(hashes.read(rows))
        assert form == "hashes" and [one.line for one in found if isinstance(one, hashes.Digest)] == lines
    assert [one.line for one in found if isinstance(one, hashes.NoDigest)] == [4]


def test_plain_names() -> None:
    assert [plain(name) for name in (" Email Address", "DOUBLE_OPT-IN", "emailBlacklisted")] == [
        "email_address", "double_opt_in", "emailblacklisted",
    ]  # fmt: skip
