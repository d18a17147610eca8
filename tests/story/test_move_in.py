"""Lists of other tools moving in, and imports taken back, on a real installation."""

import contextlib
import hashlib
import io
import json
import sqlite3
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gateway.files.formats import FORMATS
from gateway.store.contract import Store
from gateway.store.imported import Import
from gateway.take_back import take_back
from tests.installation import ANNA, Gateway, Installation, consent, lines_of, newsletter
from tests.story.relay import with_store
from tests.story.test_import import everything, person, write

VECTORS = Path(__file__).resolve().parent.parent / "vectors" / "import"
STATED = (
    "--purpose", "newsletter", "--wording", "w1", "--notice-version", "pn1", "--method", "web_form", "--action",
    "active_tick", "--separate", "--by", "Jan",
)  # fmt: skip
ABOUT_PEOPLE = ("consentgate.db/standing", "consentgate.db/suppressions", "consentgate.db/people")


def audience(place: Installation) -> Path:
    """A Mailchimp export as it is downloaded."""
    file = place.dir / "audience_export_1.zip"
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted((VECTORS / "mailchimp").glob("*.csv")):
            archive.write(path, path.name)
    return file


def taken(place: Installation, file: Path, *more: object, kind: str = "all") -> dict[str, Any]:
    """Import a file; returns what the last line says, which adds everything up."""
    return lines_of(place.tool("import", kind, file, "--json", *more))[-1]


def undone(place: Installation, import_id: str) -> dict[str, Any]:
    return lines_of(place.tool("import", "undo", import_id, "--json"))[-1]


def whole(place: Installation) -> bool:
    """The standing is what the ledger amounts to, and the ledger is whole."""
    return all(place.tool("ledger", *words).returncode == 0 for words in (("rebuild", "--check"), ("verify",)))


def test_a_mailchimp_audience_moves_in_and_the_next_mail_is_decided_by_it(gateway: Gateway) -> None:
    place = gateway.installation
    told = taken(place, audience(place), *STATED)
    assert (told["format"], told["kept"], told["rejected"], told["contradictions"]) == ("mailchimp", 11, 1, 1)
    [pair] = told["first_contradictions"]
    assert (pair["line"], pair["opt_out_line"]) == (5, 2) and pair["part"].startswith("subscribed")
    assert told["notes"] == {"dates without zone read as UTC": 8}
    people = [f"{name}@example.org" for name in ("anna", "bea", "carl", "dora", "emil", "fien")]
    gateway.send(people, newsletter())
    gateway.eventually(lambda: len(place.report("blocked", "--addresses")) == 5)
    codes = {row["recipient"]: row["reason_code"] for row in place.report("blocked", "--addresses")}
    assert codes == {
        "bea@example.org": "OPT_IN_PENDING_CONFIRMATION", "carl@example.org": "CONSENT_UNPROVEN",
        "dora@example.org": "SUPPRESSED_SENDER", "emil@example.org": "COMPLAINT_RECEIVED",
        "fien@example.org": "ADDRESS_UNDELIVERABLE",
    }  # fmt: skip


def test_rejected_rows_of_a_member_come_back_corrected(installation: Installation) -> None:
    taken(installation, audience(installation), *STATED)
    rejected = installation.dir / "audience_export_1.subscribed_email_audience_export_1.rejected.csv"
    text = rejected.read_text("utf-8")
    assert text.splitlines()[1].endswith("6,row: is not an e-mail address. Write it as name@example.com.")
    assert rejected.stat().st_mode & 0o777 == 0o600
    rejected.write_text(text.replace("geen adres", "gijs@example.org"), "utf-8")
    told = taken(installation, rejected, *STATED)
    assert (told["kept"], told["rejected"], told["format"]) == (2, 0, "mailchimp")
    assert person(installation, "gijs@example.org").standing.known


def test_the_same_audience_again_changes_nobody(installation: Installation) -> None:
    file = audience(installation)
    taken(installation, file, *STATED)
    before = everything(installation)
    assert taken(installation, file, *STATED)["kept"] == 0
    after = everything(installation)
    assert all(after[table] == before[table] for table in ABOUT_PEOPLE)


