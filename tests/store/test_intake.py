"""Many statements at once: their entries have places in the chain at once, and nothing unreadable is written over."""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway import record
from gateway.store import ahead, intake
from gateway.store.contract import Statement, Taken
from gateway.store.sealed_rows import SealedBatch, SealedRows
from gateway.store.sql_store import SqlStore
from suppression.ledger import encode
from suppression.vault import PLACE_BYTES, SECRET_BYTES, PersonSecret
from tests.installation import ROOT
from tests.store.places import Place
from tests.store.test_contract import CONSENT, NOW, stop
from tests.store.test_ledger_store import Keyed, consents, differences, findings


@pytest.fixture
def home(place: Place) -> Keyed:
    return Keyed(place)


@pytest.fixture
async def store(home: Keyed) -> AsyncIterator[SqlStore]:
    async with home.opened() as opened:
        yield opened


def said(home: Keyed, address: str, *, encoded: bool = True, **fields: Any) -> Statement:
    record = {**CONSENT, **fields}
    return Statement(
        who=home.who(address), address=address, entries=[("consent", record)], profile={}, purposes=None,
        encoded=[encode(record)] if encoded else (),
    )  # fmt: skip


async def taken(store: SqlStore, *statements: Statement) -> list[Taken]:
    return await store.take_in(statements, at=NOW, dry=False)


def unsealed(home: Keyed) -> int:
    [(found,)] = home.ask("SELECT count(*) FROM ledger WHERE hash IS NULL")
    return int(found)


def outcomes(found: Sequence[Taken]) -> list[str]:
    return [one.outcome for one in found]


async def test_entries_of_an_import_are_sealed_when_they_are_written(home: Keyed, store: SqlStore) -> None:
    await consents(store, home, 3)  # these wait for their places, and get them first
    await taken(store, *(said(home, f"q{n}@example.org") for n in range(5)))
    assert unsealed(home) == 0
    await consents(store, home, 2, 3)
    await store.seal()
    await taken(store, *(said(home, f"r{n}@example.org") for n in range(5)))
    assert unsealed(home) == 0
    rows = await store.chain_entries("acme", after=b"", upto=b"\xff" * 17, n=99)
    assert [row.seq for row in rows] == list(range(1, 16))
    assert await findings(store, home) == [] and await differences(store) == []


async def test_the_index_by_subject_is_appended_to(home: Keyed, store: SqlStore) -> None:
    """What stands in front of the subjects of an import grows with its entries; their hashes are in no order."""
    await taken(store, *(said(home, f"q{n}@example.org") for n in range(50)))
    rows = await store.chain_entries("acme", after=b"", upto=b"\xff" * 17, n=99)
    subjects = [row.subject for row in rows]
    assert [one[:6] for one in subjects] == sorted(one[:6] for one in subjects)
    assert [one[PLACE_BYTES:] for one in subjects] != sorted(one[PLACE_BYTES:] for one in subjects)
    assert len({one[PLACE_BYTES:] for one in subjects}) == 50


def test_nothing_of_a_subject_but_its_place_is_told_by_the_place() -> None:
    """Whoever knows the place and the recipient key, but not the rest of the secret, finds no subject."""
    place, key = bytes(PLACE_BYTES), b"k" * 16
    one, other = (PersonSecret(place + os.urandom(SECRET_BYTES - PLACE_BYTES)) for _ in range(2))
    assert one.subject(key)[:PLACE_BYTES] == other.subject(key)[:PLACE_BYTES] == place
    assert one.subject(key)[PLACE_BYTES:] != other.subject(key)[PLACE_BYTES:]
    assert one.subject(key) == PersonSecret(one.secret).subject(key) != one.subject(b"j" * 16)


