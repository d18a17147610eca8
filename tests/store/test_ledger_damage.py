"""Every column of every table that the ledger covers: a changed value is found, and what was changed is named."""

import contextlib
import json
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import uuid_utils

from gateway import prove
from gateway.store import people
from gateway.store.sql_store import SqlStore
from suppression.chain import following
from suppression.clock_steps import ClockStep
from tests.installation import ROOT
from tests.store.test_contract import NOW
from tests.store.test_ledger_store import (
    Keyed,
    busy,
    clock,
    consents,
    differences,
    findings,
    store,
)  # fmt: skip
from tests.store.test_material import FORM

__all__ = ["store"]

COVERED = ("ledger", "tails", "heads", "standing", "suppressions", "wordings", "wording_names")
FREE = {("standing", "version")}
"""Not what the ledger says: a counter of changes."""


@pytest.fixture
def home(tmp_path: Path) -> Keyed:
    """On SQLite, whose columns take nearly any value. What finds the damage reads both databases in the same words."""
    return Keyed(tmp_path)


@pytest.fixture
async def full(home: Keyed, store: SqlStore) -> Keyed:
    """A home with rows in every table, sealed, with a head."""
    await busy(store, home)
    await store.keep_wording("acme", FORM, at=NOW)
    await store.note("acme", "staff_act", {"act": "user added"}, {"user": "anna"}, at=NOW)
    await consents(store, home, 3, 10)
    await store.seal()
    await prove.keep_heads(store, prove.head_keys(home.ring), NOW)
    return home


