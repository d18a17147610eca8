"""Several nodes on one PostgreSQL database: side by side, one after the other where it matters, and without it."""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import asyncpg
import pytest

from gateway.store import postgres
from gateway.store.connection import Handles, Turn
from gateway.store.contract import StoreUnavailable
from tests.ports import free_ports
from tests.postgres import Server
from tests.store.places import Databases
from tests.store.test_contract import BLOCK, NOW, ending, one, stop
from tests.store.test_ledger_store import Keyed, consents, differences, erasure, findings

PATIENCE = 0.2


@pytest.fixture
def home(databases: Databases) -> Keyed:
    return Keyed(databases.emptied())


@contextmanager
def beside(home: Keyed, statement: str, *, keys: bool = False) -> Iterator[None]:
    """Somebody else's transaction, open as long as the test likes."""
    url = home.keys if keys else home.data
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    def wait(work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, loop).result()

    db = wait(asyncpg.connect(url))
    try:
        wait(db.execute("BEGIN"))
        wait(db.execute(statement))
        yield
    finally:
        wait(db.close())
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def sooner_or_later(ask: Callable[[], Awaitable[Any]]) -> Any:
    """What it gives once the database is back: nobody asks a server that just did not answer."""
    for _ in range(400):
        try:
            return await ask()
        except StoreUnavailable:
            await asyncio.sleep(0.02)
    return await ask()


# side by side


async def test_acts_of_two_nodes_about_the_same_people_make_one_ledger(home: Keyed) -> None:
    async with home.opened() as a, home.opened() as b:
        await asyncio.gather(*(
            node.record([home.consent(f"p{n % 4}@example.org", id=f"{name}{n}")])
            for n in range(24) for name, node in (("a", a), ("b", b))
        ))  # fmt: skip
        await asyncio.gather(a.seal(), b.seal())
        assert await findings(a, home) == [] and await differences(a) == []
        people = await b.people([home.who(f"p{n}@example.org") for n in range(4)])
        assert [len(person.standing.consents) for person in people] == [12] * 4
        rows = await a.chain_entries("acme", after=b"", upto=b"\xff" * 17, n=99)
        assert [row.seq for row in rows] == list(range(1, 49))


async def test_two_nodes_that_see_the_same_strangers_at_once_give_them_one_key(home: Keyed) -> None:
    addresses = [f"p{n}@example.org" for n in range(12)]
    async with home.opened() as a, home.opened() as b:
        blocked = {"state": "blocked", "decision": BLOCK, "body": None}
        for _ in range(3):
            await asyncio.gather(
                *(a.enqueue(home.arrival(address, **blocked)) for address in addresses),
                *(b.enqueue(home.arrival(address, **blocked)) for address in reversed(addresses)),
            )
        rows = await a.held_out("acme", since=None, before=None, n=99, addresses=True)
        assert sorted(row.address or "" for row in rows) == sorted(addresses * 6)
        assert {row.subject for row in rows} == {"Zeldzame wijnen"}
        assert (await b.tallies("acme"))["newsletter", "spring"]["accepted"] == 72
    assert home.ask("SELECT count(*) FROM person_keys WHERE controller_id = 'acme'", of="keys") == [(12,)]


async def test_no_copy_is_claimed_twice_and_nobody_waits_for_one_that_is_being_taken(home: Keyed) -> None:
    async with home.opened() as a, home.opened() as b:
        await a.enqueue(home.arrival(*(f"p{n}@example.org" for n in range(60))))
        with beside(home, "SELECT 1 FROM copies WHERE copy_no < 10 FOR UPDATE"):
            sides = await asyncio.gather(*(
                node.claim(name, "main", now=NOW, n=5) for name, node in [("a", a), ("b", b)] * 7
            ))  # fmt: skip
        taken = [copy.copy_no for side in sides for copy in side]
        assert len(taken) == len(set(taken)) == 50 and min(taken) == 10