def test_opt_outs_come_with_whatever_is_wanted(installation: Installation) -> None:
    taken(installation, audience(installation), kind="consents")
    assert person(installation, "emil@example.org").suppressions


def test_a_dry_run_is_written_down_nowhere(installation: Installation) -> None:
    before = everything(installation)
    told = taken(installation, audience(installation), "--dry-run", *STATED)
    assert told["kept"] == 11 and told["import"] is None
    assert everything(installation) == before
    assert not list(installation.dir.glob("*.rejected.csv"))


OF_TOOLS = sorted(path for path in VECTORS.glob("*/*.*") if path.parent.name in FORMATS)


@pytest.mark.parametrize("file", OF_TOOLS, ids=lambda path: f"{path.parent.name}-{path.name}")
def test_every_vector_is_taken_through_the_command(installation: Installation, file: Path) -> None:
    copy = installation.dir / file.name
    copy.write_bytes(file.read_bytes())
    told = taken(installation, copy, "--format", file.parent.name)
    assert told["format"] == file.parent.name and told["kept"] > 0 and told["format"] in FORMATS
    assert whole(installation)


def test_what_is_stated_needs_a_name_and_a_purpose_that_is_declared(installation: Installation) -> None:
    file = audience(installation)
    before = everything(installation)
    nameless = installation.tool("import", "all", file, "--purpose", "newsletter")
    assert nameless.returncode == 1 and b"--by NAME" in nameless.stderr
    unknown = installation.tool("import", "all", file, "--purpose", "nieuws", "--by", "Jan")
    assert unknown.returncode == 1 and b"no purpose 'nieuws'" in unknown.stderr
    unseen = installation.tool("import", "all", file, "--wording", "w9", "--by", "Jan", "--dry-run")
    assert unseen.returncode == 0 and b"no wording 'w9' is kept at acme" in unseen.stderr
    nowhere = installation.tool("import", "all", file, "--timezone", "Mars/Olympus")
    assert nowhere.returncode == 1 and b"no time zone" in nowhere.stderr
    own = write(installation, "own.csv", [consent(ANNA)])
    stated = installation.tool("import", "consents", own, "--wording", "w9", "--by", "Jan")
    assert stated.returncode == 1 and b"native file says itself" in stated.stderr
    kindless = installation.tool("import", "all", own)
    assert kindless.returncode == 1 and b"Say consents, sales, people or suppressions" in kindless.stderr
    assert everything(installation) == before


# Archives that are none


def packed(*members: tuple[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members:
            archive.writestr(name, data)
    return out.getvalue()


GOOD = ("subscribed_1.csv", (VECTORS / "mailchimp/subscribed_email_audience_export_1.csv").read_bytes())


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (packed(GOOD, ("../evil.csv", b"email\n")), "a name that points elsewhere"),
        (packed(GOOD, ("/etc/evil.csv", b"email\n")), "a name that points elsewhere"),
        (packed(GOOD, ("bomb.csv", b"0" * 30_000_000)), "packed tighter than any list"),
        (packed(GOOD, ("inner.zip", packed(GOOD))), "which is no list in CSV or JSON"),
        (packed(GOOD, ("unsubscribed_1.csv", b"Email Address,LEID,UNSUB_TIME\ncaf\xe9@b.nl,1,\n")), "byte 0xE9"),
        (packed(GOOD, ("other.csv", b"Email,Reason,Created At\na@b.nl,MANUAL,\n")), "Import them apart"),
        (packed(GOOD, ("other.csv", b"Naam,Postcode\n")), "no format has the header ('Naam', 'Postcode')"),
        (packed(("[Content_Types].xml", b"<x/>"), ("xl/sheet.xml", b"<x/>")), "is an Excel workbook"),
        (packed(), "holds no list"),
        (packed(GOOD)[:-40], "no whole ZIP"),
        (packed(*[(f"{n}.csv", b"email\n") for n in range(300)]), "more than an audience"),
    ],
)  # fmt: skip
def test_an_archive_one_should_not_trust_is_refused_whole(installation: Installation, data: bytes, told: str) -> None:
    file = installation.dir / "audience.zip"
    file.write_bytes(data if data[:4] == b"PK\3\4" else b"PK\3\4" + data)
    before = everything(installation)
    done = installation.tool("import", "all", file)
    assert done.returncode == 1 and told in done.stderr.decode(), done.stderr.decode()
    assert everything(installation) == before
    assert sorted(path.name for path in installation.dir.parent.iterdir()) == ["installation"]


