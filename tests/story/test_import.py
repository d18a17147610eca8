"""`consentgate import` on a real installation: what is kept, what is rejected, and what no file can do."""

import asyncio
import base64
import contextlib
import csv
import os
import re
import sqlite3
import stat
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from gateway import take_in as story
from gateway.app import opened_store
from gateway.clerk import Summary
from gateway.files.native import FIELDS, Kind
from gateway.files.table import Refusal
from gateway.keys import key_ring
from gateway.reading import rejected_path
from gateway.settings.load import load
from gateway.store.contract import Person, Store, Who
from gateway.take_in import take_in
from suppression.suppression_list import first
from tests.installation import (
    ANNA,
    KLEED,
    NIEMAND,
    ROOT,
    WIM,
    Gateway,
    Installation,
    consent,
    lines_of,
    newsletter,
    program,
    sale,
)  # fmt: skip

NOW = datetime(2026, 11, 21, 10, 0, 0, tzinfo=UTC)
WITHDRAWN = "2026-10-01T09:00:00Z"


def write(place: Installation, name: str, rows: Sequence[Mapping[str, str]], mark: str = ",") -> Path:
    """Rows as a file in the installation's folder; its columns are all that occur."""
    columns = list(dict.fromkeys(column for row in rows for column in row))
    file = place.dir / name
    with file.open("w", newline="", encoding="utf-8") as out:
        writer = csv.DictWriter(out, columns, delimiter=mark)
        writer.writeheader()
        writer.writerows(rows)
    return file


def taken(place: Installation, kind: Kind, rows: Sequence[Mapping[str, str]], **more: Any) -> Summary:
    """Import rows with a clock that stands still."""
    return run(place, kind, write(place, f"{kind}.csv", rows), **more)


def run(place: Installation, kind: Kind, file: Path, *, controller: str = "acme", **more: Any) -> Summary:
    async def work() -> Summary:
        config = load(place.config)
        async with opened_store(config) as store:
            more.setdefault("now", NOW)
            return await take_in(
                file, kind, store=store, controller=config.controllers[controller], ring=key_ring(config), **more
            )

    return asyncio.run(work())


def person(place: Installation, address: str, controller: str = "acme") -> Person:
    """What the next decision is made on."""

    async def ask() -> Person:
        config = load(place.config)
        ring = key_ring(config)
        async with opened_store(config) as store:
            who = Who(controller, ring.recipient_keys(controller, address), ring.global_keys(address), address)
            return (await store.people([who]))[0]

    return asyncio.run(ask())


def counts(summary: Summary) -> tuple[int, int, int, int]:
    return summary.kept, summary.unchanged, summary.rejected, summary.skipped