async def test_workers_do_not_wait_for_each_others_counters(home: Keyed) -> None:
    """All of them count for one campaign at once: in one row each would wait until the other's commit."""
    store = home.place.store(home.ring, patience=PATIENCE)
    await store.open()
    try:
        await store.enqueue(home.arrival("p1@example.org", worker="w1"))
        with beside(home, "UPDATE tallies SET n = n WHERE worker <> 'w2'"):
            arrival = home.arrival("p2@example.org", state="claimed", worker="w2")
            await store.enqueue(arrival)
            await store.finish("w2", [ending(arrival)])
        counts = (await store.tallies("acme"))["newsletter", "spring"]
        assert (counts["accepted"], counts["delivered"]) == (2, 1)
    finally:
        await store.close()


async def test_endings_of_two_nodes_for_copies_of_one_message_leave_nothing_open(home: Keyed) -> None:
    async with home.opened() as a, home.opened() as b:
        arrival = home.arrival(*(f"p{n}@example.org" for n in range(40)))
        await a.enqueue(arrival)
        mine, theirs = await a.claim("a", "main", now=NOW, n=20), await b.claim("b", "main", now=NOW, n=20)
        await asyncio.gather(
            *(a.finish("a", [ending(arrival, copy.copy_no)]) for copy in mine),
            *(b.finish("b", [ending(arrival, copy.copy_no)]) for copy in theirs),
        )
        assert (await a.tallies("acme"))["newsletter", "spring"]["delivered"] == 40
        assert await a.message("acme", arrival.message_id) is None
    assert home.ask("SELECT open FROM messages") == [(0,)]
    assert home.ask("SELECT count(*) FROM bodies") == [(0,)]


async def test_of_somebody_who_is_erased_while_mail_for_them_comes_in_nothing_stays(home: Keyed) -> None:
    async with home.opened() as a, home.opened() as b:
        await consents(a, home, 3)
        arrivals = [home.arrival("p1@example.org") for _ in range(20)]
        await asyncio.gather(
            *(a.enqueue(arrival) for arrival in arrivals[:10]), b.erase(erasure(home, "p1@example.org")),
            *(a.enqueue(arrival) for arrival in arrivals[10:]),
        )  # fmt: skip
        key = home.key("p1@example.org")
        for table in ("people", "standing"):
            assert home.ask(f"SELECT count(*) FROM {table} WHERE recipient_key = ?", key) == [(0,)]
        assert home.ask("SELECT count(*) FROM person_keys WHERE recipient_key = ?", key, of="keys") == [(0,)]
        assert await a.forget_erased() == 0
        await b.seal()
        assert await findings(a, home) == [] and await differences(a) == []


async def test_who_adds_to_the_ledger_waits_for_who_does_and_mail_goes_on_beside(home: Keyed) -> None:
    store = home.place.store(home.ring, patience=PATIENCE)
    await store.open()
    try:
        with beside(home, "SELECT pg_advisory_xact_lock(1)"):
            with pytest.raises(StoreUnavailable, match="lock"):
                await store.record([home.consent("anna@example.org")])
            arrival = home.arrival("bea@example.org")
            await store.enqueue(arrival)
            assert [copy.rcpt for copy in await store.claim("w1", "main", now=NOW, n=9)] == [b"bea@example.org"]
            await store.finish("w1", [ending(arrival)])
            with pytest.raises(StoreUnavailable, match="lock"):  # what is learnt of a person is written down
                await store.finish("w1", [ending(arrival, mailed=True)])
        assert await store.record([home.consent("anna@example.org")]) == [True]
        with beside(home, "SELECT pg_advisory_xact_lock_shared(2)"):
            with pytest.raises(StoreUnavailable, match="lock"):
                await store.erase(erasure(home, "anna@example.org"))
            await store.enqueue(home.arrival("bea@example.org"))
        assert (await store.erase(erasure(home, "anna@example.org"))).known
    finally:
        await store.close()