def test_a_broken_member_is_refused_before_anything_is_taken(installation: Installation) -> None:
    whole_file = packed(GOOD)
    place = whole_file.index(b"subscribed_1.csv") + 60
    file = installation.dir / "audience.zip"
    file.write_bytes(whole_file[:place] + bytes([whole_file[place] ^ 0xFF]) + whole_file[place + 1 :])
    before = everything(installation)
    done = installation.tool("import", "all", file)
    assert done.returncode == 1 and b"cannot be unpacked" in done.stderr
    assert everything(installation) == before


def test_text_in_another_encoding_is_named_with_the_way_out(installation: Installation) -> None:
    file = installation.dir / "list.csv"
    file.write_bytes("email,name\na@b.nl,Zoë\n".encode("cp1252"))
    done = installation.tool("import", "people", file)
    assert done.returncode == 1
    said = done.stderr.decode()
    assert "line 2" in said and "byte 0xEB is number 10 of the line, 21 of the file, in Windows-1252 it is ë" in said
    assert "iconv -f WINDOWS-1252 -t UTF-8" in said
    file.write_bytes("email\na@b.nl\n".encode("utf-16"))
    done = installation.tool("import", "people", file)
    assert done.returncode == 1 and b"UTF-16" in done.stderr and b"iconv -f UTF-16" in done.stderr


# An import is taken back


def test_an_import_taken_back_leaves_its_opt_outs_and_nothing_else(installation: Installation) -> None:
    told = taken(installation, audience(installation), *STATED)
    done = undone(installation, told["import"])
    assert (done["people"], done["unknown"], done["opted_out"], done["already"]) == (6, 4, 2, False)
    anna = person(installation, ANNA)
    assert not anna.standing.known and anna.standing.consents == ()
    assert len(everything(installation)["consentgate.db/people"]) == 2  # of those who are unknown again nothing is kept
    assert not person(installation, "fien@example.org").standing.recipient.undeliverable
    for name in ("dora", "emil"):
        assert person(installation, f"{name}@example.org").suppressions
    assert whole(installation)


def test_taken_back_twice_changes_nothing_more(installation: Installation) -> None:
    told = taken(installation, audience(installation), *STATED)
    undone(installation, told["import"])
    before = everything(installation)
    assert undone(installation, told["import"][:12])["already"] is True
    assert everything(installation) == before
    assert whole(installation)
    [row] = lines_of(installation.tool("import", "list", "--json"))
    assert (row["state"], row["by"], row["format"]) == ("undone", "Jan", "mailchimp")
    assert row["stated"]["purpose"] == "newsletter" and row["counts"]["kept"] == 11


def test_an_import_that_the_list_calls_undone_is_taken_back_all_the_same(installation: Installation) -> None:
    """What somebody writes into the list of imports keeps nothing, and is found."""
    told = taken(installation, audience(installation), *STATED)
    assert whole(installation)
    with contextlib.closing(sqlite3.connect(installation.dir / "consentgate.db")) as db, db:
        db.execute("UPDATE imports SET undone_at = 1")
    found = installation.tool("ledger", "verify")
    assert found.returncode == 1 and f"{told['import']} was taken back at 1970-01-01T".encode() in found.stdout
    done = undone(installation, told["import"])
    assert (done["people"], done["already"]) == (6, False)
    assert not person(installation, ANNA).standing.known and whole(installation)