def everything(place: Installation) -> dict[str, list[tuple[Any, ...]]]:
    """All rows of both databases."""
    found = {}
    for name in ("consentgate.db", "keys.db"):
        with contextlib.closing(sqlite3.connect(place.dir / name)) as db:
            for (table,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
                found[f"{name}/{table}"] = db.execute(f"SELECT * FROM {table}").fetchall()
    return found


def rejected(file: Path, mark: str = ",") -> list[dict[str, str]]:
    with rejected_path(file).open(newline="", encoding="utf-8") as lines:
        return list(csv.DictReader(lines, delimiter=mark))


# What is kept


def test_the_command_imports_tells_counts_and_the_same_file_again_changes_nothing(installation: Installation) -> None:
    file = write(installation, "c.csv", [consent(ANNA), consent("bea@example.org"), consent("no address")])
    args = ("import", "consents", file, "--controller", "acme")
    done = installation.tool(*args)
    assert done.returncode == 0, done.stderr
    assert b"3 rows: 2 kept (2 about new people), 0 unchanged, 1 rejected, 0 skipped" in done.stdout
    assert b"c.csv line 4: email: is not an e-mail address" in done.stderr and b"c.rejected.csv" in done.stderr
    assert b"To take it back: consentgate import undo" in done.stderr
    before = everything(installation)
    twice = installation.tool(*args)
    assert b"3 rows: 0 kept" in twice.stdout and b"To take it back" not in twice.stderr
    [again] = lines_of(installation.tool(*args, "--json"))
    assert [again[name] for name in ("rows", "kept", "unchanged", "rejected", "skipped")] == [3, 0, 2, 1, 0]
    assert again["first_rejected"][0]["line"] == 4
    after = everything(installation)
    # That it was run again is on record; nothing about a person is.
    assert {name for name in after if after[name] != before[name]} == {
        "consentgate.db/imports", "consentgate.db/ledger", "consentgate.db/tails",
    }  # fmt: skip
    assert len(after["consentgate.db/ledger"]) == len(before["consentgate.db/ledger"]) + 2


def test_a_running_gateway_decides_by_what_another_process_has_imported(gateway: Gateway) -> None:
    place = gateway.installation
    gateway.send([NIEMAND], newsletter())
    assert [row["reason_code"] for row in place.report("blocked")] == ["RECIPIENT_UNKNOWN"]
    done = program(
        "import", "consents", write(place, "more.csv", [consent(NIEMAND)]), "--config", place.config,
        "--controller", "acme",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    gateway.send([NIEMAND], newsletter("Na de import"))
    assert len(place.report("blocked")) == 1
    done = program(
        "import", "suppressions", write(place, "stop.csv", [{"email": NIEMAND}]), "--config", place.config,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    gateway.send([NIEMAND], newsletter("Na de afmelding"))
    assert [row["reason_code"] for row in place.report("blocked")] == ["SUPPRESSED_SENDER", "RECIPIENT_UNKNOWN"]


def test_what_was_imported_is_what_the_decision_reads(installation: Installation) -> None:
    taken(installation, "consents", [consent(ANNA, purposes="newsletter|events", product_categories="wine")])
    taken(installation, "sales", [sale(ANNA, "wine|spirits")])
    people = {"email": ANNA, "country": "be", "language": "nl", "kind": "legal_person", "name": "Anna", "known": "true"}
    taken(installation, "people", [people])
    stands = person(installation, ANNA).standing
    assert [c.purposes for c in stands.consents] == [("newsletter", "events")]
    assert [c.product_categories for c in stands.consents] == [("wine",)]
    assert [s.product_categories for s in stands.sales] == [("wine", "spirits")]
    assert (stands.country, stands.language, stands.recipient.kind) == ("BE", "nl", "legal_person")
    assert (stands.recipient.on_exclusion_register, stands.recipient.address_source) == (True, "unknown")


def test_what_was_declared_of_a_person_stays_until_it_is_declared_anew(installation: Installation) -> None:
    full = {"email": ANNA, "address_source": "own_collection", "on_exclusion_register": "false", "name": "Anna"}
    assert counts(taken(installation, "people", [full])) == (1, 0, 0, 0)
    assert counts(taken(installation, "people", [{"email": ANNA, "country": "NL"}])) == (1, 0, 0, 0)
    assert counts(taken(installation, "people", [{"email": ANNA, "country": "NL"}])) == (0, 1, 0, 0)
    assert counts(taken(installation, "people", [{"email": ANNA, "name": "Anna B."}])) == (1, 0, 0, 0)
    recipient = person(installation, ANNA).standing.recipient
    assert (recipient.address_source, recipient.on_exclusion_register) == ("own_collection", False)
    taken(installation, "people", [{"email": ANNA, "address_source": "purchased"}])
    assert person(installation, ANNA).standing.recipient.address_source == "purchased"


def test_a_dead_address_is_marked_and_good_news_is_not_believed(installation: Installation) -> None:
    taken(installation, "people", [{"email": ANNA, "undeliverable": "true"}, {"email": WIM, "address_valid": "false"}])
    taken(installation, "people", [{"email": ANNA, "undeliverable": "false"}, {"email": WIM, "address_valid": "true"}])
    assert [person(installation, who).standing.recipient.undeliverable for who in (ANNA, WIM)] == [True, True]


def test_a_person_in_many_rows_of_a_batch_has_all_of_them(installation: Installation) -> None:
    rows = [consent(ANNA, purposes=purpose) for purpose in ("newsletter", "events")] * 2
    summary = taken(installation, "consents", [*rows, consent(ANNA.upper(), purposes="events")])
    assert (counts(summary), summary.new_people) == ((2, 3, 0, 0), 1)
    assert len(person(installation, ANNA).standing.consents) == 2


def test_more_rows_than_memory_holds_are_all_taken(installation: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(story, "HELD", 7)
    monkeypatch.setattr(story, "BATCH", 3)
    seen: list[tuple[int, int]] = []
    rows = [consent(f"p{n}@example.org") for n in range(40)]
    summary = taken(installation, "consents", rows, progress=lambda done, size: seen.append((done, size)))
    assert counts(summary) == (40, 0, 0, 0)
    assert counts(taken(installation, "consents", rows)) == (0, 40, 0, 0)
    done, whole = seen[-1]
    assert done == whole and seen == sorted(seen)


def test_an_import_that_is_cut_short_keeps_what_it_committed_and_can_be_run_again(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(story, "BATCH", 10)
    rows = [consent(f"p{n}@example.org") for n in range(35)]
    kept = []

    def cut(done: int, whole: int) -> None:
        if done > whole / 3:  # the file was read; each call follows a commit
            kept.append(done)
        if len(kept) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        taken(installation, "consents", rows, progress=cut)
    assert counts(taken(installation, "consents", rows)) == (15, 20, 0, 0)


def test_adding_an_installation_key_makes_no_row_new(installation: Installation) -> None:
    rows = [consent(ANNA), consent(WIM)]
    taken(installation, "consents", rows)
    taken(installation, "suppressions", [{"email": KLEED, "at": WITHDRAWN}])
    keys = installation.dir / "keys/installation.key"
    keys.write_text(keys.read_text() + f"2 {base64.b64encode(os.urandom(32)).decode()}\n")
    assert counts(taken(installation, "consents", rows)) == (0, 2, 0, 0)
    assert counts(taken(installation, "suppressions", [{"email": KLEED, "at": WITHDRAWN}])) == (0, 1, 0, 0)
    assert len(person(installation, ANNA).standing.consents) == 1


# Records with an id of their own


def test_a_record_that_comes_again_under_its_id_is_corrected(installation: Installation) -> None:
    row = consent(ANNA, id="7", **{"double_opt_in.required": "true"})
    taken(installation, "consents", [row])
    confirmed = {**row, "double_opt_in.confirmed_at": "2026-10-02T09:00:00Z"}
    assert counts(taken(installation, "consents", [confirmed])) == (1, 0, 0, 0)
    [only] = person(installation, ANNA).standing.consents
    assert only.id == "7" and only.double_opt_in.confirmed_at is not None


def test_no_correction_loses_an_opt_out(installation: Installation) -> None:
    """P3: a re-sync of a record that was withdrawn, or of a sale where the opt-out was used, leaves it so."""
    taken(installation, "consents", [consent(ANNA, id="7", purposes="newsletter|events", withdrawn_at=WITHDRAWN)])
    taken(installation, "consents", [consent(ANNA, id="7", withdrawn_at="")])
    [only] = person(installation, ANNA).standing.consents
    assert only.withdrawn_at is not None and set(only.purposes) == {"newsletter", "events"}
    bought = sale(WIM, "wine", id="1", opt_out_used_at_collection="true", opt_out_in_all_messages="false")
    taken(installation, "sales", [bought])
    better = {"opt_out_used_at_collection": "false", "opt_out_in_all_messages": "true", "product_categories": "spirits"}
    taken(installation, "sales", [{**bought, **better}])
    [one] = person(installation, WIM).standing.sales
    assert (one.opt_out_used_at_collection, one.opt_out_in_all_messages) == (True, False)
    assert one.product_categories == ("spirits",)


def test_different_acts_under_one_id_are_all_kept(installation: Installation) -> None:
    anew = consent(ANNA, id="7", given_at="2026-10-02T09:00:00Z")
    rows = [consent(ANNA, id="7", withdrawn_at=WITHDRAWN), consent(ANNA, id="7", purposes="events"), anew]
    assert counts(taken(installation, "consents", rows)) == (3, 0, 0, 0)
    assert counts(taken(installation, "consents", rows)) == (0, 3, 0, 0)
    found = person(installation, ANNA).standing.consents
    assert [(c.purposes, c.withdrawn_at is None) for c in found] == [
        (("newsletter",), False), (("events",), True), (("newsletter",), True),
    ]  # fmt: skip
    bought = [sale(WIM, "wine", id="1"), sale(WIM, "wine", id="1", concluded_at="2026-10-02T09:00:00Z")]
    assert counts(taken(installation, "sales", bought)) == (2, 0, 0, 0)


def test_rows_of_one_file_that_contradict_each_other_are_named_and_the_later_one_is_rejected(
    installation: Installation,
) -> None:
    first = consent(ANNA, id="7")
    rows = [
        first, {**first, "evidence.origin": "elsewhere"}, first, consent(ANNA, id="7", purposes="events"),
        consent(WIM, id="8"), consent(WIM, id="8", withdrawn_at=WITHDRAWN), consent(KLEED, id="7"),
    ]  # fmt: skip
    summary = taken(installation, "consents", rows)
    assert counts(summary) == (5, 1, 1, 0)
    assert summary.first_rejected == [(
        3,
        "id: line 2 says something else of the same consent. Keep one of the two, or give each an id of its own.",
    )]  # fmt: skip
    origins = [one.evidence.origin for one in person(installation, ANNA).standing.consents]
    assert len(origins) == 2 and "elsewhere" not in origins
    [kept] = person(installation, WIM).standing.consents
    assert kept.withdrawn_at is not None  # the opt-out wins, whichever comes first
    bought = sale(WIM, "wine", id="1")
    sales = [bought, {**bought, "product_categories": "spirits"}, {**bought, "opt_out_used_at_collection": "true"}]
    assert counts(taken(installation, "sales", sales)) == (2, 0, 1, 0)
    people = [
        {"email": ANNA, "country": "NL"}, {"email": ANNA, "language": "nl"}, {"email": ANNA.upper(), "country": "BE"},
        {"email": ANNA, "undeliverable": "true"},
    ]  # fmt: skip
    summary = taken(installation, "people", people)
    assert counts(summary) == (3, 0, 1, 0)
    assert summary.first_rejected == [
        (4, "country: line 2 says something else of the same person. Keep one of the two.")
    ]


def test_a_withdrawal_that_comes_later_ends_the_consent_imported_before(installation: Installation) -> None:
    taken(installation, "consents", [consent(ANNA)])
    taken(installation, "consents", [consent(ANNA, withdrawn_at=WITHDRAWN)])
    ends = [c.withdrawn_at is not None for c in person(installation, ANNA).standing.consents]
    assert sorted(ends) == [False, True]  # the law counts the latest withdrawal against both (D1-6)


# What is rejected


def test_bad_rows_go_to_a_private_file_and_come_back_corrected(installation: Installation) -> None:
    rows = [consent(ANNA), consent("wim"), consent(KLEED, granular="ja"), consent("=1+1", **{"evidence.origin": "=A1"})]
    file = write(installation, "list.csv", rows, mark=";")
    with file.open("a", encoding="utf-8") as more:
        more.write("x;y\n" + ";".join(["z@example.org"] * (len(rows[0]) + 2)) + "\n")
    assert counts(run(installation, "consents", file)) == (1, 0, 5, 0)
    place = installation.dir / "list.rejected.csv"
    assert rejected_path(file) == place and stat.S_IMODE(place.stat().st_mode) == 0o600
    bad = rejected(file, ";")
    assert [row["line"] for row in bad] == ["3", "4", "5", "6", "7"]
    assert [row["email"] for row in bad] == ["wim", KLEED, "=1+1", "x", "z@example.org"]
    assert bad[1]["reason"].startswith("granular: must be true or false") and bad[2]["evidence.origin"] == "=A1"
    assert "Left over: z@example.org;z@example.org" in bad[4]["reason"]
    assert all(row["reason"][0].isalpha() for row in bad)
    again = installation.dir / "corrected.csv"
    again.write_text(place.read_text().replace("\nwim;", "\nwim@example.org;").replace(";ja;", ";true;"))
    assert counts(run(installation, "consents", again)) == (2, 0, 3, 0)


def test_rejected_suppressions_keep_their_own_reason_column(installation: Installation) -> None:
    rows = [{"email": "nobody", "reason": "complaint", "scope": "sender"}]
    file = write(installation, "stops.csv", rows)
    assert counts(run(installation, "suppressions", file)) == (0, 0, 1, 0)
    back = rejected_path(file)
    back.write_text(back.read_text().replace("nobody", ANNA))
    assert counts(run(installation, "suppressions", back)) == (1, 0, 0, 0)
    assert [row.reason for row in person(installation, ANNA).suppressions] == ["complaint"]


def test_the_file_of_rejected_rows_goes_when_nothing_is_rejected_any_more(installation: Installation) -> None:
    file = write(installation, "c.csv", [consent("nobody")])
    run(installation, "consents", file)
    assert rejected_path(file).exists()
    write(installation, "c.csv", [consent(ANNA)])
    assert run(installation, "consents", file).rejected_file is None
    assert not rejected_path(file).exists()


def test_another_controllers_rows_and_lifts_are_rejected(installation: Installation) -> None:
    assert counts(taken(installation, "consents", [consent(ANNA, controller_id="globex")])) == (0, 0, 1, 0)
    rows = [
        {"email": ANNA, "controller_id": "globex", "lifted_at": ""},
        {"email": ANNA, "controller_id": "acme", "lifted_at": "2026-11-01T00:00:00Z"},
        {"email": WIM, "controller_id": "acme", "lifted_at": ""},
    ]
    assert counts(taken(installation, "suppressions", rows)) == (1, 0, 2, 0)
    assert not person(installation, ANNA).suppressions and person(installation, WIM).suppressions


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"email,purpose\nanna@example.org,newsletter\n", "Did you mean purposes"),
        (b"email\nanna@example.org\n\xff\n", "line 3: is not UTF-8 text"),
        (b"", "the file is empty"),
    ],
)
def test_a_file_that_is_refused_leaves_everything_as_it_was(installation: Installation, data: bytes, told: str) -> None:
    file = installation.dir / "c.csv"
    file.write_bytes(data)
    before = everything(installation)
    done = installation.tool("import", "consents", file, "--controller", "acme")
    assert (done.returncode, done.stdout) == (1, b"") and told in done.stderr.decode()
    assert everything(installation) == before


def test_a_file_that_is_not_there_is_refused_and_a_wrong_kind_is_wrong_usage(installation: Installation) -> None:
    missing = installation.tool("import", "consents", installation.dir / "none.csv")
    assert missing.returncode == 1 and b"No such file" in missing.stderr
    assert installation.tool("import", "consents", installation.dir).returncode == 1
    assert installation.tool("import", "contacts", installation.dir / "none.csv").returncode == 2
    assert installation.tool("import", "consents").returncode == 2
    other = installation.tool("import", "consents", installation.dir / "none.csv", "--controller", "globex")
    assert other.returncode == 1 and b"Known: acme" in other.stderr


def test_a_name_nobody_declared_is_a_warning_and_no_reason_to_reject(installation: Installation) -> None:
    rows = [consent(ANNA, purposes="newsletter|nieuws"), consent(WIM, product_categories="beer")]
    file = write(installation, "c.csv", rows)
    done = installation.tool("import", "consents", file)
    assert done.returncode == 0 and b"2 kept" in done.stdout
    assert b"purpose nieuws is not declared" in done.stderr and b"category beer is not declared" in done.stderr
    assert b"newsletter is not declared" not in done.stderr


# What no file can do


def test_a_dry_run_writes_nothing_and_tells_what_would_happen(installation: Installation) -> None:
    taken(installation, "consents", [consent(ANNA)])
    file = write(installation, "c.csv", [consent(ANNA), consent(WIM), consent("nobody")])
    before, files = everything(installation), sorted(installation.dir.rglob("*.csv"))
    done = installation.tool("import", "consents", file, "--dry-run")
    assert b"1 would be kept (1 about new people), 1 unchanged, 1 would be rejected" in done.stdout
    assert b"line 4: email: " in done.stderr
    installation.tool("import", "suppressions", write(installation, "s.csv", [{"email": ANNA}]), "--dry-run")
    assert everything(installation) == before
    assert sorted(installation.dir.rglob("*.csv")) == sorted([*files, installation.dir / "s.csv"])


def test_no_import_lifts_an_opt_out_and_the_rows_concerned_are_counted(installation: Installation) -> None:
    """P3: opt-outs only grow."""
    taken(installation, "suppressions", [{"email": ANNA, "scope": "purpose", "purpose": "newsletter", "at": WITHDRAWN}])
    newer = consent(ANNA, given_at="2026-11-01T09:00:00Z")
    summary = taken(installation, "consents", [newer, consent(ANNA, purposes="events"), consent(WIM)])
    assert (counts(summary), summary.stopped) == ((3, 0, 0, 0), 1)
    taken(installation, "people", [{"email": ANNA, "country": "NL"}])
    [stands] = person(installation, ANNA).suppressions
    assert (stands.scope, stands.purpose, stands.lifted_at) == ("purpose", "newsletter", None)


def test_rows_of_an_erased_person_are_skipped_and_counted(installation: Installation) -> None:
    taken(installation, "suppressions", [{"email": ANNA, "reason": "erasure", "at": WITHDRAWN}])
    before = everything(installation)
    file = write(installation, "c.csv", [consent(ANNA.upper()), consent(WIM)])
    [summary] = lines_of(installation.tool("import", "consents", file, "--json"))
    assert (summary["kept"], summary["skipped"]) == (1, 1)
    assert counts(taken(installation, "sales", [sale(ANNA, "wine")])) == (0, 0, 0, 1)
    assert counts(taken(installation, "people", [{"email": ANNA, "name": "Anna"}])) == (0, 0, 0, 1)
    stands = person(installation, ANNA)
    assert not stands.standing.consents and not stands.standing.sales
    after = everything(installation)
    key = stands.recipient_key
    assert [row for row in after["consentgate.db/people"] if key in row] == []
    assert [r for r in after["consentgate.db/ledger"] if r not in before["consentgate.db/ledger"]] != []  # wim's
    assert b"erased" in installation.tool("import", "consents", file).stderr


def test_an_erasure_of_global_scope_skips_rows_too(installation: Installation) -> None:
    taken(installation, "suppressions", [{"email": ANNA, "reason": "erasure", "scope": "global"}])
    assert counts(taken(installation, "consents", [consent(ANNA)])) == (0, 0, 0, 1)


def test_suppressions_keep_scope_purpose_reason_and_time(installation: Installation) -> None:
    rows = [
        {"email": ANNA, "scope": "purpose", "purpose": "events", "reason": "unsubscribe", "at": WITHDRAWN},
        {"email": ANNA, "scope": "sender", "purpose": "", "reason": "complaint", "at": ""},
        {"email": ANNA, "scope": "", "purpose": "", "reason": "", "at": ""},
    ]
    assert counts(taken(installation, "suppressions", rows)) == (3, 0, 0, 0)
    found = {(s.scope, s.purpose, s.reason, s.at.isoformat()) for s in person(installation, ANNA).suppressions}
    assert found == {
        ("purpose", "events", "unsubscribe", "2026-10-01T09:00:00+00:00"),
        ("sender", None, "complaint", NOW.isoformat()), ("sender", None, "admin", NOW.isoformat()),
    }  # fmt: skip
    later = NOW.replace(hour=12)
    assert counts(taken(installation, "suppressions", rows, now=later)) == (0, 3, 0, 0)
    assert len(person(installation, ANNA).suppressions) == 3


def test_a_suppression_withdraws_what_was_agreed_before_it(installation: Installation) -> None:
    taken(installation, "consents", [consent(ANNA), consent(ANNA, given_at="2026-10-20T00:00:00Z")])
    taken(installation, "suppressions", [{"email": ANNA, "at": WITHDRAWN}])
    ended = [c.withdrawn_at is not None for c in person(installation, ANNA).standing.consents]
    assert ended == [True, False]


def second_controller(place: Installation) -> None:
    place.config.write_text(place.config.read_text() + SECOND)


SECOND = """
[controllers.globex]
legal_name = "Globex B.V."
domains = ["globex.example"]
country = "NL"

[controllers.globex.purposes.news]
title = { en = "news" }
[controllers.globex.streams.news]
class = "marketing"
purpose = "news"
from_domains = ["globex.example"]
route = "main"
ad_identifiable = true
directed_at_children = false
motivation = { ad_identifiable = "It says so.", directed_at_children = "It sells bolts." }
"""


def test_a_global_suppression_binds_every_controller_and_the_others_one(installation: Installation) -> None:
    """P8: controllers are strangers, but for what is meant for all."""
    second_controller(installation)
    taken(installation, "suppressions", [{"email": ANNA, "scope": "global"}, {"email": WIM, "scope": "sender"}])
    for controller in ("acme", "globex"):
        entry = first(person(installation, ANNA, controller).suppressions)
        assert entry is not None and (entry.scope, entry.controller_id) == ("global", None)
    assert not person(installation, WIM, "globex").suppressions
    assert counts(taken(installation, "suppressions", [{"email": ANNA, "scope": "global"}], controller="globex")) == (
        0, 1, 0, 0,
    )  # fmt: skip
    both = installation.tool("import", "people", write(installation, "p.csv", [{"email": ANNA}]))
    assert both.returncode == 1 and b"--controller" in both.stderr


def test_the_rows_of_a_lifted_suppression_do_not_bring_it_back(installation: Installation) -> None:
    row = {"email": ANNA, "at": WITHDRAWN}
    taken(installation, "suppressions", [row])
    with contextlib.closing(sqlite3.connect(installation.dir / "consentgate.db")) as db:
        db.execute("UPDATE suppressions SET lifted_at = at + 1000")
        db.commit()
    assert counts(taken(installation, "suppressions", [row])) == (0, 1, 0, 0)
    assert counts(taken(installation, "suppressions", [{**row, "at": "2026-11-01T00:00:00Z"}])) == (1, 0, 0, 0)


def test_nothing_of_a_person_stands_readable_in_the_database(installation: Installation) -> None:
    """P9, and the erasure of a person: ids from a file may name them, so no ledger entry shows one in clear."""
    rows = [consent("zeldzaam@example.org", id="klant-zeldzaam", **{"evidence.origin": "balie zeldzaam"})]
    taken(installation, "consents", rows)
    taken(installation, "people", [{"email": "zeldzaam@example.org", "name": "zeldzaam", "external_id": "zeldzaam-1"}])
    held = b"".join(file.read_bytes() for file in installation.dir.glob("*.db*"))
    assert len(held) > 10_000 and b"zeldzaam" not in held


async def test_a_folder_that_cannot_be_written_stops_at_the_first_rejected_row(
    installation: Installation, tmp_path: Path
) -> None:
    file = write(installation, "c.csv", [consent("nobody")])
    rejected_path(file).mkdir()
    config = load(installation.config)
    store: Store
    async with opened_store(config) as store:
        with pytest.raises(Refusal, match=r"c\.rejected\.csv cannot be written"):
            await take_in(
                file, "consents", store=store, controller=config.controllers["acme"], ring=key_ring(config), now=NOW
            )


def test_the_guide_names_every_column() -> None:
    guide = (ROOT / "docs/import.md").read_text("utf-8")
    for kind, fields in FIELDS.items():
        section = guide.partition(f"\n## {kind}\n")[2].partition("\n## ")[0]
        named = {name for line in section.splitlines() if line.startswith("| `")
                 for name in re.findall(r"`([a-z_.]+)`", line.split("|")[1])}  # fmt: skip
        assert named == {"email", *fields}, kind


def test_an_opt_out_whose_time_is_to_come_holds_at_once(installation: Installation) -> None:
    """Times without zone, or of a wrong clock: whoever said no has said it by now."""
    to_come = "2026-11-21T21:30:00Z"
    stops = [{"email": WIM, "scope": "sender", "reason": "objection", "at": to_come}]
    assert taken(installation, "suppressions", stops).kept == 1
    [row] = [one for one in person(installation, WIM).suppressions if one.reason == "objection"]
    assert row.at <= NOW
    assert taken(installation, "suppressions", stops).kept == 0
    ended = [consent(ANNA, id="c-ended", withdrawn_at=to_come)]
    assert taken(installation, "consents", ended).kept == 1
    assert [one.withdrawn_at for one in person(installation, ANNA).standing.consents if one.id == "c-ended"] == [NOW]
    assert taken(installation, "consents", ended).kept == 0
