"""The ledger's chain, its projection and erasure in a real database, with other processes beside."""

import asyncio
import contextlib
import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from gateway import prove
from gateway.record import opt_out_acts
from gateway.store import people
from gateway.store.ahead import new_id
from gateway.store.contract import Act, Statement, Stop, SuppressionRow
from gateway.store.evidence import Erased, Erasure
from gateway.store.sql_store import SqlStore
from suppression.chain_check import Finding
from tests.installation import ROOT
from tests.store.places import REFUSED, Place
from tests.store.test_contract import BLOCK, CONSENT, NOW, Home, ending, one, stop

WRITER = """
import asyncio, sys
from pathlib import Path
from gateway.store import postgres, sqlite
from suppression.vault import KeyRing
from tests.store.test_contract import Home

async def main():
    home = Home.__new__(Home)
    home.ring = KeyRing({1: bytes.fromhex(sys.argv[3])})
    names = sys.argv[1:3]
    opened = postgres.opened if "://" in names[0] else sqlite.opened
    async with opened(*(names if "://" in names[0] else map(Path, names)), home.ring) as store:
        for n in range(25):
            await store.record([home.consent(f"{sys.argv[4]}{n}.{m}@example.org") for m in range(4)])
            await store.seal()

asyncio.run(main())
"""


class Keyed(Home):
    """A home whose installation key is known, so that other processes can open it."""

    def __init__(self, place: Path | Place) -> None:
        super().__init__(place)
        self.secret = os.urandom(32)
        self.ring = type(self.ring)({1: self.secret})


@pytest.fixture
def home(place: Place) -> Keyed:
    return Keyed(place)


@pytest.fixture
async def store(home: Keyed) -> AsyncIterator[SqlStore]:
    async with home.opened() as opened:
        yield opened


def clock() -> datetime:
    return datetime.now(UTC)


async def findings(store: SqlStore, home: Keyed, controller: str = "acme", **more: Any) -> list[Finding]:
    result = prove.Verified(controller_id=controller)
    keys = prove.head_keys(home.ring)
    return [f async for f in prove.verify(store, keys, controller, result, clock=more.pop("clock", clock), **more)]


async def differences(store: SqlStore, *, write: bool = False, controller: str = "acme") -> list[str]:
    result = prove.Rebuilt(controller_id=controller)
    return [d.text async for d in prove.rebuild(store, controller, result, write=write)]


def tampered(home: Home, *statements: tuple[str, Sequence[object]] | str) -> None:
    """What somebody with the database in hand can do: no trigger stands in their way."""
    for statement in statements:
        sql, values = (statement, ()) if isinstance(statement, str) else statement
        home.ask(sql, *values, forged=True)


async def consents(store: SqlStore, home: Home, n: int, first: int = 0) -> None:
    await store.record([home.consent(f"p{k}@example.org", id=f"c{k}") for k in range(first, first + n)])


def erasure(home: Home, address: str) -> Erasure:
    return Erasure(controller_id="acme", recipient_keys=home.who(address).recipient_keys, at=NOW, by="test")


# sealing


async def test_entries_are_sealed_in_the_order_of_writing(home: Keyed, store: SqlStore) -> None:
    await consents(store, home, 1200)
    await store.seal()
    assert (await store.seal()).entries == 0
    await consents(store, home, 3, 1200)
    await store.seal()
    rows = await store.chain_entries("acme", after=b"", upto=b"\xff" * 17, n=9999)
    assert [row.seq for row in rows] == list(range(1, 1204))
    assert await findings(store, home) == []


async def test_several_processes_that_write_and_seal_at_once_make_one_chain(home: Keyed, store: SqlStore) -> None:
    """No fork: each of 300 entries of three processes has its own number, whoever sealed it."""
    running = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, str(home.data), str(home.keys), home.secret.hex(), name], cwd=ROOT
        )
        for name in "abc"
    ]
    for _ in range(20):
        await store.seal()
        await asyncio.sleep(0.05)
    assert [await asyncio.to_thread(one.wait, 120) for one in running] == [0, 0, 0]
    await store.seal()
    rows = await store.chain_entries("acme", after=b"", upto=b"\xff" * 17, n=9999)
    assert [row.seq for row in rows] == list(range(1, 301))
    assert await findings(store, home) == []