def test_what_stood_before_stands_again_and_what_came_later_stays(installation: Installation) -> None:
    first = consent(ANNA, id="7")
    taken(installation, write(installation, "1.csv", [first]), kind="consents")
    wrong = write(installation, "2.csv", [{**first, "evidence.origin": "elsewhere"}, consent("bea@example.org")])
    middle = taken(installation, wrong, kind="consents")["import"]
    people = [{"email": ANNA, "country": "BE", "language": "fr"}]
    taken(installation, write(installation, "3.csv", people), kind="people")
    assert installation.tool("suppress", "add", "bea@example.org", "--purpose", "newsletter").returncode == 0
    undone(installation, middle)
    anna, bea = person(installation, ANNA), person(installation, "bea@example.org")
    assert [one.evidence.origin for one in anna.standing.consents] == ["https://acme.example/newsletter"]
    assert (anna.standing.country, anna.standing.language) == ("BE", "fr")
    assert bea.standing.consents == () and [one.purpose for one in bea.suppressions] == ["newsletter"]
    assert whole(installation)


def test_a_withdrawal_that_came_with_an_import_stays(installation: Installation) -> None:
    rows = [consent(ANNA, id="7", withdrawn_at="2026-10-01T09:00:00Z"), consent("bea@example.org")]
    brought = taken(installation, write(installation, "c.csv", rows), kind="consents")["import"]
    done = undone(installation, brought)
    assert (done["opted_out"], done["unknown"]) == (1, 1)
    [kept] = person(installation, ANNA).standing.consents
    assert kept.withdrawn_at is not None
    assert whole(installation)


def test_an_undoing_forgets_no_count_of_an_import_that_ended_meanwhile(installation: Installation) -> None:
    brought = taken(installation, write(installation, "c.csv", [consent(ANNA)]), kind="consents")["import"]

    async def end_late(store: Store, _: object) -> Import:
        [ended] = await store.imports("acme")
        await take_back(store, replace(ended, counts=None), by="test", now=ended.at)  # read while it was under way
        [left] = await store.imports("acme")
        return left

    left = with_store(installation, end_late)
    assert left.counts is not None and left.counts["kept"] == 1 and left.undone_at is not None
    assert undone(installation, brought)["already"] is True and whole(installation)


def test_an_undone_import_can_be_run_again_and_is_another(installation: Installation) -> None:
    file = write(installation, "c.csv", [consent(ANNA)])
    one = taken(installation, file, kind="consents")["import"]
    undone(installation, one)
    two = taken(installation, file, kind="consents")
    assert two["kept"] == 1 and two["import"] != one
    undone(installation, two["import"])
    assert not person(installation, ANNA).standing.known and whole(installation)


def test_whoever_was_mailed_meanwhile_keeps_the_row_that_reports_need(gateway: Gateway) -> None:
    place = gateway.installation
    gateway.send(["eerder@example.org"], newsletter())
    brought = taken(place, write(place, "c.csv", [consent(f"{n}@example.org") for n in ("eerder", "later", "nooit")]),
                    kind="consents")["import"]  # fmt: skip
    gateway.send(["later@example.org"], newsletter("Twee"))
    gateway.eventually(lambda: sum(row["accepted"] for row in place.report("campaigns")) == 2)
    before = len(everything(place)["consentgate.db/people"])
    assert undone(place, brought)["unknown"] == 3
    assert len(everything(place)["consentgate.db/people"]) == before - 1
    assert whole(place)


def test_an_import_that_is_not_there_is_not_taken_back(installation: Installation) -> None:
    for name in ("ffffffff", "0"):
        done = installation.tool("import", "undo", name)
        assert done.returncode == 1 and b"consentgate import list" in done.stderr


def test_the_ledger_says_what_was_imported_and_by_whom_and_no_address(installation: Installation) -> None:
    told = taken(installation, audience(installation), *STATED)
    exported = installation.tool("ledger", "export")
    assert exported.returncode == 0, exported.stderr.decode()
    text = exported.stdout.decode()
    assert told["import"] in text and "example.org" not in text and "Jan" not in text
    assert "import" in {json.loads(line).get("kind") for line in text.splitlines()}


# Lists of hashes