async def test_whoever_is_in_the_way_of_another_is_tried_again(home: Keyed) -> None:
    """A deadlock: each of two transactions holds what the other wants. The server breaks off one, and both are done."""
    home.place.ask("ALTER ROLE consentgate SET deadlock_timeout = '30ms'")
    held = {"a": threading.Event(), "b": threading.Event()}
    tries: list[str] = []

    def unit(own: str, other: str) -> Callable[[Handles], None]:
        def run(handles: Handles) -> None:
            tries.append(own)
            for name, event in ((own, held[own]), (other, None)):
                handles.db.execute("UPDATE meta SET value = value || 'x' WHERE name = :name", {"name": name})
                if event is not None:
                    event.set()
                    assert held[other].wait(20)

        return run

    async with home.opened() as a, home.opened() as b:
        for name in held:
            home.ask("INSERT INTO meta (name, value) VALUES (?, '')", name)
        await asyncio.gather(a._write(unit("a", "b"), Turn.BESIDE), b._write(unit("b", "a"), Turn.BESIDE))
    assert home.ask("SELECT value FROM meta WHERE name IN ('a', 'b')") == [("xx",), ("xx",)]
    assert len(tries) > 2


# without the database


async def test_a_connection_that_is_lost_is_made_anew_and_what_was_not_committed_is_done_again(home: Keyed) -> None:
    async with home.opened() as store:
        await store.record([home.consent("anna@example.org")])
        left = [1]

        def cut_off(handles: Handles) -> None:
            handles.db.execute("UPDATE meta SET value = '' WHERE name = 'nobody'")
            if left.pop() if left else 0:
                handles.db.execute("SELECT pg_terminate_backend(pg_backend_pid())")
            handles.db.execute("INSERT INTO meta (name, value) VALUES ('done', '1')")

        await store._write(cut_off)
        assert home.ask("SELECT value FROM meta WHERE name = 'done'") == [("1",)]
        cut(home)  # and between two calls, all connections
        assert (await one(store, home.who("anna@example.org"))).standing.known
        assert await store.record([home.consent("bea@example.org")]) == [True]
        assert await store.address("acme", home.key("bea@example.org")) == "bea@example.org"


def cut(home: Keyed) -> None:
    """Every connection of ours is ended by the server."""
    home.ask("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'consentgate'")


async def test_a_server_that_goes_on_cutting_off_is_unavailable_and_then_back(home: Keyed) -> None:
    async with home.opened() as store:

        def cut_off(handles: Handles) -> None:
            handles.db.execute("SELECT pg_terminate_backend(pg_backend_pid())")

        with pytest.raises(StoreUnavailable, match="terminating"):
            await store._write(cut_off)
        with pytest.raises(StoreUnavailable, match="terminating"):
            await store._read(cut_off)
        assert await store.record([home.consent("anna@example.org")]) == [True]


async def test_a_server_that_only_reads_is_unavailable_until_it_writes_again(home: Keyed) -> None:
    """As a primary that was demoted, or whose disk is full: others may know more by now, so that it decides nothing."""
    name = str(home.data).rpartition("/")[2]
    async with home.opened() as store:
        await store.record([home.consent("anna@example.org")])
        home.ask(f'ALTER DATABASE "{name}" SET default_transaction_read_only = on')
        try:
            cut(home)
            with pytest.raises(StoreUnavailable):
                await store.record([home.consent("bea@example.org")])
            with pytest.raises(StoreUnavailable):
                await store.people([home.who("anna@example.org")])
        finally:
            home.ask(f'ALTER DATABASE "{name}" RESET default_transaction_read_only')
        await sooner_or_later(lambda: store.people([home.who("anna@example.org")]))
        assert await sooner_or_later(lambda: store.record([home.consent("bea@example.org")])) == [True]


async def test_a_server_that_is_not_there_is_said_in_words(home: Keyed) -> None:
    nowhere = f"postgresql://somebody@127.0.0.1:{free_ports(1)[0]}/data"
    with pytest.raises(StoreUnavailable, match="no server answers"):
        async with postgres.opened(nowhere, home.keys, home.ring):
            pass


