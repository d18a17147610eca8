"""What people may ask for: to be left alone for a while, to be put right, to see what is stored. As commands."""

import csv
import io
import json
import sqlite3
import stat
import zipfile
from pathlib import Path
from typing import Any

import pytest

from tests.installation import ANNA, WIM, Gateway, Installation, ago, consent, lines_of, newsletter, order, sale
from tests.story.test_import import person, taken

NEW = "anna.new@example.org"


def told(place: Installation, *args: object) -> str:
    """What a command that works says."""
    done = place.tool("person", *args, "--controller", "acme")
    assert done.returncode == 0, done.stderr.decode()
    return str(done.stdout.decode())


def refused(place: Installation, *args: object, code: int = 1) -> str:
    done = place.tool("person", *args, "--controller", "acme")
    assert done.returncode == code and not done.stdout, done.stdout.decode()
    said = str(done.stderr.decode())
    assert "@example.org" not in said
    return said


def whole(place: Installation) -> None:
    """The ledger stands, and what is stored follows from it."""
    for args in (("ledger", "verify"), ("ledger", "rebuild", "--check")):
        done = place.tool(*args)
        assert done.returncode == 0, done.stdout.decode() + done.stderr.decode()


# restriction


def test_a_restriction_holds_at_the_next_decision_until_it_is_lifted_in_due_form(gateway: Gateway) -> None:
    place = gateway.installation

    def blocked() -> list[str]:
        return [row["reason_code"] for row in place.report("blocked")]

    taken(place, "consents", [consent(ANNA)])
    gateway.send([ANNA], newsletter())
    assert blocked() == []
    assert "all" in told(place, "restrict", ANNA, "--reason", "she says the address is not hers")
    assert "(before)" in told(place, "restrict", ANNA, "--reason", "again")
    gateway.send([ANNA], newsletter("Weer wijn"))
    assert blocked() == ["PROCESSING_RESTRICTED"]
    assert "told" in refused(place, "lift", ANNA, "--reason", "it is hers", "--told-at", "2999-01-01T00:00:00Z")
    assert "began" in refused(place, "lift", ANNA, "--reason", "it is hers", "--told-at", ago(1))
    [stands] = person(place, ANNA).standing.restrictions
    since = stands.since.strftime("%Y-%m-%dT%H:%M:%SZ")
    assert "no such" in refused(place, "lift", ANNA, "--scope", "marketing", "--reason", "x", "--told-at", since)
    assert "Lifted" in told(place, "lift", ANNA, "--reason", "it is hers", "--told-at", since)
    gateway.send([ANNA], newsletter("Toch wijn"))
    assert len(blocked()) == 1
    assert "no such" in refused(place, "lift", ANNA, "--reason", "it is hers", "--told-at", since)
    whole(place)


def test_a_restriction_of_marketing_leaves_orders_alone_and_one_of_a_purpose_the_other_purposes(
    gateway: Gateway,
) -> None:
    place = gateway.installation
    taken(place, "consents", [consent(ANNA), consent(ANNA, purposes="events"), consent(WIM)])
    told(place, "restrict", ANNA, "--scope", "purpose", "--purpose", "events", "--reason", "weighing her objection")
    told(place, "restrict", WIM, "--scope", "marketing", "--reason", "weighing his objection")
    gateway.send([ANNA], newsletter())
    gateway.send([WIM], newsletter())
    gateway.send([WIM], order(WIM), login="orders")
    assert [row["reason_code"] for row in place.report("blocked")] == ["PROCESSING_RESTRICTED"]
    [shown] = lines_of(place.tool("person", "show", ANNA, "--controller", "acme", "--json"))
    assert [(one["scope"], one["purpose"]) for one in shown["restrictions"]] == [("purpose", "events")]
    [events] = person(place, ANNA).standing.restrictions
    assert (events.scope, events.purpose) == ("purpose", "events")


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("--scope", "purpose", "--reason", "x"), "--purpose"),
        (("--purpose", "events", "--reason", "x"), "--purpose"),
        (("--scope", "purpose", "--purpose", "shoes", "--reason", "x"), "no purpose 'shoes'"),
        (("--reason", " "), "--reason is empty"),
    ],
)
def test_a_restriction_that_says_too_little_is_refused(
    installation: Installation, args: tuple[str, ...], said: str
) -> None:
    assert said in refused(installation, "restrict", ANNA, *args)
    assert not person(installation, ANNA).seen


# rectification


def test_facts_are_corrected_and_what_stood_before_is_kept_as_a_hash(installation: Installation) -> None:
    taken(installation, "people", [{"email": ANNA, "name": "Ana", "country": "BE", "language": "fr", "kind": ""}])
    args = ("--set", "name=Anna Smit", "--set", "country=nl", "--set", "language=", "--set", "birth_date=1990-05-17")
    assert "birth_date, country, language, name" in told(installation, "rectify", ANNA, *args)
    stands = person(installation, ANNA).standing
    assert (stands.country, stands.language, str(stands.recipient.birth_date)) == ("NL", None, "1990-05-17")
    assert "nothing was different" in told(installation, "rectify", ANNA, "--set", "name=Anna Smit")
    [entry] = [one for one in entries(installation, ANNA) if one.kind == "rectification"]
    assert set(entry.fields["was"]) == {"name", "country", "language"}
    assert all(len(one) == 64 for one in entry.fields["was"].values())
    whole(installation)