def test_whose_hash_is_on_a_list_is_not_mailed_and_is_on_the_list_from_then_on(gateway: Gateway) -> None:
    place = gateway.installation
    file = write(place, "do-not-mail.txt", [{"x": "y"}])
    file.write_bytes((VECTORS / "hashes/sha256.txt").read_bytes())
    [one, whole_list] = lines_of(place.tool("import", "suppressions", file, "--json"))
    assert (one["kept"], whole_list["format"]) == (2, "hashes")
    [again, _] = lines_of(place.tool("import", "suppressions", file, "--json"))
    assert (again["kept"], again["unchanged"]) == (0, 2)
    gateway.send([ANNA], newsletter())
    gateway.eventually(lambda: len(place.report("blocked")) == 1)
    [row] = place.report("blocked", "--addresses")
    assert (row["recipient"], row["reason_code"]) == (ANNA, "SUPPRESSED_SENDER")
    [listed] = lines_of(place.tool("suppress", "list", "--json"))
    assert (listed["source"], listed["scope"]) == ("hash-list", "sender")
    entries = len(everything(place)["consentgate.db/ledger"])
    gateway.send([ANNA], newsletter("Nog een keer"))
    gateway.eventually(lambda: len(place.report("blocked")) == 2)
    assert len(everything(place)["consentgate.db/ledger"]) == entries
    assert whole(place)
    # the first by the list alone, the second by an entry of her own; both say where it comes from
    copies = [one["message_id"] for one in place.report("blocked")]
    told = [lines_of(place.tool("report", "explain", copy, "--json", "--language", "en"))[0] for copy in copies]
    assert [one["explanation"]["facts"][0]["source"] for one in told] == ["hash-list", "hash-list"]
    assert all("on a list of hashes of the sender since" in one["text"] for one in told), told


def test_a_message_to_many_who_are_on_a_list_of_hashes_is_answered_and_each_is_on_the_list(gateway: Gateway) -> None:
    place = gateway.installation
    many = [f"many{n}@example.org" for n in range(120)]
    file = place.dir / "list.txt"
    file.write_text("".join(hashlib.sha256(one.encode()).hexdigest() + "\n" for one in many))
    assert lines_of(place.tool("import", "suppressions", file, "--json"))[-1]["kept"] == len(many)
    gateway.send(many, newsletter())
    gateway.eventually(lambda: len(place.report("blocked")) == len(many))
    assert {row["reason_code"] for row in place.report("blocked")} == {"SUPPRESSED_SENDER"}
    listed = lines_of(place.tool("suppress", "list", "--json"))
    assert len({row["recipient"] for row in listed if row["source"] == "hash-list"}) == len(many)
    assert whole(place)


def test_hashes_of_every_algorithm_are_met_and_bad_lines_are_rejected(installation: Installation) -> None:
    installation.load("consents", [consent(name) for name in (ANNA, "carl@example.org", "dora@example.org")])
    md5 = installation.dir / "list.csv"
    md5.write_bytes((VECTORS / "hashes/md5.csv").read_bytes())
    [one, _] = lines_of(installation.tool("import", "all", md5, "--json"))
    assert (one["kept"], one["rejected"]) == (1, 1)
    assert (installation.dir / "list.rejected.csv").read_text().splitlines()[1].startswith('no hash,4,"hash: is no MD5')
    sha512 = installation.dir / "more.txt"
    sha512.write_text(hashlib.sha512(b"dora@example.org").hexdigest() + "\n")
    installation.tool("import", "all", sha512)
    assert [bool(person(installation, f"{name}@example.org").suppressions) for name in ("anna", "carl", "dora")] == [
        False, True, True,
    ]  # fmt: skip


def test_a_bare_hash_is_kept_nowhere(installation: Installation) -> None:
    """P9: the hash of an address is as good as the address for whoever has a list of addresses."""
    file = installation.dir / "list.txt"
    digest = hashlib.sha256(ANNA.encode())
    file.write_text(digest.hexdigest() + "\n")
    assert installation.tool("import", "suppressions", file).returncode == 0
    file.unlink()
    held = b"".join(one.read_bytes() for one in installation.dir.glob("*.db*"))
    assert digest.digest() not in held and digest.hexdigest().encode() not in held


# A dry run with a diff