async def test_a_store_that_wrote_seals_before_it_is_closed(home: Keyed) -> None:
    async with home.opened() as store:
        await consents(store, home, 2)
    async with home.opened() as store:
        await store.opt_out(*stop(home, "p1@example.org"), None)
    assert home.ask("SELECT count(*), count(hash) FROM ledger") == [(4, 4)]


async def test_ids_grow_although_the_clock_goes_back(
    home: Keyed, store: SqlStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    await consents(store, home, 1)
    monkeypatch.setattr(people, "new_id", lambda: bytes(15) + b"\x01")
    await consents(store, home, 2, 1)
    await store.seal()
    rows = await store.chain_entries("acme", after=b"", upto=b"\xff" * 17, n=9)
    assert [row.seq for row in rows] == [1, 2, 3]
    assert await findings(store, home) == []


async def test_controllers_have_chains_of_their_own(home: Keyed, store: SqlStore) -> None:
    await consents(store, home, 2)
    other = home.consent("p1@example.org")
    await store.record([replace(other, controller_id="globex", recipient_key=home.key("p1@example.org", "globex"))])
    await store.seal()
    assert await store.ledgers() == ["acme", "globex"]
    ends = [(await store.chain_end(name)).tail for name in ("acme", "globex")]
    assert [end.seq for end in ends if end] == [2, 1]


async def test_what_was_sealed_cannot_be_changed_in_passing(home: Keyed, store: SqlStore) -> None:
    await consents(store, home, 1)
    await store.seal()
    await store.keep_heads([h] if (h := await prove.head(store, prove.head_keys(home.ring), "acme", NOW)) else [])
    for statement in (
        "UPDATE ledger SET kind = 'sale'", "DELETE FROM ledger", "UPDATE ledger SET hash = NULL",
        "DELETE FROM heads", "UPDATE heads SET seq = 9",
    ):  # fmt: skip
        with pytest.raises(REFUSED, match=r"append-only|kept"):
            home.ask(statement)


# verifying


async def test_an_unsealed_tail_is_a_warning_for_ten_seconds(home: Keyed, store: SqlStore) -> None:
    await consents(store, home, 2)
    await store.seal()
    await consents(store, home, 1, 2)
    result, keys = prove.Verified(controller_id="acme"), prove.head_keys(home.ring)
    assert [f async for f in prove.verify(store, keys, "acme", result, clock=clock)] == []
    assert (result.waiting, result.entries) == (1, 2)
    late = await findings(store, home, clock=lambda: clock() + timedelta(seconds=11))
    assert [f.what for f in late] == ["unsealed"]


@pytest.mark.parametrize("gone", [1, 3])
async def test_cutting_off_the_end_is_noticed(home: Keyed, store: SqlStore, gone: int) -> None:
    """P7: also the last entry, which nothing rests on but the record of the end."""
    await consents(store, home, 5)
    await store.seal()
    tampered(home, ("DELETE FROM ledger WHERE seq > ?", (5 - gone,)))
    assert [(f.seq, f.what) for f in await findings(store, home)] == [(6 - gone, "cut off")]


async def test_whoever_changes_the_record_of_the_end_too_is_noticed(home: Keyed, store: SqlStore) -> None:
    await consents(store, home, 5)
    await store.seal()
    tampered(
        home, "DELETE FROM ledger WHERE seq = 5",
        "UPDATE tails SET seq = 4, entry_id = (SELECT entry_id FROM ledger WHERE seq = 4), "
        "hash = (SELECT hash FROM ledger WHERE seq = 4)",
    )  # fmt: skip
    assert "end record" in {f.what for f in await findings(store, home)}


async def test_nothing_is_sealed_behind_a_forged_end(home: Keyed, store: SqlStore) -> None:
    """A sequencer that went on would make the forgery whole."""
    await consents(store, home, 3)
    await store.seal()
    tampered(home, "UPDATE tails SET seq = 7")
    await consents(store, home, 1, 3)
    done = await store.seal()
    assert (done.entries, done.refused) == (0, ("acme",))
    assert "end record" in {f.what for f in await findings(store, home)}


async def test_a_ledger_that_was_removed_whole_is_noticed(home: Keyed, store: SqlStore) -> None:
    await consents(store, home, 3)
    await store.seal()
    tampered(home, "DELETE FROM ledger", "DELETE FROM tails")
    assert [f.what for f in await findings(store, home)] == ["cut off"]


async def test_an_entry_slipped_in_is_noticed_before_and_after_the_next_sealing(home: Keyed, store: SqlStore) -> None:
    await consents(store, home, 4)
    await store.seal()
    tampered(
        home,
        "INSERT INTO ledger (controller_id, entry_id, at, kind, subject, public) SELECT controller_id, "
        "CAST(entry_id || x'01' AS BLOB), at, 'consent', subject, '{}' FROM ledger WHERE seq = 2",
    )
    for _ in range(2):
        assert "unsealed" in {f.what for f in await findings(store, home)}
        await store.seal()


async def test_a_head_that_was_kept_elsewhere_shows_what_was_put_back(home: Keyed, store: SqlStore) -> None:
    """A database that was put back whole to an older state is whole in itself."""
    await consents(store, home, 2)
    await store.seal()
    [old] = home.ask("SELECT * FROM tails")
    await consents(store, home, 2, 2)
    await store.seal()
    kept = await prove.head(store, prove.head_keys(home.ring), "acme", clock())
    assert kept is not None
    assert prove.head_of_row(json.loads(json.dumps(prove.head_row(kept), default=str))) == kept
    assert await findings(store, home, outside=[kept]) == []
    tampered(
        home, "DELETE FROM ledger WHERE seq > 2", "DELETE FROM tails",
        ("INSERT INTO tails VALUES (?, ?, ?, ?, ?)", old),
    )  # fmt: skip
    assert await findings(store, home) == []
    assert [(f.seq, f.what) for f in await findings(store, home, outside=[kept])] == [(4, "cut off")]


async def test_one_head_a_day_is_kept_where_something_was_added(home: Keyed, store: SqlStore) -> None:
    keys = prove.head_keys(home.ring)
    assert await prove.keep_heads(store, keys, NOW) == 0
    await consents(store, home, 2)
    await store.seal()
    assert await prove.keep_heads(store, keys, NOW) == 1
    await consents(store, home, 1, 2)
    await store.seal()
    assert await prove.keep_heads(store, keys, NOW + timedelta(hours=3)) == 0
    assert await prove.keep_heads(store, keys, NOW + timedelta(days=1)) == 1
    assert await prove.keep_heads(store, keys, NOW + timedelta(days=2)) == 0
    assert [one.head.seq for one in await store.heads("acme")] == [2, 3]
    assert await findings(store, home) == []
    tampered(home, "UPDATE heads SET seq = 1 WHERE seq = 2")
    assert [(f.seq, f.what) for f in await findings(store, home)] == [(1, "signed head")]


async def test_changes_to_texts_that_are_no_texts_any_more_are_findings(home: Keyed, store: SqlStore) -> None:
    await consents(store, home, 3)
    await store.seal()
    tampered(home, "UPDATE ledger SET public = CAST(x'fffe' AS TEXT) WHERE seq = 2")
    assert [(f.seq, f.what) for f in await findings(store, home)] == [(2, "changed")]


# the projection


async def busy(store: SqlStore, home: Home) -> None:
    """People with all kinds of history."""
    await consents(store, home, 4)
    await store.record([home.consent("p1@example.org", id="c1", purposes=["newsletter", "events"])])
    acts, row = stop(home, "p1@example.org")
    row = replace(row, source="page")
    await store.opt_out(opt_out_acts(row), row, None)
    lifted = replace(row, lifted_at=NOW + timedelta(minutes=5))
    undo = [
        replace(acts[0], kind=kind, public={"ref": row.suppression_id.hex()}, at=NOW + timedelta(minutes=5))
        for kind in ("suppression_lifted", "withdrawal_undone")
    ]
    await store.lift(undo, lifted)
    who = home.who("p2@example.org")
    since = datetime(2026, 3, 1, 9, 30, 0, 500_000, tzinfo=UTC)
    pause = SuppressionRow(
        controller_id="acme", recipient_key=who.recipient_keys[0], suppression_id=new_id(), scope="purpose",
        purpose="events", reason="unsubscribe", source="import", at=since, lifted_at=NOW + timedelta(days=30),
    )  # fmt: skip
    everywhere = home.who("p3@example.org").global_keys
    banned = replace(
        pause, controller_id="", recipient_key=everywhere[0], suppression_id=new_id(), scope="global", purpose=None,
        lifted_at=None,
    )  # fmt: skip
    await store.take_in_stops([Stop(who=who, row=pause, acts=opt_out_acts(pause))], at=NOW, dry=False)
    nobody = replace(who, controller_id="", recipient_keys=everywhere, global_keys=())
    await store.take_in_stops([Stop(who=nobody, row=banned, acts=opt_out_acts(banned))], at=NOW, dry=False)
    said = Statement(
        who=home.who("p5@example.org"), address="p5@example.org", profile={"name": "P"}, purposes=None,
        entries=[("person", {"kind": "natural_person", "country": "NL", "unless_known": {}}), ("consent", CONSENT)],
    )  # fmt: skip
    await store.take_in([said], at=NOW, dry=False)
    await store.seal()


async def test_the_projection_is_what_the_ledger_amounts_to(home: Keyed, store: SqlStore) -> None:
    """P7: standing and suppressions come out of the entries row by row."""
    await busy(store, home)
    assert await differences(store) == []
    assert await differences(store, controller="") == []


async def test_rows_that_were_changed_behind_the_ledgers_back_are_named_and_put_right(
    home: Keyed, store: SqlStore
) -> None:
    await busy(store, home)
    before = [await one(store, home.who(f"p{n}@example.org")) for n in range(6)]
    kept = await store.suppressions_of("acme", home.key("p2@example.org"))
    tampered(
        home,
        ("DELETE FROM standing WHERE recipient_key = ?", (home.key("p0@example.org"),)),
        ("DELETE FROM suppressions WHERE recipient_key = ?", (home.key("p2@example.org"),)),
        ("UPDATE suppressions SET lifted_at = NULL WHERE recipient_key = ?", (home.key("p1@example.org"),)),
        ("UPDATE standing SET facts = (SELECT facts FROM standing WHERE recipient_key = ?) WHERE recipient_key = ?",
         (home.key("p1@example.org"), home.key("p3@example.org"))),
    )  # fmt: skip
    found = await differences(store)
    assert len(found) == 4
    assert sum("missing" in text for text in found) == 2
    assert await differences(store, write=True) == found
    assert await differences(store) == []
    after = [await one(store, home.who(f"p{n}@example.org")) for n in range(6)]
    assert [(p.standing, p.suppressions) for p in after] == [(p.standing, p.suppressions) for p in before]
    assert await store.suppressions_of("acme", home.key("p2@example.org")) == kept


async def test_a_tombstone_that_was_removed_is_missed(home: Keyed, store: SqlStore) -> None:
    """Without it an import would bring the person back."""
    await busy(store, home)
    await store.erase(erasure(home, "p0@example.org"))
    assert await differences(store) == []
    tampered(home, "DELETE FROM suppressions WHERE reason = 'erasure'")
    assert len(await differences(store)) == 1
    await differences(store, write=True)
    assert await differences(store) == []
    assert (await one(store, home.who("p0@example.org"))).suppressions[0].reason == "erasure"


# erasure


async def test_an_erased_person_leaves_a_keyed_hash_and_nothing_else(home: Keyed, store: SqlStore) -> None:
    await busy(store, home)
    who = home.who("p1@example.org")
    waiting, captured = home.arrival("p1@example.org"), home.arrival("p1@example.org", state="captured")
    shared = home.arrival("p1@example.org", "p2@example.org")
    done = home.arrival("p1@example.org", state="claimed")
    for arrival in (waiting, captured, shared, done):
        await store.enqueue(arrival)
    await store.finish("w1", [ending(done)])
    erased = await store.erase(erasure(home, "p1@example.org"))
    assert erased == Erased(
        recipient_key=who.recipient_keys[0], already=False, known=True, ended=2, captured=1, history=1
    )
    person = await one(store, who)
    assert (person.seen, person.version, person.standing.known) == (False, 0, False)
    assert {(s.scope, s.reason) for s in person.suppressions} >= {("sender", "erasure")}
    assert await store.address("acme", who.recipient_keys[0]) is None
    for arrival in (waiting, captured):
        assert await store.message("acme", arrival.message_id) is None
        assert await store.copy("acme", arrival.message_id, 0) == {
            **(await store.copy("acme", arrival.message_id, 0) or {}), "rcpt": None
        }  # fmt: skip
    assert await store.message("acme", shared.message_id) is not None, "the other recipient's copy needs it"
    assert [c.copy_no for c in await store.claim("w1", "main", now=NOW, n=9)] == [1]
    keyed = who.recipient_keys[0]
    for table in ("people", "standing", "copies"):
        assert home.ask(f"SELECT count(*) FROM {table} WHERE recipient_key = ?", keyed) == [(0,)]
    assert home.ask("SELECT count(*) FROM messages WHERE subject_key = ?", keyed) == [(0,)]
    kept = home.ask("SELECT source, at, suppression_id FROM suppressions WHERE recipient_key = ?", keyed)
    said = home.ask("SELECT public FROM ledger WHERE kind <> 'erasure'")
    named = {text for (text,) in said}
    assert not any(suppression_id.hex() in text for _, _, suppression_id in kept for text in named), "linked by its id"
    assert {source for source, _, _ in kept} == {"", "request"}
    counts = (await store.tallies("acme"))["newsletter", "spring"]
    assert counts["blocked/ERASED_DO_NOT_CONTACT"] == 2
    await store.seal()
    assert await findings(store, home) == []


async def test_only_the_erasure_entry_carries_the_key_and_it_links_to_no_other(home: Keyed, store: SqlStore) -> None:
    await consents(store, home, 2)
    await store.erase(erasure(home, "p1@example.org"))
    rows = home.ask("SELECT kind, subject, public FROM ledger")
    keyed = home.key("p1@example.org").hex()
    [(subject, public)] = [(subject, public) for kind, subject, public in rows if kind == "erasure"]
    assert json.loads(public)["recipient_key"] == keyed
    assert json.loads(public)["scope"] == "sender"
    assert not any(keyed in public for kind, _, public in rows if kind != "erasure")
    assert [row[1] for row in rows].count(subject) == 1


async def test_nothing_is_kept_of_an_erased_person_who_is_met_again(home: Keyed, store: SqlStore) -> None:
    """RULES.md 6.4: neither mail, nor import, nor a record, nor a click on an old link makes a row."""
    await consents(store, home, 2)
    await store.erase(erasure(home, "p1@example.org"))
    before = rows_of(home)
    await store.enqueue(home.arrival("p1@example.org", state="blocked", decision=BLOCK, body=None))
    assert await store.record([home.consent("p1@example.org")]) == [False]
    who = home.who("p1@example.org")
    said = Statement(who=who, address="p1@example.org", entries=[("consent", CONSENT)], profile={}, purposes=None)
    assert [t.outcome for t in await store.take_in([said], at=NOW, dry=False)] == ["erased"]
    acts, row = stop(home, "p1@example.org", None)
    assert (await store.opt_out(acts, row, None)).reason == "erasure"
    stops = [Stop(who=who, row=row, acts=acts)]
    assert [t.outcome for t in await store.take_in_stops(stops, at=NOW, dry=False)] == ["erased"]
    claimed = home.arrival("p1@example.org", state="claimed")
    await store.enqueue(claimed)
    mailed = ending(claimed, mailed=True, dead_address=True, recipient_key=who.recipient_keys[0])
    await store.finish("w1", [mailed])
    assert rows_of(home) == before
    assert await store.address("acme", who.recipient_keys[0]) is None
    [row_] = await store.held_out("acme", since=None, before=None, n=9, addresses=True)
    assert (row_.address, row_.subject) == (None, "")


def rows_of(home: Home) -> list[list[tuple[int, ...]]]:
    counts = [home.ask(f"SELECT count(*) FROM {table}") for table in ("people", "standing", "suppressions", "ledger")]
    return [*counts, home.ask("SELECT count(*) FROM person_keys WHERE recipient_key <> x''", of="keys")]


async def test_erasing_again_changes_nothing_and_an_interrupted_erasure_is_finished(
    home: Keyed, store: SqlStore
) -> None:
    await consents(store, home, 2)
    columns = "controller_id, recipient_key, wrapped"
    key = home.key("p1@example.org")
    [row] = home.ask(f"SELECT {columns} FROM person_keys WHERE recipient_key = ?", key, of="keys")
    await store.erase(erasure(home, "p1@example.org"))
    assert await store.forget_erased() == 0
    # as if the machine had stopped before the key was destroyed
    home.ask(f"INSERT INTO person_keys ({columns}) VALUES (?, ?, ?)", *row, of="keys")
    assert await store.forget_erased() == 1
    again = await store.erase(erasure(home, "p1@example.org"))
    assert (again.already, again.known) == (True, False)
    assert len(await store.suppressions_of("acme", home.key("p1@example.org"))) == 1


async def test_the_tombstone_is_found_under_an_older_installation_key(home: Keyed, store: SqlStore) -> None:
    await consents(store, home, 2)
    await store.erase(erasure(home, "p1@example.org"))
    home.ring = type(home.ring)({1: home.secret, 2: os.urandom(32)})
    async with home.opened() as later:
        person = await one(later, home.who("p1@example.org"))
        assert person.suppressions[0].reason == "erasure"
        before = rows_of(home)
        act = Act(
            controller_id="acme", recipient_key=person.recipient_key, kind="consent", public={}, private=CONSENT,
            at=NOW, address="p1@example.org",
        )  # fmt: skip
        assert await later.record([act]) == [False]
        assert rows_of(home) == before
        await later.seal()
        assert await findings(later, home) == []


async def test_a_destroyed_key_is_gone_from_every_file(home: Keyed, store: SqlStore) -> None:
    await consents(store, home, 3)
    sql = "SELECT wrapped FROM person_keys WHERE recipient_key = ?"
    if home.place.on_server:  # the row itself may linger; the key of the box that it was in may not
        sql = "SELECT boxes.wrapped FROM boxes JOIN person_keys USING (box) WHERE recipient_key = ?"
    [(wrapped,)] = home.ask(sql, home.key("p1@example.org"), of="keys")
    assert wrapped in home.place.on_disk()
    await store.erase(erasure(home, "p1@example.org"))
    assert await store.empty_logs()
    assert wrapped not in home.place.on_disk()
    assert (await one(store, home.who("p2@example.org"))).standing.known


async def test_files_that_somebody_is_reading_are_emptied_later(tmp_path: Path) -> None:
    """SQLite's write-ahead log; a server's readers of the keys: test_nodes.py."""
    home = Keyed(tmp_path)
    async with home.opened() as store:
        await consents(store, home, 3)
        with contextlib.closing(sqlite3.connect(home.data, isolation_level=None)) as reader:
            reader.execute("BEGIN")
            reader.execute("SELECT * FROM meta").fetchall()
            await consents(store, home, 1, 9)
            assert not await store.empty_logs(), "somebody is reading"
            reader.execute("COMMIT")
        assert await store.empty_logs()
