"""Processes on one database: a name for each, one of them keeps house, calls reach the others, on both databases."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from gateway.store import postgres, postgres_nodes
from gateway.store.contract import StoreUnavailable
from gateway.store.nodes import CALLS, FileNodes, NameTaken, Nodes
from gateway.store.postgres_nodes import PostgresNodes
from suppression.vault import KeyRing
from tests.name_thief import name_taken
from tests.postgres import Pair, Server, running


@pytest.fixture
async def closing() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as stack:
        yield stack


async def joined(stack: AsyncExitStack, nodes: Nodes, worker: str) -> Nodes:
    stack.push_async_callback(nodes.close)
    await nodes.join(worker)
    return nodes


async def until(what: Callable[[], Awaitable[bool]], wanted: bool = True) -> None:
    async with asyncio.timeout(30):
        while await what() is not wanted:
            await asyncio.sleep(0.01)


async def test_one_process_of_a_machine_keeps_house_and_the_next_takes_over(
    tmp_path: Path, closing: AsyncExitStack
) -> None:
    first, second = [
        await joined(closing, FileNodes(tmp_path / "consentgate.db"), f"here-{number}") for number in range(2)
    ]
    assert await first.keeps_house()
    assert await first.keeps_house()
    assert not await second.keeps_house()
    await first.close()
    assert await second.keeps_house()


async def test_one_node_keeps_house_and_the_next_takes_over(empty_pair: Pair, closing: AsyncExitStack) -> None:
    first, second = [await joined(closing, PostgresNodes(empty_pair.data), f"node{number}-0") for number in range(2)]
    assert await first.keeps_house()
    assert await first.keeps_house()
    assert not await second.keeps_house()
    await first.close()
    assert not await first.keeps_house()
    await until(second.keeps_house)


async def test_databases_keep_a_house_each(postgresql: Server, empty_pair: Pair, closing: AsyncExitStack) -> None:
    other = await joined(closing, PostgresNodes(empty_pair.keys), "node-0")
    one = await joined(closing, PostgresNodes(empty_pair.data), "node-0")
    assert await other.keeps_house()
    assert await one.keeps_house()


async def test_a_name_belongs_to_one(
    empty_pair: Pair, closing: AsyncExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_nodes, "NAME_SECONDS", 1.0)
    first = await joined(closing, PostgresNodes(empty_pair.data), "mail1-0")
    await joined(closing, PostgresNodes(empty_pair.data), "mail1-1")
    with pytest.raises(NameTaken, match=r"is called mail1$"):
        await joined(closing, PostgresNodes(empty_pair.data), "mail1-0")
    waiting = asyncio.create_task(joined(closing, PostgresNodes(empty_pair.data), "mail1-0"))
    await first.close()
    await waiting


async def test_a_name_that_another_has_is_not_ours_until_it_is_free(
    empty_pair: Pair, closing: AsyncExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_nodes, "NAME_SECONDS", 1.0)
    said: list[str] = []
    nodes = PostgresNodes(empty_pair.data)
    nodes.on_name(lost=lambda: said.append("lost"), taken=lambda: said.append("taken"))
    assert not nodes.named
    await joined(closing, nodes, "mail1-0")
    assert nodes.named

    async def is_taken() -> bool:
        return said == ["lost", "taken"]

    async def is_ours() -> bool:
        return nodes.named

    async with name_taken(empty_pair.data, "mail1-0"):
        await until(is_taken)
        assert not nodes.named
    await until(is_ours)
    assert said == ["lost", "taken"]


async def test_a_connection_that_is_lost_takes_the_name_along_until_it_is_made_anew(
    postgresql: Server, empty_pair: Pair, closing: AsyncExitStack
) -> None:
    """In between another may have come up under it."""
    said: list[str] = []
    nodes = PostgresNodes(empty_pair.data)
    nodes.on_name(lost=lambda: said.append("lost"), taken=lambda: said.append("taken"))
    await joined(closing, nodes, "mail1-0")
    name = empty_pair.data.rpartition("/")[2]
    mine = "pid <> pg_backend_pid() AND datname = current_database()"
    postgresql.ask(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {mine}", database=name)

    async def is_ours_again() -> bool:
        return said == ["lost"] and nodes.named

    await until(is_ours_again)


async def test_a_call_reaches_the_others_and_those_who_were_away_look_by_themselves(
    postgresql: Server, empty_pair: Pair, closing: AsyncExitStack
) -> None:
    heard: list[str] = []

    async def all_heard(*what: str) -> bool:
        return set(heard) == set(what)

    nodes = PostgresNodes(empty_pair.data)
    nodes.on("work", lambda: heard.append("work"))
    nodes.on("stops", lambda: heard.append("stops"))
    await joined(closing, nodes, "node-0")
    name = empty_pair.data.rpartition("/")[2]
    postgresql.ask("NOTIFY consentgate, 'work'; NOTIFY consentgate, 'odd'; NOTIFY elsewhere, 'stops'", database=name)
    await until(partial(all_heard, "work"))
    heard.clear()
    assert await nodes.keeps_house()
    mine = "pid <> pg_backend_pid() AND datname = current_database()"
    postgresql.ask(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {mine}", database=name)
    await until(partial(all_heard, "work", "stops"))
    assert await nodes.keeps_house(), "the new connection takes it up"


async def test_what_the_store_commits_is_called_out(empty_pair: Pair, closing: AsyncExitStack) -> None:
    heard: list[str] = []

    async def answered() -> bool:
        return heard == ["answers"]

    nodes = PostgresNodes(empty_pair.data)
    for call in CALLS:
        nodes.on(call, partial(heard.append, call))
    await joined(closing, nodes, "node-0")
    postgres.create(*empty_pair)
    store = await closing.enter_async_context(postgres.opened(*empty_pair, KeyRing({1: bytes(32)})))
    await store.note("acme", "staff_act", {"act": "something else"}, at=datetime(2026, 11, 21, tzinfo=UTC))
    await store.note("acme", "mail_ruling", {"act": "answered"}, at=datetime(2026, 11, 21, tzinfo=UTC))
    await until(answered)


async def test_a_server_that_does_not_let_us_listen_is_not_left_with_our_connections(
    empty_pair: Pair, closing: AsyncExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[asyncpg.Connection[Any]] = []

    async def refused(connection: "asyncpg.Connection[Any]", *_: object) -> None:
        opened.append(connection)
        raise asyncpg.QueryCanceledError("canceling statement due to statement timeout")

    monkeypatch.setattr(asyncpg.Connection, "add_listener", refused)
    with pytest.raises(StoreUnavailable, match="statement timeout"):
        await joined(closing, PostgresNodes(empty_pair.data), "node-0")
    assert [connection.is_closed() for connection in opened] == [True]


async def test_no_server_is_no_name(closing: AsyncExitStack) -> None:
    with pytest.raises(StoreUnavailable, match="no server answers"):
        await joined(closing, PostgresNodes("postgresql://x@127.0.0.1:1/nothing"), "node-0")


async def test_the_promoted_standby_is_found(closing: AsyncExitStack) -> None:
    with running() as primary, primary.standby() as second:
        pair = primary.new_pair()
        url = primary.url(pair.data.rpartition("/")[2], more=[second])
        nodes = await joined(closing, PostgresNodes(url), "node-0")
        assert await nodes.keeps_house()
        primary.kill()
        await until(nodes.keeps_house, wanted=False)
        second.promote()
        await until(nodes.keeps_house)
