"""Secrets in boxes on a PostgreSQL server: of whoever is erased nothing opens any more, of all others everything."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.store import boxes, dialect
from gateway.store.connection import Handles, Turn
from gateway.store.contract import StoreUnavailable
from gateway.store.postgres_thread import PostgresThread
from gateway.store.sql_store import SqlStore
from suppression.vault import SECRET_BYTES, PersonSecret, Unreadable
from tests.store.places import Databases
from tests.store.test_dialect import costly
from tests.store.test_ledger_store import Keyed, consents, erasure

WRAPPED = 1 + 12 + SECRET_BYTES + 16


@pytest.fixture
def home(databases: Databases, monkeypatch: pytest.MonkeyPatch) -> Keyed:
    """With room for five in a box."""
    monkeypatch.setattr(boxes, "ROOM", 5)
    return Keyed(databases.emptied())


@pytest.fixture
async def store(home: Keyed) -> AsyncIterator[SqlStore]:
    async with home.opened() as opened:
        yield opened


def stored(home: Keyed) -> dict[bytes, tuple[bytes, bytes]]:
    """Box and secret by recipient key, as they stand."""
    rows = home.ask("SELECT recipient_key, box, wrapped FROM person_keys WHERE controller_id = 'acme'", of="keys")
    return {key: (box, wrapped) for key, box, wrapped in rows}


async def emptied(store: SqlStore) -> bool:
    """Tried once: whether the keys of all who were erased are off the disk."""
    return await store._write_thread.run(lambda handles: handles.keys.truncate())


async def known(store: SqlStore, home: Keyed, *numbers: int) -> list[bool]:
    people = await store.people([home.who(f"p{n}@example.org") for n in numbers])
    return [person.standing.known and person.readable for person in people]


def keys_that_open(home: Keyed, number: bytes) -> int:
    """How often the key of a box is found on the disk by whoever holds the installation key and tries every octet."""
    disk, found, at = home.place.on_disk(), 0, -1
    while (at := disk.find(home.ring.current, at + 1)) >= 0:
        with contextlib.suppress(Unreadable):
            home.ring.unwrap(disk[at : at + WRAPPED], b"box/" + number)
            found += 1
    return found


# what an erasure leaves


async def test_of_an_erased_person_there_is_nothing_on_the_disk_that_opens_their_secret(
    home: Keyed, store: SqlStore
) -> None:
    await consents(store, home, 12)
    key = home.key("p1@example.org")
    number, _ = stored(home)[key]
    assert keys_that_open(home, number) > 0, "the test finds what it looks for"
    await store.erase(erasure(home, "p1@example.org"))
    assert keys_that_open(home, number) > 0, "until then it can be undone"
    assert await store.empty_logs()
    assert keys_that_open(home, number) == 0
    assert key not in stored(home) and number not in {box for box, _ in stored(home).values()}
    assert await known(store, home, *range(12)) == [n != 1 for n in range(12)]
    assert home.ask("SELECT count(*) FROM broken_boxes", of="keys") == [(0,)]


async def test_an_erasure_touches_nobody_but_who_was_in_the_same_box(home: Keyed, store: SqlStore) -> None:
    """However many people there are."""
    await consents(store, home, 42)
    before = stored(home)
    await store.erase(erasure(home, "p7@example.org"))
    assert await store.empty_logs()
    after = stored(home)
    number = before[home.key("p7@example.org")][0]
    beside = {key for key, (box, _) in before.items() if box == number} - {home.key("p7@example.org")}
    assert {key for key in after if after[key] != before[key]} == beside
    assert 0 < len(beside) < boxes.ROOM
    assert len({after[key][0] for key in beside}) == 1


async def test_several_who_are_erased_from_one_box_cost_as_much_as_one(home: Keyed, store: SqlStore) -> None:
    await consents(store, home, 5)
    numbers = {box for box, _ in stored(home).values()}
    for n in range(5):
        await store.erase(erasure(home, f"p{n}@example.org"))
    assert home.ask("SELECT count(*) FROM broken_boxes", of="keys") == [(len(numbers),)]
    assert await store.empty_logs()
    assert not numbers & {box for (box,) in home.ask("SELECT box FROM boxes", of="keys")}
    assert all(home.key(f"p{n}@example.org") not in stored(home) for n in range(5))


async def test_many_at_once_are_done_in_several_goes(
    home: Keyed, store: SqlStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(boxes, "AT_ONCE", 2)
    await consents(store, home, 30)
    for n in range(0, 30, 5):
        await store.erase(erasure(home, f"p{n}@example.org"))
    goes = [await emptied(store) for _ in range(4)]
    assert goes == [False, False, False, True]
    assert home.ask("SELECT count(*) FROM broken_boxes", of="keys") == [(0,)]
    assert await known(store, home, *range(30)) == [n % 5 != 0 for n in range(30)]


# several at the same time


async def test_a_process_that_knows_a_box_that_is_gone_reads_and_adds_all_the_same(home: Keyed) -> None:
    async with home.opened() as a, home.opened() as b:
        await consents(a, home, 3)
        assert await known(a, home, 1, 2) == await known(b, home, 1, 2) == [True, True]
        [number] = {stored(home)[home.key(f"p{n}@example.org")][0] for n in range(3)}
        await b.erase(erasure(home, "p1@example.org"))
        assert await b.empty_logs()
        assert await known(a, home, 0, 2) == [True, True]
        await consents(a, home, 2, 3)  # a's box had room left
        assert await known(b, home, 3, 4) == [True, True]
        assert number not in {box for box, _ in stored(home).values()}


async def test_who_is_put_into_another_box_between_two_statements_is_read_again(home: Keyed, store: SqlStore) -> None:
    await consents(store, home, 3)
    before = {key: sealed for key, (_, sealed) in stored(home).items()}
    await store.erase(erasure(home, "p1@example.org"))
    assert await store.empty_logs()
    async with home.opened() as other:
        found = await other._read(lambda handles: handles.keys._taken_out("acme", dict(before)))
        assert set(found) == set(before) - {home.key("p1@example.org")}
        assert len(await other._read(lambda handles: handles.keys.opened("acme", found))) == len(found)


async def test_boxes_that_were_forgotten_are_looked_up_again_and_filled_all_the_same(
    home: Keyed, store: SqlStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(boxes, "KNOWN_SECONDS", -1.0)
    for first in range(0, 12, 3):
        await consents(store, home, 3, first)
        assert await known(store, home, *range(first + 3)) == [True] * (first + 3)


async def test_the_order_is_the_same_whichever_boxes_are_known(home: Keyed, store: SqlStore) -> None:
    await consents(store, home, 12)
    keys = sorted(stored(home))

    def look(handles: Handles) -> list[bytes]:
        handles.keys.person("acme", keys[7])
        return list(handles.keys.wrapped("acme", keys))

    async with home.opened() as other:
        assert await other._read(look) == keys


async def test_nobody_waits_for_a_ring_where_one_is_erased_while_their_box_is_being_emptied(
    home: Keyed, store: SqlStore
) -> None:
    await consents(store, home, 5)
    await store.erase(erasure(home, "p1@example.org"))
    db = await asyncpg.connect(home.keys)
    try:
        async with db.transaction():
            await db.execute("DELETE FROM person_keys WHERE recipient_key = $1", home.key("p2@example.org"))
            assert not await emptied(store)
        assert await emptied(store)
        assert await known(store, home, 0, 3, 4) == [True] * 3
    finally:
        await db.close()


async def test_who_is_erased_just_after_they_were_put_into_another_box_leaves_that_one_broken(
    home: Keyed, store: SqlStore
) -> None:
    await consents(store, home, 12)
    anna, key = home.key("p1@example.org"), home.key("p11@example.org")
    other = stored(home)[key]
    mover, eraser = await asyncpg.connect(home.keys), await asyncpg.connect(home.keys)
    try:
        async with mover.transaction():
            await mover.execute("UPDATE person_keys SET wrapped = $1 WHERE recipient_key = $2", other[1], anna)
            erased = asyncio.create_task(eraser.execute("DELETE FROM person_keys WHERE recipient_key = $1", anna))
            waits = "SELECT wait_event_type = 'Lock' FROM pg_stat_activity WHERE pid = $1"
            async with asyncio.timeout(20):
                while not await mover.fetchval(waits, eraser.get_server_pid()):
                    await mover.execute("SELECT pg_stat_clear_snapshot()")
        assert await erased == "DELETE 1"
        assert home.ask("SELECT box FROM broken_boxes", of="keys") == [(other[0],)]
    finally:
        await mover.close()
        await eraser.close()


class Person:
    """Somebody whom one connection alone adds and erases, and all may look up."""

    def __init__(self, home: Keyed, owner: int, number: int) -> None:
        self.key = home.key(f"{owner}.{number}@example.org")
        self.secret = PersonSecret(2 * self.key)
        self.there = False


class Side:
    """A connection of its own, as a node has it."""

    def __init__(self, home: Keyed, people: list[list[Person]], own: int) -> None:
        self.thread = PostgresThread(home.data, home.keys, home.ring, read_only=False)
        self._people, self._own = people, people[own]

    async def do(self, act: str, number: int) -> None:
        one = self._own[number]
        if act == "add" and not one.there:
            await self._add([one])
        elif act == "add all":
            await self._add([one for one in self._own if not one.there])
        elif act == "erase":
            await self._written(lambda handles: handles.keys.forget("acme", one.key))
            one.there = False
        elif act == "empty":
            with contextlib.suppress(StoreUnavailable):
                await self.thread.run(lambda handles: handles.keys.truncate())
        await self.look()

    async def _add(self, wanted: list[Person]) -> None:
        def unit(handles: Handles) -> None:
            there = handles.keys.wrapped("acme", [one.key for one in wanted])  # from a try before
            new = [one for one in wanted if one.key not in there]
            handles.keys.add_people([("acme", one.key, one.secret, b"") for one in new])

        await self._written(unit)
        for one in wanted:
            one.there = True

    async def _written(self, unit: Callable[[Handles], Any]) -> None:
        """Beside others, as nobody does it: no lock on the data keeps them apart."""
        for _ in range(100):
            with contextlib.suppress(StoreUnavailable):
                await self.thread.commit(lambda: [unit], Turn.BESIDE)
                return
        raise AssertionError("others are in the way for ever")

    async def look(self) -> None:
        everybody = {one.key: one for side in self._people for one in side}
        found = await self.thread.run(lambda handles: handles.keys.people("acme", list(everybody)))
        for key, secret in found.items():
            assert secret == everybody[key].secret
        assert {one.key for one in self._own if one.there} == {one.key for one in self._own if one.key in found}


ACTS = st.lists(
    st.tuples(st.sampled_from(["add", "add", "add all", "erase", "empty"]), st.integers(0, 6)), min_size=4, max_size=14
)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(ACTS, min_size=3, max_size=3))
def test_whoever_is_there_can_be_read_by_all_whatever_several_do_at_once(
    home: Keyed, acts: list[list[tuple[str, int]]]
) -> None:
    """Whoever was added and not erased has the secret they were given, on every connection; nothing stays behind."""
    asyncio.run(_all_at_once(Keyed(home.place.emptied()), acts))


async def _all_at_once(home: Keyed, acts: list[list[tuple[str, int]]]) -> None:
    people = [[Person(home, owner, number) for number in range(7)] for owner in range(len(acts))]
    sides = [Side(home, people, own) for own in range(len(acts))]
    for side in sides:
        await side.thread.open()

    async def play(side: Side, mine: list[tuple[str, int]]) -> None:
        for act, number in mine:
            await side.do(act, number)

    try:
        await asyncio.gather(*(play(*pair) for pair in zip(sides, acts, strict=True)))
        async with asyncio.timeout(20):
            while not await sides[0].thread.run(lambda handles: handles.keys.truncate()):
                pass
        for side in sides:
            await side.look()
        assert home.ask("SELECT count(*) FROM broken_boxes", of="keys") == [(0,)]
        there = {one.key for mine in people for one in mine if one.there}
        assert set(stored(home)) == there
    finally:
        for side in sides:
            await side.thread.close()


# cut short


@pytest.fixture
async def broken(home: Keyed, store: SqlStore) -> bytes:
    """A box out of which somebody was erased."""
    await consents(store, home, 5)
    number, _ = stored(home)[home.key("p1@example.org")]
    await store.erase(erasure(home, "p1@example.org"))
    return number


async def test_a_box_whose_emptying_is_cut_short_is_as_it_was_and_emptied_later(
    home: Keyed, store: SqlStore, broken: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = stored(home)
    killed = "SELECT pg_terminate_backend(pg_backend_pid()) WHERE CAST(? AS bytea) IS NOT NULL"
    with monkeypatch.context() as patched:
        patched.setattr(boxes, "_MENDED", killed)
        with pytest.raises(StoreUnavailable):
            await emptied(store)
    assert stored(home) == before
    assert await known(store, home, 0, 1, 2, 3, 4) == [True, False, True, True, True]
    assert await store.empty_logs()
    assert keys_that_open(home, broken) == 0
    assert await known(store, home, 0, 1, 2, 3, 4) == [True, False, True, True, True]


async def test_a_commit_whose_answer_is_lost_is_no_harm(
    home: Keyed, store: SqlStore, broken: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    answered = boxes.BoxedKeys.commit

    def lost(keys: boxes.BoxedKeys) -> None:
        answered(keys)
        monkeypatch.setattr(boxes.BoxedKeys, "commit", answered)
        raise ConnectionResetError

    monkeypatch.setattr(boxes.BoxedKeys, "commit", lost)
    assert await emptied(store), "it finds that nothing is left to do"
    assert keys_that_open(home, broken) == 0
    assert await known(store, home, 0, 1, 2, 3, 4) == [True, False, True, True, True]


async def test_a_box_whose_key_does_not_open_is_left_alone_and_not_passed_over(home: Keyed, store: SqlStore) -> None:
    """The installation key is away, or the row is spoilt: nothing is lost that can be put right."""
    await consents(store, home, 15)
    number, _ = stored(home)[home.key("p9@example.org")]
    beside = [n for n in range(15) if n != 9 and stored(home)[home.key(f"p{n}@example.org")][0] == number]
    [(kept,)] = home.ask("SELECT wrapped FROM boxes WHERE box = ?", number, of="keys")
    await store.erase(erasure(home, "p9@example.org"))
    home.ask("UPDATE boxes SET wrapped = zeroblob(61) WHERE box = ?", number, of="keys")
    async with home.opened() as other:
        assert not await emptied(other)
        assert await known(other, home, *beside) == [False] * len(beside)
    home.ask("UPDATE boxes SET wrapped = ? WHERE box = ?", kept, number, of="keys")
    async with home.opened() as other:
        assert await known(other, home, *beside) == [True] * len(beside)
        assert await emptied(other)


async def test_boxes_that_cannot_be_emptied_stand_in_front_of_no_others(
    home: Keyed, store: SqlStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(boxes, "AT_ONCE", 2)
    await consents(store, home, 20)
    first, second, *_, last = sorted({box for box, _ in stored(home).values()})
    in_last = next(n for n in range(20) if stored(home)[home.key(f"p{n}@example.org")][0] == last)
    for number in (first, second):
        home.ask("UPDATE boxes SET wrapped = zeroblob(61) WHERE box = ?", number, of="keys")
        home.ask("INSERT INTO broken_boxes VALUES (?)", number, of="keys")
    await store.erase(erasure(home, f"p{in_last}@example.org"))
    assert [await emptied(store) for _ in range(3)] == [False] * 3, "two are left"
    assert home.ask("SELECT box FROM broken_boxes ORDER BY box", of="keys") == [(first,), (second,)]
    assert last not in {box for (box,) in home.ask("SELECT box FROM boxes", of="keys")}


# what the database itself sees to


def test_nobody_is_in_a_box_that_is_not_there(home: Keyed) -> None:
    with pytest.raises(asyncpg.ForeignKeyViolationError):
        home.ask("INSERT INTO person_keys VALUES ('acme', ?, ?)", b"k" * 16, b"b" * 97, of="keys")
    home.ask("INSERT INTO boxes VALUES (?, ?)", b"b" * 8, b"w", of="keys")
    home.ask("INSERT INTO person_keys VALUES ('acme', ?, ?)", b"k" * 16, b"b" * 97, of="keys")
    with pytest.raises(asyncpg.ForeignKeyViolationError):
        home.ask("DELETE FROM boxes", of="keys")


@pytest.mark.parametrize("sql", [
    boxes._WITH_BOXES, boxes._LEFT_IN, boxes._MOVED, boxes._HELD, boxes._DESTROYED, boxes._MENDED, boxes._BROKEN,
])  # fmt: skip
def test_whatever_is_asked_about_boxes_goes_by_an_index(databases: Databases, sql: str) -> None:
    databases.emptied()
    assert costly(databases.plan(dialect.translated(sql), of="keys"), sql) == []
    whole = "SELECT wrapped FROM boxes"
    assert costly(databases.plan(dialect.translated(whole), of="keys"), whole), "the test finds what it looks for"
