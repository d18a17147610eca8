"""Entries of the ledger about no person, and any history of a person beside its projection."""

import asyncio
import re
import subprocess
import sys
import tempfile
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway import prove
from gateway.store import proving
from gateway.store.contract import Act
from gateway.store.evidence import Note
from gateway.store.sql_store import SqlStore
from gateway.store.staff import Staff
from suppression import ledger
from tests.core.test_law_standing import acts
from tests.installation import ROOT
from tests.store.test_contract import NOW, Home
from tests.store.test_ledger_store import Keyed, consents, differences, erasure, findings, home, store

__all__ = ["home", "store"]


def staff_act(controller: str = "acme", **public: Any) -> Note:
    return Note(
        controller_id=controller, kind="staff_act", public={"act": "user added", **public}, private={"user": "anna"},
        at=NOW,
    )  # fmt: skip


async def rows(store: SqlStore, controller: str = "acme") -> list[Any]:
    return await store.chain_entries(controller, after=b"", upto=b"\xff" * 17, n=9999)


async def test_an_entry_about_no_person_stands_in_the_chain_and_nothing_follows_from_it(
    home: Keyed, store: SqlStore
) -> None:
    await consents(store, home, 2)
    await store.note("acme", "import", {"rows": 2, "file": "ab" * 32}, at=NOW)
    await store.note("acme", "staff_act", {"act": "user added"}, {"user": "anna"}, at=NOW)
    await consents(store, home, 1, 2)
    await store.seal()
    assert await findings(store, home) == []
    assert await differences(store) == []
    assert [row.kind for row in await rows(store)] == [b"consent", b"consent", b"import", b"staff_act", b"consent"]


async def test_what_names_staff_is_sealed_under_the_controllers_own_key(home: Keyed, store: SqlStore) -> None:
    await store.note("acme", "staff_act", {"act": "user added"}, {"user": "anna"}, at=NOW)
    await store.note("globex", "staff_act", {"act": "user added"}, {"user": "anna"}, at=NOW)
    (row,), (other,) = await rows(store), await rows(store, "globex")
    secret = await store._read(lambda h: h.keys.controller("acme"))
    assert secret is not None and row.private is not None and b"anna" not in row.private
    entry = ledger.Entry(
        controller_id="acme", entry_id=row.entry_id, at=row.at, kind="staff_act", subject=row.subject,
        public=row.public, private=row.private, commitment=row.commitment,
    )  # fmt: skip
    assert ledger.read_private(entry, secret) == {"user": "anna"}
    assert row.subject == secret.subject(b"") != other.subject


async def test_erasing_a_person_leaves_the_controllers_own_entries_readable(home: Keyed, store: SqlStore) -> None:
    await consents(store, home, 1)
    await store.note("acme", "staff_act", {"act": "user added"}, {"user": "anna"}, at=NOW)
    before = await store._read(lambda h: h.keys.controller("acme"))
    await store.erase(erasure(home, "p0@example.org"))
    assert await store._read(lambda h: h.keys.controller("acme")) == before
    await store.seal()
    assert await findings(store, home) == [] and await differences(store) == []


async def test_kinds_about_people_and_about_none_are_not_mixed_up(home: Keyed, store: SqlStore) -> None:
    with pytest.raises(ValueError, match="is about a person"):
        await store.note("acme", "consent", {}, at=NOW)
    with pytest.raises(ValueError, match="is about no person"):
        await store.record([replace(home.consent("p0@example.org"), kind="import")])
    assert await rows(store) == []


async def test_a_user_and_the_note_of_it_are_written_together_or_not_at_all(home: Keyed, store: SqlStore) -> None:
    anna = Staff(name="anna", password_hash="x", roles=("privacy",), controllers=())
    await store.put_staff(anna, NOW, [staff_act(), staff_act("globex")])
    with pytest.raises(ValueError):
        await store.put_staff(replace(anna, name="bert"), NOW, [replace(staff_act(), kind="consent")])
    assert [one.name for one in await store.all_staff()] == ["anna"]
    assert not await store.remove_staff("nobody", [staff_act()])
    assert [len(await rows(store, name)) for name in ("acme", "globex")] == [1, 1]