async def test_no_import_lowers_what_is_proved(home: Keyed, store: SqlStore) -> None:
    """A row without the proof that is on file is left; one that takes something back counts whatever it proves."""
    anna, evidence = "anna@example.org", {**CONSENT["evidence"], "method": None, "wording_version": None}
    asked = {**CONSENT["double_opt_in"], "requested_at": "2026-06-01T09:00:00Z"}
    confirmed = {**asked, "confirmed_at": "2026-06-01T09:05:00Z"}
    full = said(home, anna, double_opt_in=confirmed)
    assert outcomes(await taken(store, full)) == ["kept"]
    for less in (
        {"evidence": evidence},
        {"given_at": None},
        {"action": "unknown"},
        {"purposes": []},
        {"evidence": {**CONSENT["evidence"], "privacy_notice_version": None}},
        {"double_opt_in": asked},
    ):
        assert outcomes(await taken(store, said(home, anna, **{"double_opt_in": confirmed, **less}))) == ["outweighed"]
    assert outcomes(await taken(store, full)) == ["unchanged"]
    [person] = await store.people([home.who(anna)])
    assert [one.to_dict() for one in person.standing.consents] == [{**CONSENT, "double_opt_in": confirmed}]
    ends = {"evidence": evidence, "expires_at": "2027-01-01T00:00:00Z"}
    withdrawn = {"evidence": evidence, "withdrawn_at": "2026-10-01T09:00:00Z"}
    assert outcomes(await taken(store, said(home, anna, **ends), said(home, anna, **withdrawn))) == ["kept"] * 2
    [person] = await store.people([home.who(anna)])
    assert [one.withdrawn_at is not None for one in person.standing.consents] == [True]
    await store.seal()
    assert await findings(store, home) == await differences(store) == []


async def test_what_one_row_of_a_batch_proves_the_next_does_not_lower(home: Keyed, store: SqlStore) -> None:
    rows = [said(home, "bea@example.org"), said(home, "bea@example.org", action="unknown")]
    assert outcomes(await store.take_in(rows, at=NOW, dry=True)) == ["kept", "outweighed"]
    assert outcomes(await taken(store, *rows)) == ["kept", "outweighed"]
    better = {"evidence": {**CONSENT["evidence"], "origin": "https://acme.example/other"}}
    assert outcomes(await taken(store, said(home, "bea@example.org", **better))) == ["kept"]


async def test_behind_a_forged_end_record_nothing_is_sealed(home: Keyed, store: SqlStore) -> None:
    await taken(store, said(home, "anna@example.org"))
    home.ask("UPDATE tails SET seq = 7")
    assert outcomes(await taken(store, said(home, "bea@example.org"))) == ["kept"]
    assert unsealed(home) == 1