async def test_a_transaction_on_a_server_that_turned_read_only_is_not_written(home: Keyed) -> None:
    async with home.opened() as store:

        def read_only(handles: Handles) -> None:
            handles.db.execute("SET TRANSACTION READ ONLY")
            handles.db.execute("UPDATE meta SET value = '' WHERE name = 'nobody'")

        with pytest.raises(StoreUnavailable, match="read-only"):
            await store._write(read_only)
        assert await sooner_or_later(lambda: store.record([home.consent("bea@example.org")])) == [True]


# keys


async def test_a_destroyed_key_that_somebody_may_still_see_is_written_over_later(home: Keyed) -> None:
    async with home.opened() as store:
        await consents(store, home, 3)
        with beside(home, "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ; SELECT 1 FROM spool_keys", keys=True):
            await store.erase(erasure(home, "p1@example.org"))
            assert not await store.empty_logs()
        assert await store.empty_logs()
        assert home.ask("SELECT count(*) FROM destroyed", of="keys") == [(0,)]


async def test_a_key_that_another_node_makes_meanwhile_is_the_one_that_counts(home: Keyed) -> None:
    """An import looks who is new, and then writes; mail for them comes in between."""
    async with home.opened() as a, home.opened() as b:
        tried: list[bool] = []

        def unit(handles: Handles) -> None:
            key = home.key("anna@example.org")
            known = handles.keys.wrapped("acme", [key])
            tried.append(bool(known))
            if not known:
                other = asyncio.run_coroutine_threadsafe(b.enqueue(home.arrival("anna@example.org")), loop)
                other.result(20)
                handles.keys.add_wrapped([("acme", key, b"sealed with another key")])

        loop = asyncio.get_running_loop()
        await a._write(unit)
        assert tried == [False, True]
        assert await a.address("acme", home.key("anna@example.org")) == "anna@example.org"


# databases that are none of ours


def test_data_and_keys_in_one_database_are_refused(home: Keyed, postgresql: Server) -> None:
    with pytest.raises(StoreUnavailable, match="one database"):
        postgres.create(home.data, home.data)
    empty = postgresql.url(postgresql.new_database("once"))
    with pytest.raises(StoreUnavailable, match="one database"):
        postgres.create(empty, empty)


def test_a_database_that_keeps_no_utf_8_is_refused(postgresql: Server, home: Keyed) -> None:
    postgresql.ask("CREATE DATABASE latin ENCODING 'SQL_ASCII' TEMPLATE template0")
    with pytest.raises(StoreUnavailable, match="UTF-8"):
        postgres.create(postgresql.url("latin"), home.keys)


async def test_what_a_text_cannot_hold_is_kept_as_the_sign_for_it(home: Keyed) -> None:
    async with home.opened() as store:
        arrival = home.arrival("anna@example.org", campaign="a\0b")
        await store.enqueue(arrival)
        assert await store.tallies("acme") == {("newsletter", "a\ufffdb"): {"accepted": 1, "allowed": 1}}


async def test_the_undoing_of_one_unit_leaves_its_neighbours(home: Keyed) -> None:
    """One fails by its own fault, and what it wrote goes; the others are written, each once."""
    async with home.opened() as store:

        def odd(handles: Handles) -> None:
            handles.db.execute("INSERT INTO meta (name, value) VALUES ('odd', '')")
            raise LookupError("odd")

        results = await asyncio.gather(
            store.record([home.consent("bea@example.org")]), store._write(odd),
            store.opt_out(*stop(home, "c@d.nl"), None), return_exceptions=True,
        )  # fmt: skip
        assert results[0] == [True] and isinstance(results[1], LookupError)
        assert not isinstance(results[2], BaseException)
        assert home.ask("SELECT count(*) FROM meta WHERE name = 'odd'") == [(0,)]
        await store.seal()
        assert await findings(store, home) == []