def entries(place: Installation, address: str) -> list[Any]:
    import asyncio

    from gateway.app import opened_store
    from gateway.keys import key_ring
    from gateway.settings.load import load
    from gateway.store.contract import Who

    async def ask() -> list[Any]:
        config = load(place.config)
        ring = key_ring(config)
        async with opened_store(config) as store:
            [history] = await store.histories([Who("acme", ring.recipient_keys("acme", address), ())])
            return list(history.own.entries)

    return asyncio.run(ask())


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ((), "Nothing to correct"),
        (("--set", "shoe=42"), "NAME of name"),
        (("--set", "country=Holland"), "country: is not a country"),
        (("--email", "no address"), "not an e-mail address"),
        (("--email", ANNA.upper()), "letter case"),
        (("--set", "name=Anna"), "nobody with this address"),
    ],
)
def test_a_correction_that_cannot_be_is_refused(installation: Installation, args: tuple[str, ...], said: str) -> None:
    assert said in refused(installation, "rectify", ANNA, *args, code=1 if args else 2)


def test_a_corrected_address_takes_records_along_and_loses_no_opt_out(installation: Installation) -> None:
    """P3: what was objected to under the old address is objected to under the new one."""
    confirmed = {"double_opt_in.required": "true", "double_opt_in.confirmed_at": ago(160)}
    taken(installation, "consents", [consent(ANNA), consent(ANNA, purposes="events", **confirmed)])
    taken(installation, "sales", [sale(ANNA, "wine")])
    taken(installation, "people", [{"email": ANNA, "name": "Anna", "country": "NL"}])
    taken(installation, "suppressions", [{"email": ANNA, "scope": "purpose", "purpose": "events", "at": ago(20)}])
    told(installation, "restrict", ANNA, "--scope", "marketing", "--reason", "weighing")
    said = told(installation, "rectify", ANNA, "--email", NEW)
    assert "2 consents, 1 sales, 1 opt-outs, 1 restrictions" in said
    old, new = person(installation, ANNA), person(installation, NEW)
    assert {(s.scope, s.purpose) for s in old.suppressions} == {("purpose", "events"), ("sender", None)}
    assert [(s.scope, s.purpose) for s in new.suppressions] == [("purpose", "events")]
    news, events = new.standing.consents
    assert news.withdrawn_at is None and news.given_at == old.standing.consents[0].given_at
    assert events.withdrawn_at is not None and events.double_opt_in.confirmed_at is None
    assert [s.kind for s in new.standing.sales] == ["purchase"] and new.standing.country == "NL"
    assert [(one.scope, one.lifted_at) for one in new.standing.restrictions] == [("marketing", None)]
    [shown] = lines_of(installation.tool("person", "show", NEW, "--controller", "acme", "--json"))
    assert shown["address"] == NEW
    whole(installation)
    assert "on file under the new address" in refused(installation, "rectify", ANNA, "--email", NEW)


def test_nothing_moves_to_or_from_an_address_that_was_erased(installation: Installation) -> None:
    taken(installation, "consents", [consent(ANNA), consent(WIM)])
    told(installation, "erase", WIM)
    assert "erased" in refused(installation, "rectify", ANNA, "--email", WIM)
    assert "erased" in refused(installation, "rectify", WIM, "--set", "name=Wim")
    assert "erased" in refused(installation, "restrict", WIM, "--reason", "x")
    assert person(installation, ANNA).suppressions == ()


def test_of_a_person_whose_key_is_lost_a_restriction_is_taken_and_nothing_is_lifted(installation: Installation) -> None:
    taken(installation, "consents", [consent(ANNA)])
    told(installation, "restrict", ANNA, "--scope", "marketing", "--reason", "first")
    with sqlite3.connect(installation.dir / "keys.db") as db:
        kept = db.execute("SELECT * FROM person_keys WHERE controller_id = 'acme'").fetchall()
        db.execute("DELETE FROM person_keys WHERE controller_id = 'acme'")
    db.close()
    assert "Restricted" in told(installation, "restrict", ANNA, "--reason", "second")
    assert "cannot be read" in refused(installation, "lift", ANNA, "--reason", "x", "--told-at", ago(0))
    assert "cannot be read" in refused(installation, "rectify", ANNA, "--set", "name=Anna")
    with sqlite3.connect(installation.dir / "keys.db") as db:
        db.executemany("INSERT OR REPLACE INTO person_keys VALUES (?, ?, ?)", kept)
    db.close()
    assert [one.scope for one in person(installation, ANNA).standing.restrictions] == ["marketing"]
    assert installation.tool("ledger", "rebuild").returncode == 0
    assert {one.scope for one in person(installation, ANNA).standing.restrictions} == {"marketing", "all"}
    whole(installation)