def foreseen(place: Installation, kind: str, file: Path, *more: object) -> list[dict[str, Any]]:
    """What a dry run says of each row, by line."""
    told = lines_of(place.tool("import", kind, file, "--dry-run", "--diff", "-", "--json", *more))
    return sorted((row for row in told if "changes" in row), key=lambda row: (row["kind"], row["line"]))


def test_a_dry_run_tells_of_each_row_what_it_would_change(installation: Installation) -> None:
    first, out, new = consent(ANNA, id="7"), consent("out@example.org"), consent("new@example.org")
    installation.load("consents", [first, out])
    installation.tool("suppress", "add", "out@example.org")
    installation.tool("person", "erase", "gone@example.org")
    rows = [
        {**first, "evidence.origin": "beurs"}, new, consent(ANNA, id="8", purposes="events"), out,
        consent("gone@example.org"), consent("nobody"), new, {**out, "id": "9"},
    ]  # fmt: skip
    file = write(installation, "more.csv", rows)
    before = everything(installation)
    told = foreseen(installation, "consents", file)
    assert [(row["line"], row["outcome"], row["stopped"]) for row in told] == [
        (2, "changed", False), (3, "new", False), (4, "added", False), (5, "unchanged", True), (6, "erased", True),
        (7, "rejected", False), (8, "unchanged", False), (9, "added", True),
    ]  # fmt: skip
    assert told[0]["changes"] == [
        {"field": "evidence.origin", "from": "https://acme.example/newsletter", "to": "beurs"}
    ]
    assert told[0]["address"] == ANNA and told[5]["reason"].startswith("email: is not an e-mail address")
    assert everything(installation) == before


def test_a_diff_of_people_and_suppressions_names_the_fields(installation: Installation) -> None:
    installation.load("people", [{"email": ANNA, "country": "NL", "name": "Anna"}])
    people = write(installation, "p.csv", [{"email": ANNA, "country": "BE", "name": "An", "undeliverable": "true"}])
    [row] = foreseen(installation, "people", people)
    assert {(one["field"], one["from"], one["to"]) for one in row["changes"]} == {
        ("country", "NL", "BE"), ("name", "Anna", "An"), ("undeliverable", "", "true"),
    }  # fmt: skip
    stops = write(installation, "s.csv", [{"email": ANNA, "scope": "purpose", "purpose": "events"}])
    [stop] = foreseen(installation, "suppressions", stops)
    assert (stop["outcome"], stop["address"]) == ("added", ANNA)
    assert {"field": "purpose", "from": "", "to": "events"} in stop["changes"]


def test_the_file_of_a_diff_is_new_private_and_runs_no_formula(installation: Installation) -> None:
    formula = write(installation, "f.csv", [consent("=cmd@example.org"), consent(ANNA)])
    out = installation.dir / "diff.csv"
    done = installation.tool("import", "consents", formula, "--dry-run", "--diff", out)
    assert done.returncode == 0 and b"2 would be kept" in done.stdout and b"example.org" not in done.stdout
    assert out.stat().st_mode & 0o777 == 0o600
    lines = out.read_text("utf-8").splitlines()
    assert lines[0] == "kind,line,address,outcome,stopped,changes,reason"
    assert any(line.startswith("consents,2,'=cmd@example.org,new,no,") for line in lines)
    again = installation.tool("import", "consents", formula, "--dry-run", "--diff", out)
    assert again.returncode == 1 and b"is not written over" in again.stderr
    wet = installation.tool("import", "consents", formula, "--diff", "-")
    assert wet.returncode == 1 and b"add --dry-run" in wet.stderr and not person(installation, ANNA).standing.known


def test_what_a_diff_foretells_is_what_happens(installation: Installation) -> None:
    file = audience(installation)
    told = foreseen(installation, "all", file, *STATED)
    kept = [row for row in told if row["outcome"] in ("new", "added", "changed")]
    assert len(kept) == taken(installation, file, *STATED)["kept"]
    again = foreseen(installation, "all", file, *STATED)
    assert {row["outcome"] for row in again} == {"unchanged", "rejected"}
