"""Who shares a transaction of SQLite's one writer, and how rows go into it."""

import asyncio
import contextlib
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gateway.store.connection import Database, Handles, Writer
from gateway.store.contract import StoreUnavailable
from gateway.store.sqlite_connection import SqliteConnection, SqliteThread
from suppression.vault import KeyRing
from tests.store.places import Files

RING = KeyRing({1: bytes(range(32))})
LOOK = "SELECT name, value FROM meta WHERE name LIKE 'test%' ORDER BY name"
PUT = "INSERT INTO meta (name, value) VALUES (:name, :value)"


async def opened(place: Files, said: list[str], *, patience: float = 5.0) -> tuple[SqliteThread, asyncio.Event]:
    """A connection that notes in `said` what it says; the event is set when it first asks for the lock."""
    loop, asked = asyncio.get_running_loop(), asyncio.Event()

    def note(sql: str) -> None:
        said.append(sql)
        if sql == "BEGIN IMMEDIATE":
            loop.call_soon_threadsafe(asked.set)

    def watch(handles: Handles) -> None:
        assert isinstance(handles.db, SqliteConnection)
        handles.db.set_trace_callback(note)

    thread = SqliteThread(place.data, place.keys, RING, read_only=False, patience=patience)
    await thread.open()
    await thread.run(watch)
    return thread, asked


def adds(name: str) -> Callable[[Handles], Any]:
    def unit(handles: Handles) -> int:
        handles.db.execute(PUT, {"name": name, "value": "x"})
        return len(handles.db.execute(LOOK).fetchall())

    return unit


async def test_who_comes_while_another_process_writes_still_gets_into_the_transaction(tmp_path: Path) -> None:
    place, said = Files(tmp_path), list[str]()
    thread, asked = await opened(place, said, patience=20.0)
    writer = Writer(thread)
    with contextlib.closing(sqlite3.connect(place.data, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        first = asyncio.create_task(writer.write(adds("test 1")))
        await asked.wait()
        rest = [asyncio.create_task(writer.write(adds(f"test {n}"))) for n in (2, 3)]
        await asyncio.sleep(0)  # now they wait too
        other.execute("COMMIT")
        assert [await first, *await asyncio.gather(*rest)] == [1, 2, 3]
    await writer.close()
    await thread.close()
    assert said.count("COMMIT") == 1
    assert place.ask(LOOK) == [("test 1", "x"), ("test 2", "x"), ("test 3", "x")]


async def test_who_comes_while_nothing_can_be_written_has_a_try_of_their_own(tmp_path: Path) -> None:
    place = Files(tmp_path)
    thread, asked = await opened(place, [], patience=0.3)
    writer = Writer(thread)
    with contextlib.closing(sqlite3.connect(place.data, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        first = asyncio.create_task(writer.write(adds("test 1")))
        await asked.wait()
        second = asyncio.create_task(writer.write(adds("test 2")))
        with pytest.raises(StoreUnavailable):
            await first
        other.execute("COMMIT")
        assert await second == 1
    await writer.close()
    await thread.close()
    assert place.ask(LOOK) == [("test 2", "x")]


@pytest.mark.parametrize("count", [0, 1, 3, 4, 5, 16, 43])
async def test_however_many_rows_go_in_at_once_each_stands_as_it_was_given(tmp_path: Path, count: int) -> None:
    place = Files(tmp_path)
    thread, _ = await opened(place, [])
    rows = [{"name": f"test {n:02}", "value": f"'{n}", "of no column": n} for n in range(count)]

    def insert(handles: Handles) -> None:
        db: Database = handles.db
        db.insert(PUT + ";\n", rows)

    writer = Writer(thread)
    await writer.write(insert)
    await writer.close()
    await thread.close()
    assert place.ask(LOOK) == [(row["name"], row["value"]) for row in rows]