# access and portability


def exported(place: Installation, address: str, folder: Path, *args: object) -> dict[str, bytes]:
    told(place, "export", address, "--out", folder, *args)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    files = {file.name: file.read_bytes() for file in folder.iterdir()}
    assert all(stat.S_IMODE(file.stat().st_mode) == 0o600 for file in folder.iterdir())
    return files


def test_a_person_gets_all_that_is_on_file_readable_and_as_data(gateway: Gateway, tmp_path: Path) -> None:
    place = gateway.installation
    taken(place, "consents", [consent(ANNA), consent(ANNA, purposes="events"), consent(WIM)])
    taken(place, "sales", [sale(ANNA, "wine")])
    taken(place, "people", [{"email": ANNA, "name": "=Anna", "country": "NL", "language": "nl", "external_id": "17"}])
    gateway.send([ANNA], newsletter("Nieuwe wijnen"))
    taken(place, "suppressions", [{"email": ANNA, "scope": "purpose", "purpose": "newsletter", "at": ago(0)}])
    gateway.send([ANNA], newsletter("Te laat"))
    files = exported(place, ANNA.upper(), tmp_path / "anna")
    assert set(files) == {"access.html", "access.json", "portable.json", "portable.csv"}
    access = json.loads(files["access.json"])
    assert access["person"]["address"] == ANNA and access["person"]["name"] == "=Anna"
    assert {purpose for one in access["consents"] for purpose in one["purposes"]} == {"newsletter", "events"}
    assert [(one["subject"], one["decision"]) for one in access["decisions"]] == [
        ("Te laat", "block"), ("Nieuwe wijnen", "allow"),
    ]  # fmt: skip
    assert access["decisions"][0]["reason_code"] == "SUPPRESSED_PURPOSE" and access["decisions"][0]["article"]
    assert [one["purpose"] for one in access["opt_outs"]] == ["newsletter"]
    kinds = [one["kind"] for one in access["history"]]
    assert kinds[-5:] == ["consent", "sale", "person", "suppression", "withdrawal"]
    assert "command line" not in files["access.json"].decode()
    page = files["access.html"].decode()
    assert '<html lang="nl">' in page and "Te laat" in page and "Nieuwe wijnen" in page and "<script" not in page
    assert "Waarvoor u toestemming gaf" in page and WIM not in page
    whole(place)
    [looked] = [one for one in entries(place, ANNA) if one.kind == "looked_at"]
    assert (looked.fields["why"], looked.fields["by"]) == ("access", "command line")
    assert "purpose" not in looked.fields


def test_what_may_be_taken_along_has_nothing_derived_and_no_cell_that_runs(gateway: Gateway, tmp_path: Path) -> None:
    place = gateway.installation
    taken(place, "consents", [consent(ANNA)])
    taken(place, "people", [{"email": ANNA, "name": "=1+1", "undeliverable": "true"}])
    gateway.send([ANNA], newsletter())
    files = exported(place, ANNA, tmp_path / "anna", "--language", "de")
    portable = files["portable.json"].decode()
    assert "Ihre Daten" in files["access.html"].decode()
    for derived in ("undeliverable", "proof_grade", "reason_code", "decision"):
        assert derived in files["access.json"].decode() and derived not in portable
    rows = list(csv.DictReader(io.StringIO(files["portable.csv"].decode("utf-8-sig"))))
    assert {"record": "person", "field": "name", "value": "'=1+1"} in rows
    assert {"record": "provided.consents.1", "field": "purposes", "value": "newsletter"} in rows


def test_an_export_is_a_new_zip_or_folder_and_says_when_nothing_is_on_file(
    installation: Installation, tmp_path: Path
) -> None:
    told(installation, "export", ANNA, "--out", tmp_path / "nobody.zip")
    with zipfile.ZipFile(tmp_path / "nobody.zip") as book:
        access = json.loads(book.read("access.json"))
    assert access["consents"] == access["history"] == access["decisions"] == []
    assert stat.S_IMODE((tmp_path / "nobody.zip").stat().st_mode) == 0o600
    assert not person(installation, ANNA).seen
    assert "exists" in refused(installation, "export", ANNA, "--out", tmp_path / "nobody.zip")


def test_of_whoever_was_erased_only_that_is_handed_out(installation: Installation, tmp_path: Path) -> None:
    taken(installation, "people", [{"email": ANNA, "name": "Anna"}])
    told(installation, "erase", ANNA)
    access = json.loads(exported(installation, ANNA, tmp_path / "anna")["access.json"])
    assert "name" not in access["person"] and access["history"] == [] and access["declared"] == {}
    assert [one["reason"] for one in access["opt_outs"]] == ["erasure"]