def others(value: Any) -> Iterator[Any]:
    """Values a column may be changed to: a bit at its start, its middle and its end, nothing, and of another kind."""
    if isinstance(value, int):
        yield from (value ^ 1, value + 1_000_003, -value)
    elif isinstance(value, str):
        yield from (value[:-1] + chr(ord(value[-1]) ^ 1), value + "x") if value else ("x",)
        yield from ("global", "admin")  # what the schema takes where it takes names alone
    elif isinstance(value, bytes):
        for place in {0, len(value) // 2, len(value) - 1} if value else ():
            yield value[:place] + bytes((value[place] ^ 1,)) + value[place + 1 :]
        yield from (value[:-1], b"")
    else:
        yield from (7, "x", b"x")
    yield None


def rows_of(db: sqlite3.Connection, table: str) -> list[dict[str, Any]]:
    db.row_factory = sqlite3.Row
    rows = [dict(row) for row in db.execute(f"SELECT * FROM {table}")]
    return [row for place, row in enumerate(rows) if place in {0, len(rows) // 2, len(rows) - 1}]


def without_triggers(home: Keyed) -> None:
    """No trigger stands in the way any more."""
    with contextlib.closing(sqlite3.connect(home.data, isolation_level=None)) as db:
        for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            db.execute(f'DROP TRIGGER "{name}"')


def changes(home: Keyed, table: str) -> Iterator[tuple[dict[str, Any], str, Any]]:
    """One changed value after the other, each put back before the next one."""
    with sqlite3.connect(home.data, isolation_level=None) as db:
        for row in rows_of(db, table):
            for column, value in row.items():
                for other in others(value):
                    if other == value:
                        continue
                    same = " AND ".join(f'"{name}" IS ?' for name in row)
                    try:
                        done = db.execute(f'UPDATE {table} SET "{column}" = ? WHERE {same}', (other, *row.values()))
                    except sqlite3.IntegrityError:
                        continue  # the schema does not take it
                    assert done.rowcount == 1
                    yield row, column, other
                    now = {**row, column: other}
                    db.execute(f'UPDATE {table} SET "{column}" = ? WHERE {same}', (value, *now.values()))
    db.close()


@pytest.mark.parametrize("table", COVERED)
async def test_a_changed_value_in_any_column_is_found(full: Keyed, store: SqlStore, table: str) -> None:
    """P7."""
    without_triggers(full)
    controllers = await store.ledgers()

    async def everything() -> list[Any]:
        found: list[Any] = []
        for name in {*controllers, *await store.ledgers()}:
            found += await findings(store, full, name)
            if table in ("standing", "suppressions") and not found:
                found += await differences(store, controller=name)
        return found

    assert await everything() == []
    tried = set()
    for row, column, other in changes(full, table):
        if (table, column) in FREE:
            continue
        tried.add(column)
        found = await everything()
        assert found, (table, column, row[column], other)
        if table == "ledger":
            named = [one for one in found if (one.seq, one.entry_id) == (row["seq"], row["entry_id"])]
            placed = {"seq", "entry_id", "controller_id", "hash"}  # it then stands elsewhere, or nowhere
            assert named or column in placed, (column, other, found)
    assert await everything() == []
    with sqlite3.connect(full.data) as db:
        columns = {name for _, name, *_ in db.execute(f"PRAGMA table_info({table})")}
    assert tried == columns - {column for where, column in FREE if where == table}
    db.close()


@pytest.mark.parametrize("column", ["at", "kind", "subject", "public", "private", "commitment"])
async def test_the_field_of_which_a_bit_was_changed_is_named(full: Keyed, store: SqlStore, column: str) -> None:
    without_triggers(full)
    tried = 0
    for row, changed, other in changes(full, "ledger"):
        was = row[column]
        if changed != column or type(other) is not type(was) or other in ("global", "admin"):
            continue
        if other != was ^ 1 if isinstance(was, int) else len(other) != len(was):
            continue
        tried += 1
        texts = [one.text for one in await findings(store, full, row["controller_id"]) if one.seq == row["seq"]]
        assert f"its {column} changed: what it says is not what was sealed" in texts
    assert tried


async def test_a_key_that_was_changed_is_named(full: Keyed, store: SqlStore) -> None:
    key = full.key("p1@example.org")
    full.ask("UPDATE person_keys SET wrapped = zeroblob(61) WHERE recipient_key = ?", key, of="keys", forged=True)
    result = prove.Rebuilt(controller_id="acme")
    found = [one async for one in prove.rebuild(store, "acme", result, write=False)]
    assert [(one.recipient_key, one.table) for one in found] == [(key, "keys")]


# the clock


async def steps(store: SqlStore, home: Keyed) -> list[ClockStep]:
    result = prove.Verified(controller_id="acme")
    keys = prove.head_keys(home.ring)
    assert [one async for one in prove.verify(store, keys, "acme", result, clock=clock)] == []
    return result.steps


def set_clock(monkeypatch: pytest.MonkeyPatch, ahead: timedelta) -> datetime:
    """A clock that is wrong by so much; new ids follow it."""
    at = datetime.now(UTC) + ahead

    def new_id() -> bytes:
        return int(at.timestamp() * 1000).to_bytes(6, "big") + bytes(uuid_utils.uuid7().bytes[6:])

    monkeypatch.setattr(people, "new_id", new_id)
    return at


async def put(store: SqlStore, home: Keyed, at: datetime, *names: int) -> None:
    for n in names:
        act = home.consent(f"p{n}@example.org", id=f"c{n}")
        await store.record([type(act)(**{**{f: getattr(act, f) for f in act.__slots__}, "at": at})])


async def test_a_clock_that_went_back_an_hour_leaves_one_chain_and_a_warning(
    home: Keyed, store: SqlStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    await put(store, home, set_clock(monkeypatch, timedelta(hours=1)), 1, 2)
    await store.seal()
    await put(store, home, set_clock(monkeypatch, timedelta(0)), 3, 4)
    assert await steps(store, home) == []  # not sealed yet, and no finding
    async with home.opened() as other:  # another process goes on behind the same entry
        await put(other, home, set_clock(monkeypatch, timedelta(minutes=-1)), 5)
        await other.seal()
    await put(store, home, set_clock(monkeypatch, timedelta(hours=1, minutes=1)), 6)
    await store.seal()
    rows = await store.chain_entries("acme", after=b"", upto=b"\xff" * 17, n=99)
    assert [row.seq for row in rows] == [1, 2, 3, 4, 5, 6]
    assert rows[2].entry_id == following(rows[1].entry_id, b"")
    (step,) = await steps(store, home)
    assert (step.first, step.last, step.entry_id) == (3, 5, rows[2].entry_id)
    assert 3_600_000 <= step.by_ms <= 3_700_000
    assert "entries 3 to 5 are dated up to 36" in step.text


async def test_a_clock_put_right_by_a_second_is_no_warning(
    home: Keyed, store: SqlStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    await put(store, home, set_clock(monkeypatch, timedelta(seconds=1)), 1)
    await put(store, home, set_clock(monkeypatch, timedelta(0)), 2)
    await store.seal()
    assert await steps(store, home) == []


async def test_an_act_that_is_dated_back_is_no_step_of_the_clock(home: Keyed, store: SqlStore) -> None:
    """An import dates its entries with the instant it began."""
    await put(store, home, datetime.now(UTC), 1)
    await put(store, home, datetime.now(UTC) - timedelta(hours=2), 2, 3)
    await store.seal()
    assert await steps(store, home) == []


async def test_a_head_of_a_clock_that_ran_ahead_does_not_end_the_daily_heads(home: Keyed, store: SqlStore) -> None:
    keys = prove.head_keys(home.ring)
    for n, day in enumerate((NOW + timedelta(days=365), NOW, NOW + timedelta(days=1))):
        await consents(store, home, 1, n)
        await store.seal()
        assert await prove.keep_heads(store, keys, day) == 1


# files that were cut off


async def exported(home: Keyed, store: SqlStore, file: Path) -> None:
    kept = await prove.head(store, prove.head_keys(home.ring), "acme", NOW)
    assert kept is not None
    lines = [json.dumps(prove.head_row(kept), default=str), *[line async for line in prove.export(store, "acme")]]
    file.write_text("".join(line + "\n" for line in lines), "utf-8")


def stand_alone(*words: object) -> tuple[int, str]:
    ran = subprocess.run(
        [sys.executable, "-I", str(ROOT / "gateway" / "verifier.py"), *map(str, words)], capture_output=True, text=True
    )
    assert ran.stderr == ""
    return ran.returncode, ran.stdout


@pytest.mark.parametrize("cut", [1, 40, 900])
async def test_an_export_that_was_cut_off_is_a_fault_that_names_the_line(
    home: Keyed, store: SqlStore, tmp_path: Path, cut: int
) -> None:
    await consents(store, home, 3)
    await store.seal()
    file = tmp_path / "ledger.jsonl"
    await exported(home, store, file)
    assert stand_alone(file)[0] == 0
    whole = file.read_bytes()
    file.write_bytes(whole[: -cut - 1])
    code, said = stand_alone(file)
    assert code == 1 and f"line {whole[: -cut - 1].count(10) + 1}" in said


async def test_a_database_that_was_cut_off_is_a_fault(home: Keyed, store: SqlStore, tmp_path: Path) -> None:
    await consents(store, home, 200)
    await store.close()
    file = tmp_path / "cut.db"
    shutil.copy(home.data, file)
    assert stand_alone(file)[0] == 0
    os.truncate(file, file.stat().st_size // 2)
    code, said = stand_alone(file)
    assert code == 1 and "cannot be read" in said


@pytest.mark.parametrize(
    ("table", "column"),
    [(table, column) for table in ("heads", "tails") for column in ("controller_id", "seq", "hash")]
    + [("heads", "signature"), ("heads", "public_key"), ("heads", "at")]
    + [("ledger", column) for column in ("controller_id", "seq", "previous", "hash", "at", "public", "subject")],
)
async def test_a_value_of_another_kind_is_a_fault_and_no_traceback(
    full: Keyed, store: SqlStore, tmp_path: Path, table: str, column: str
) -> None:
    """The stand-alone verifier on a database that somebody put together: whatever stands in a column."""
    await store.close()
    with sqlite3.connect(full.data) as db:
        kept = db.execute(f"SELECT * FROM {table}").fetchall()
        names = [name for _, name, *_ in db.execute(f"PRAGMA table_info({table})")]
    for other in (None, -1, 1.5, "x\n\x1b[2J", b"\xff", 1 << 62):
        file = tmp_path / "other.db"
        shutil.copy(full.data, file)
        with sqlite3.connect(file) as db:  # without the schema's own checks
            db.execute(f"ALTER TABLE {table} RENAME TO was")
            db.execute(f"CREATE TABLE {table} ({', '.join(names)})")
            db.executemany(f"INSERT INTO {table} VALUES ({', '.join('?' * len(names))})", kept)
            db.execute(f"UPDATE {table} SET {column} = ? WHERE rowid = 1", (other,))
        db.close()
        code, said = stand_alone(file)
        assert code == 1 and "\x1b" not in said and said.endswith(" faults\n"), (other, said)