async def test_a_change_is_noted_once_by_whoever_sees_it_first(home: Keyed, store: SqlStore) -> None:
    async with home.opened() as other:
        assert await store.note_change("settings", "one", [staff_act()])  # the first is no change
        assert await rows(store) == []
        seen = await asyncio.gather(*(each.note_change("settings", "two", [staff_act()]) for each in (store, other)))
        assert sorted(seen) == [False, True]
        assert len(await rows(store)) == 1


async def test_the_verifier_of_one_file_takes_them(home: Keyed, store: SqlStore, tmp_path: Path) -> None:
    """A database on a server is no file: of that one the export is checked."""
    await consents(store, home, 1)
    await store.note("acme", "staff_act", {"act": "één"}, {"user": "anna"}, at=NOW)
    await store.seal()
    export = tmp_path / "ledger.jsonl"
    export.write_text("".join([line + "\n" async for line in prove.export(store, "acme")]), "utf-8")
    for file in [export] if home.place.on_server else [home.data, export]:
        ran = subprocess.run(
            [sys.executable, str(ROOT / "gateway" / "verifier.py"), str(file)], capture_output=True, text=True
        )
        assert (ran.returncode, "acme: 2 entries" in ran.stdout) == (0, True), ran.stdout + ran.stderr


@settings(max_examples=15)
@given(st.lists(st.tuples(st.sampled_from(["p1@example.org", "p2@example.org"]), acts), max_size=20))
def test_replaying_any_history_gives_the_standing_there_is(history: list[tuple[str, tuple[str, Any]]]) -> None:
    """P7."""

    async def live(folder: Path) -> None:
        home = Home(folder)
        async with home.opened() as store:
            for n, (address, (kind, fields)) in enumerate(history):
                await store.record([
                    Act(
                        controller_id="acme", recipient_key=home.key(address), kind=kind, public={}, private=fields,
                        at=NOW + timedelta(seconds=n), address=address,
                    )
                ])  # fmt: skip
            assert await differences(store) == []
            written = [row.kind.decode() for row in await rows(store)]
            assert not ledger.CONTROLLER_KINDS.intersection(written)

    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(live(Path(folder)))


async def test_a_page_of_a_campaign_costs_the_same_however_many_follow(tmp_path: Path) -> None:
    """No page of a proof sorts what comes after it, nor looks at copies of other messages."""
    async with Home(tmp_path).opened() as store:
        sql = proving.SQL.passages_in.sql
        names = dict.fromkeys(re.findall(r":(\w+)", sql), b"")
        plan = await store._read(lambda h: [row[3] for row in h.db.execute("EXPLAIN QUERY PLAN " + sql, names)])
        assert "SEARCH c USING PRIMARY KEY (controller_id=? AND message_id=?)" in plan
        assert not {"USE TEMP B-TREE FOR ORDER BY"} & set(plan)


async def test_pages_of_a_campaign_are_without_gap_or_repeat(home: Keyed, store: SqlStore) -> None:
    arrivals = [home.arrival(*(f"p{n}{k}@example.org" for n in range(3)), campaign="c") for k in range(4)]
    await store.enqueue(*arrivals, home.arrival("other@example.org", campaign="d"))
    found, after = [], (b"", 0)
    while page := await store.passages_in("acme", "newsletter", "c", after=after, n=5, addresses=True):
        found += page
        after = (page[-1].message_id, page[-1].copy_no)
    assert sorted(one.address or "" for one in found) == sorted(
        f"p{n}{k}@example.org" for n in range(3) for k in range(4)
    )
    places = [(one.message_id, one.copy_no) for one in found]
    assert places == sorted(set(places))