async def test_the_same_comes_out_with_and_without_what_was_made_ahead(
    home: Keyed, store: SqlStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two rows of one person, one of somebody known, and a second purpose later: prepared or not, the same."""
    documents = []
    for name in ("anna", "bea"):
        if name == "bea":
            monkeypatch.setattr(intake, "prepare", lambda statements, new: {})
        address = f"{name}@example.org"
        rows = [said(home, address, id=f"{name}1"), said(home, address, id=f"{name}2", encoded=name == "anna")]
        assert await taken(store, *rows) == [Taken("kept", True, False), Taken("kept", False, False)]
        assert outcomes(await taken(store, *rows, said(home, address, id=f"{name}3"))) == ["unchanged"] * 2 + ["kept"]
        [person] = await store.people([home.who(address)])
        documents.append([consent.id.removeprefix(name) for consent in person.standing.consents])
        assert await store.address("acme", person.recipient_key) == address
    assert documents == [["1", "2", "3"]] * 2
    assert await differences(store) == []


@given(
    st.emails() | st.text(max_size=9), st.dictionaries(st.sampled_from(["name", "external_id"]), st.text(max_size=9))
)
def test_a_profile_is_stored_as_its_canonical_json(address: str, profile: dict[str, str]) -> None:
    address = "".join(character for character in address if character.isprintable())
    assert ahead._filed(address, profile) == encode({"address": address, **profile})


def sealed_elsewhere(home: Keyed, statement: Statement, entry_id: bytes) -> tuple[Any, ...]:
    """A row as the process that reads a file hands it over: the fields of SealedRows."""
    who, random = statement.who, ahead.Random()
    [place] = who.recipient_keys
    [(kind, _)], [plain] = statement.entries, statement.encoded
    row = ahead.first_row("acme", place, statement.address, {}, kind, plain, alone=True, random=random)
    fresh = ahead.with_entry(row, "acme", place, plain, entry_id=entry_id, ring=home.ring, random=random)
    said = (statement.address, (kind,), (), {}, statement.purposes, False)
    return who.recipient_keys, who.global_keys, *said, fresh.secret.secret, *fresh[1:]


def batch_of(rows: Sequence[tuple[Any, ...]]) -> SealedBatch:
    return SealedBatch("acme", SealedRows(*zip(*rows, strict=True)), {}, {})


async def test_what_another_process_sealed_is_written_as_it_is_or_not_at_all(home: Keyed, store: SqlStore) -> None:
    """Behind a later entry of somebody else, and for people who are known or come twice, entries are made anew."""
    early = [ahead.new_id() for _ in range(3)]
    await consents(store, home, 1)
    await store.seal()
    late = [ahead.new_id() for _ in range(4)]
    batch = batch_of([
        sealed_elsewhere(home, said(home, address, id=f"{address}{number}"), entry_id)
        for number, (address, entry_id) in enumerate([
            ("anna@example.org", early[0]), ("bea@example.org", late[0]), ("bea@example.org", late[1]),
            ("p0@example.org", late[2]), ("carl@example.org", early[1]), ("dora@example.org", late[3]),
        ])
    ])  # fmt: skip
    assert outcomes(await store.take_in_sealed(batch, at=NOW)) == ["kept"] * 6
    assert outcomes(await store.take_in_sealed(batch, at=NOW)) == ["unchanged"] * 6
    entries = await store.chain_entries("acme", after=b"", upto=b"\xff" * 17, n=99)
    ids = [row.entry_id for row in entries]
    assert len(ids) == 7 and not set(ids) & set(early) and {late[0], late[1], late[2]} <= set(ids)
    written = {row.private for row in entries}
    as_made = [private in written for private in batch.rows.private]
    assert as_made == [False, True, False, False, False, True]
    assert await findings(store, home) == [] and await differences(store) == []
    assert await store.address("acme", home.key("dora@example.org")) == "dora@example.org"


@pytest.mark.parametrize("odd", ["nobody", "listed", "listed everywhere", "key lost", "end forged", "comes twice"])
async def test_a_batch_of_newcomers_comes_out_as_any_other(home: Keyed, store: SqlStore, odd: str) -> None:
    """Sealed elsewhere and written as it is, or, where somebody among them is not new, made here: the same is kept."""
    sealed, made_here = [], []
    for batch, rows in (("a", sealed), ("b", made_here)):
        people = [f"{batch}{n}@example.org" for n in range(6)]
        if odd == "comes twice":
            people[5] = people[2]
        rows += [said(home, one, id=f"{number}") for number, one in enumerate(people)]
        if odd == "listed":
            row = stop(home, people[3], None)[1]
            await store.opt_out(record.opt_out_acts(row), row, None)
        elif odd == "listed everywhere":
            row = replace(
                stop(home, people[3], None)[1], controller_id="", scope="global",
                recipient_key=home.who(people[3]).global_keys[0],
            )  # fmt: skip
            await store.opt_out([], row, None)
        elif odd == "key lost":
            await taken(store, said(home, people[3], id="old"))
            home.ask("DELETE FROM person_keys WHERE recipient_key = ?", home.key(people[3]), of="keys")
    await store.seal()
    if odd == "end forged":
        await taken(store, said(home, "first@example.org"))
        home.ask("UPDATE tails SET seq = 7")
    batch = batch_of([sealed_elsewhere(home, one, ahead.new_id()) for one in sealed])
    found = await store.take_in_sealed(batch, at=NOW)
    assert found == await taken(store, *made_here)
    standing = [
        [[person.readable, person.addressed, [one.id for one in person.standing.consents]] for person in people]
        for people in [await store.people([one.who for one in rows]) for rows in (sealed, made_here)]
    ]
    assert standing[0] == standing[1]
    entries = await store.chain_entries("acme", after=b"", upto=b"\xff" * 17, n=99)
    private = {entry.private for entry in entries}
    as_made = [one in private for one in batch.rows.private]
    known = {"listed": 3, "key lost": 3, "comes twice": 5}.get(odd)
    assert as_made == [number != known for number in range(6)]
    assert unsealed(home) == (12 if odd == "end forged" else 0)
    if odd not in ("key lost", "end forged"):
        assert await findings(store, home) == [] and await differences(store) == []
        assert await store.address("acme", sealed[0].who.recipient_keys[0]) == "a0@example.org"


async def test_rows_between_those_asked_for_are_not_mistaken_for_them(home: Keyed, store: SqlStore) -> None:
    """Neighbours are read with one range: everybody in it is on file, every other one is imported again."""
    people = sorted((f"p{n}@example.org" for n in range(60)), key=lambda one: home.who(one).recipient_keys[0])
    await taken(store, *(said(home, one) for one in people))
    for step in (2, 29):  # the second is so sparse that each is looked up on its own
        again = [said(home, one, id=f"again{step}") for one in people[::step]]
        assert outcomes(await taken(store, *again)) == ["kept"] * len(again)
        assert outcomes(await taken(store, *again)) == ["unchanged"] * len(again)
    assert await differences(store) == []


HOLDER = """
import sqlite3, sys
db = sqlite3.connect(sys.argv[1], isolation_level=None)
for batch in range(100):
    db.execute("BEGIN IMMEDIATE")
    if not batch:
        print("held", flush=True)
    end = __import__("time").monotonic() + 0.05
    while __import__("time").monotonic() < end:
        pass
    db.execute("COMMIT")
    __import__("time").sleep(0.01)
print("done", flush=True)
"""


async def test_who_waits_gets_its_turn_between_two_batches_of_another_process(tmp_path: Path) -> None:
    """P3: an opt-out is not held up until an import is through. A server's locks are given in the order asked for."""
    home = Keyed(tmp_path)
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(home.data)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    try:
        assert holder.stdout is not None and holder.stdout.readline() == "held\n"
        async with home.opened() as store:
            for n in range(10):
                await store.record([home.consent(f"s{n}@example.org")])
        assert holder.poll() is None  # it was not through when all ten had been written
    finally:
        holder.kill()
        await asyncio.to_thread(holder.wait)
        assert holder.stdout is not None
        holder.stdout.close()


async def test_what_does_not_open_is_left_alone(home: Keyed, store: SqlStore) -> None:
    """A lost key must not cost the person what was stored under it."""
    await taken(store, said(home, "anna@example.org"), said(home, "bea@example.org"))
    key = home.who("anna@example.org").recipient_keys[0]
    [(lost,)] = home.ask("SELECT wrapped FROM person_keys WHERE recipient_key = ?", key, of="keys")
    home.ask("DELETE FROM person_keys WHERE recipient_key = ?", key, of="keys")
    rows = [said(home, "anna@example.org", id="2"), said(home, "bea@example.org", id="2")]
    assert outcomes(await taken(store, *rows)) == ["unreadable", "kept"]
    [anna] = await store.people([home.who("anna@example.org")])
    assert not anna.readable
    home.ask("INSERT INTO person_keys VALUES ('acme', ?, ?)", key, lost, of="keys")
    [anna] = await store.people([home.who("anna@example.org")])
    assert anna.readable and [consent.id for consent in anna.standing.consents] == [CONSENT["id"]]
    assert await differences(store) == []
