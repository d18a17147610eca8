"""Lists of hashes in a real database: the ledger names each hash, so that none is dropped unnoticed."""

import hashlib
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta

import pytest

from gateway import prove
from gateway.store import hash_lists, sealing
from gateway.store.columns import milliseconds
from gateway.store.sql_store import SqlStore
from tests.store.places import REFUSED, Place
from tests.store.test_contract import NOW
from tests.store.test_ledger_store import Keyed, differences, erasure, findings, tampered

NAMES = ("anna@example.org", "bram@example.org", "cato@example.org")
LATER = milliseconds(NOW + timedelta(days=3650))


@pytest.fixture
def home(place: Place) -> Keyed:
    return Keyed(place)


@pytest.fixture
async def store(home: Keyed) -> AsyncIterator[SqlStore]:
    async with home.opened() as opened:
        yield opened


def digests(*names: str) -> list[tuple[str, bytes]]:
    return [("sha256", hashlib.sha256(name.encode()).digest()) for name in names]


async def on_list(store: SqlStore, home: Keyed, name: str) -> bool:
    [person] = await store.people([replace(home.who(name), address=name)])
    return person.by_hash


async def told(store: SqlStore, home: Keyed) -> list[str]:
    return [one.text for one in await findings(store, home) if one.what == "hash list"]


async def test_each_hash_is_in_one_entry_and_a_list_that_is_whole_has_no_findings(home: Keyed, store: SqlStore) -> None:
    assert await store.add_hashes("acme", digests(*NAMES[:2]), at=NOW, dry=True) == [True, True]
    assert await store.add_hashes("acme", digests(*NAMES[:2]), at=NOW, dry=False) == [True, True]
    assert await store.add_hashes("acme", digests(*NAMES), at=NOW, dry=False) == [False, False, True]
    assert await store.add_hashes("acme", digests(*NAMES), at=NOW, dry=False) == [False] * 3
    await store.erase(erasure(home, NAMES[0]))
    await store.seal()
    rows = home.ask("SELECT public FROM ledger WHERE kind = 'hash_list' ORDER BY entry_id")
    stored = {key.hex() for (key,) in home.ask("SELECT hash_key FROM hash_suppressions")}
    for table in ("hash_suppressions", "hash_algorithms"):
        with pytest.raises(REFUSED, match="never taken off"):
            home.ask(f"DELETE FROM {table}")
    said = [json.loads(row[0]) for row in rows]
    assert [(one["algorithms"], len(one["keys"])) for one in said] == [(["sha256"], 2), (["sha256"], 1)]
    assert {key for one in said for key in one["keys"]} == stored
    assert not any(plain.hex() in row[0] for _, plain in digests(*NAMES) for row in rows)
    assert await findings(store, home) == []
    assert await differences(store) == []
    assert await on_list(store, home, NAMES[1])


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ("DELETE FROM hash_suppressions WHERE rowid_ < 2", "2 of the 3 hashes that were put on the list are gone"),
        (f"UPDATE hash_suppressions SET at = {LATER}", "3 of the 3 hashes that were put on the list count from"),
        ("DELETE FROM hash_algorithms", "hashes by sha256 are not looked for any more"),
    ],
)  # fmt: skip
async def test_a_hash_that_somebody_takes_off_a_list_is_found_and_put_back(
    home: Keyed, store: SqlStore, change: str, text: str
) -> None:
    await store.add_hashes("acme", digests(*NAMES), at=NOW, dry=False)
    await store.add_hashes("other", digests(*NAMES), at=NOW, dry=False)
    await store.seal()
    first = "hash_key IN (SELECT hash_key FROM hash_suppressions WHERE controller_id = 'acme' LIMIT 2)"
    change = change.replace("rowid_ < 2", first)
    tampered(home, change + (" AND" if "WHERE" in change else " WHERE") + " controller_id = 'acme'")
    [found] = await told(store, home)
    assert found.startswith(text)
    assert [one.text for one in await findings(store, home, "other")] == []
    assert await differences(store) == [found]
    assert await differences(store, write=True) == [found]
    assert await findings(store, home) == []
    for name in NAMES:
        assert await on_list(store, home, name)


async def test_a_hash_that_was_put_in_by_hand_is_found(home: Keyed, store: SqlStore) -> None:
    await store.add_hashes("acme", digests(*NAMES), at=NOW, dry=False)
    await store.seal()
    tampered(home, "INSERT INTO hash_suppressions (controller_id, hash_key, at) VALUES ('acme', x'00ff', 1)")
    text = "1 hashes on the list are in no entry: put in by hand"
    assert await told(store, home) == await differences(store) == [text]
    assert await differences(store, write=True) == []  # there is nothing to put right: it stays on the list
    assert await told(store, home) == [text]


async def test_a_long_list_makes_many_entries_that_are_read_and_compared_a_few_at_a_time(
    home: Keyed, store: SqlStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hash_lists, "KEYS", 2)
    monkeypatch.setattr(sealing, "PAGE_BYTES", 300)
    monkeypatch.setattr(prove, "LISTS", 2)
    long = digests(*(f"p{number}@example.org" for number in range(9)))
    assert await store.add_hashes("acme", long, at=NOW, dry=False) == [True] * 9
    await store.seal()
    rows = home.ask("SELECT json_array_length(public, '$.keys') FROM ledger WHERE kind = 'hash_list' ORDER BY entry_id")
    assert [row[0] for row in rows] == [2, 2, 2, 2, 1]
    pages, after = [], b""
    while page := await store.chain_entries("acme", after=after, upto=b"\xff" * 17, n=99):
        pages.append(len(page))
        after = page[-1].entry_id
    assert sum(pages) == 5
    assert max(pages) < 5
    assert await findings(store, home) == await differences(store) == []
    tampered(home, "DELETE FROM hash_suppressions")
    assert len(await told(store, home)) == 5
    assert len(await differences(store, write=True)) == 5
    assert await findings(store, home) == []


async def test_a_hash_that_was_dropped_and_brought_again_counts_from_the_first_time_once_put_right(
    home: Keyed, store: SqlStore
) -> None:
    await store.add_hashes("acme", digests(*NAMES), at=NOW, dry=False)
    tampered(home, "DELETE FROM hash_suppressions")
    assert await store.add_hashes("acme", digests(*NAMES), at=NOW + timedelta(hours=1), dry=False) == [True] * 3
    await store.seal()
    assert len(await told(store, home)) == 1
    await differences(store, write=True)
    assert await findings(store, home) == []


@pytest.mark.parametrize("public", ['{"keys":[7],"algorithms":3}', '{"keys":"zz"}', "[]", '{"keys":["x"]}', "null"])
async def test_an_entry_that_makes_no_sense_is_told_and_stops_nothing(
    home: Keyed, store: SqlStore, public: str
) -> None:
    await store.add_hashes("acme", digests(*NAMES), at=NOW, dry=False)
    await store.seal()
    tampered(home, ("UPDATE ledger SET public = ? WHERE kind = 'hash_list'", [public]))
    assert "changed" in {one.what for one in await findings(store, home)}
    assert await differences(store, write=True) == []
