"""What statements cost must not grow with what waits, nor with people or history: their plans on SQLite.

No table that grows is scanned, also not by an index, and none is sorted: rows come in the order of an index.
"""

import re
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.store import people, queue, reports, sqlite
from gateway.store.halts import SQL as WAITING
from gateway.store.kept_returns import SQL as RETURNS
from gateway.store.sql_holding import SQL as HOLDING

BOUNDED = {"workers", "meta", "numbers", "holds", "depths"}
"""Tables with few rows, whatever is sent: a row per process, setting, name, hold."""
WAY_OF_A_MESSAGE = [
    *((queue.SQL, name) for name in queue.SQL.available_queries),
    *((WAITING, name) for name in WAITING.available_queries if name != "open_stops"),
    *((people.SQL, name) for name in ("standing", "suppressions", "profile", "put_profile", "put_standing", "erased")),
    *((reports.SQL, name) for name in ("held_out", "captured", "copy")),
    *((HOLDING, name) for name in ("held_mail", "expired_mail", "held_copies", "let_go", "end_held")),
    *((RETURNS, name) for name in ("stop_of", "put_stop", "tally", "held", "queue_again")),
]


@pytest.fixture(scope="module")
def db(tmp_path_factory: pytest.TempPathFactory) -> Iterator[sqlite3.Connection]:
    folder: Path = tmp_path_factory.mktemp("plans")
    sqlite.create(folder / "data.db", folder / "keys.db")
    connection = sqlite3.connect(folder / "data.db")
    yield connection
    connection.close()


def plan_of(db: sqlite3.Connection, sql: str) -> list[str]:
    """The steps of a statement's plan."""
    sql = sql.replace("(KEYS)", "(:k0, :k1)").replace("WANTED", "(:w0, :w1)")
    values = dict.fromkeys(re.findall(r"(?<!:):(\w+)", sql), b"")
    return [str(row[3]) for row in db.execute("EXPLAIN QUERY PLAN " + sql, values)]


def costly(db: sqlite3.Connection, sql: str) -> list[str]:
    """Steps whose cost grows with a table."""
    tables = {name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")} - BOUNDED
    named = re.findall(r"\b(?:FROM|JOIN|UPDATE|INTO)\s+(\w+)(?:\s+(?:AS\s+)?(\w+))?", sql)
    growing = {name for table, alias in named if table in tables for name in (table, alias) if name}
    found = []
    for step in plan_of(db, sql):
        words = step.split()
        if (words[0] == "SCAN" and words[1] in growing) or "TEMP B-TREE" in step:
            found.append(step)
    return found


@pytest.mark.parametrize(("noun", "name"), [case for case in WAY_OF_A_MESSAGE if "cursor" not in case[1]])
def test_no_statement_on_the_way_of_a_message_grows_with_a_table(
    db: sqlite3.Connection, noun: object, name: str
) -> None:
    statement = getattr(noun, name).sql
    assert plan_of(db, statement) or statement.startswith("INSERT"), "it has a plan"
    assert costly(db, statement) == []


@pytest.mark.parametrize("sql", [
    "SELECT count(*) FROM copies WHERE state = 'queued'",
    "SELECT copy_no FROM copies WHERE state = 'queued' AND route = :route ORDER BY due_at",
    "SELECT DISTINCT b.hour FROM bodies b",
])  # fmt: skip
def test_the_test_finds_what_it_looks_for(db: sqlite3.Connection, sql: str) -> None:
    assert costly(db, sql)
