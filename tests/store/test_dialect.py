"""The store's statements and tables on PostgreSQL: each understood, giving what SQLite gives, by an index."""

import re
import sqlite3
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import aiosql
import pytest

from gateway.store import dialect, sqlite
from tests.postgres import Server
from tests.store.places import Databases
from tests.store.test_query_plans import BOUNDED, WAY_OF_A_MESSAGE

FOLDER = files("gateway.store") / "sql"
NOUNS = sorted(one.name for one in FOLDER.iterdir() if one.name.endswith(".sql") and "schema" not in one.name)
PLAIN = {"text", "bigint", "integer", "bytea", "boolean"}
"""Types that come as what SQLite gives: str, int, bytes; a bool is an int."""
FOUND_BY = ("message_id", "recipient_key", "subject", "report_id", "job_id", "request_id", "letter_id")
"""Where a statement names one of these, it is found by that, not among all of a worker or a controller."""
LOOK_UPS = {
    "people.sql": ("known_of_many", "suppressions_of_many", "standings_of_many", "profiles_of_many", "entries_of",
                   "erased_of_many", "standings_between", "suppressions_between"),
    "history.sql": ("entries_of_many", "decided", "decided_about"),
    "ledger.sql": ("last_entry", "tail", "unsealed", "entries", "behind"),
    "write_backs.sql": ("hosts_due", "due", "unsaid", "reminded", "told_of", "links"),
    "returns.sql": ("had", "about_copy", "dead_reports", "sent_copy", "copy_for"),
    "sign_ups.sql": ("sign_up", "expired", "old", "all_of"),
    "letters.sql": ("due", "to_person", "is_open"),
    "hash_lists.sql": ("hashes_of_many", "algorithms"),
    "erasure.sql": ("copies_of", "tombstone", "asked_since"),
    "rulings.sql": ("last_ruling",),
}  # fmt: skip


def statements(noun: str) -> Iterator[tuple[str, str]]:
    queries = aiosql.from_path(str(FOLDER / noun), "sqlite3")
    for name in queries.available_queries:
        if not name.endswith("_cursor"):
            yield name, getattr(queries, name).sql.replace("CODES", "'A', 'B'")


@pytest.fixture
def server(databases: Databases) -> Databases:
    return databases.emptied()


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Iterator[sqlite3.Connection]:
    folder = tmp_path_factory.mktemp("dialect")
    sqlite.create(folder / "data.db", folder / "keys.db")
    db = sqlite3.connect(folder / "data.db")
    db.execute("ATTACH ? AS keys", (str(folder / "keys.db"),))
    yield db
    db.close()


def columns_on_sqlite(db: sqlite3.Connection, sql: str) -> int | None:
    asked = sql.replace("KEYS", ":k0").replace("WANTED", "(:w0, :w1, :w2)" if "place" in sql else "(:w0, :w1)")
    values = dict.fromkeys(re.findall(r"(?<!:):(\w+)", asked), 1)
    with db:
        db.execute("BEGIN")
        try:
            done = db.execute(asked, values if ":" in asked else [1] * asked.count("?"))
            return len(done.description or ())
        except sqlite3.IntegrityError:
            return None if "RETURNING" in sql else 0  # it writes, and values of no sense are not taken
        finally:
            db.rollback()


@pytest.mark.parametrize("noun", NOUNS)
def test_every_statement_is_understood_and_gives_the_same_columns(
    server: Databases, file: sqlite3.Connection, noun: str
) -> None:
    for name, sql in statements(noun):
        text, names = dialect.translated(sql)
        given = server.prepared(text, of="keys" if noun == "keys.sql" else "data")
        assert len(given.parameters) == len(names), (name, "its places")
        assert set(given.columns) <= PLAIN, (name, given.columns)
        assert "integer" not in given.parameters, (name, "a number that has to fit into 32 bits", given.parameters)
        assert columns_on_sqlite(file, sql) in {len(given.columns), None}, name


def test_what_stands_for_another_statement_has_its_values() -> None:
    """A statement under sql/postgresql takes what the one of the same name takes: no more, no less."""
    found = 0
    for noun in NOUNS:
        other = FOLDER / "postgresql" / noun
        if not other.is_file():
            continue
        base = dict(statements(noun))
        for name, sql in statements(f"postgresql/{noun}"):
            assert set(re.findall(r":(\w+)", sql)) == set(re.findall(r":(\w+)", base[name])), (noun, name)
            found += 1
    assert found


# the schema


def of_sqlite(db: sqlite3.Connection) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for (table,) in db.execute("SELECT name FROM main.sqlite_master WHERE type = 'table'").fetchall():
        kinds = {"TEXT": "text", "INTEGER": "bigint", "BLOB": "bytea"}
        columns = db.execute(f"PRAGMA main.table_info({table})").fetchall()
        keys = sorted((place, name) for _, name, *_, place in columns if place)
        indexes = {
            name: (bool(unique), bool(partial), [one for _, _, one in db.execute(f"PRAGMA main.index_info({name})")])
            for _, name, unique, origin, partial in db.execute(f"PRAGMA main.index_list({table})")
            if origin == "c"
        }  # fmt: skip
        found[table] = {
            "columns": [(name, kinds[kind], bool(needed or place)) for _, name, kind, needed, _, place in columns],
            "key": [name for _, name in keys], "indexes": indexes,
        }  # fmt: skip
    return found


def of_server(server: Databases) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for (table,) in server.ask("SELECT tablename FROM pg_tables WHERE schemaname = 'public'"):
        columns = server.ask(
            "SELECT attname, format_type(atttypid, NULL), attnotnull FROM pg_attribute "
            "WHERE attrelid = to_regclass(?) AND attnum > 0 ORDER BY attnum", table
        )  # fmt: skip
        indexes = server.ask(
            "SELECT c.relname, i.indisunique, i.indpred IS NOT NULL, i.indisprimary, "
            "(SELECT array_agg(a.attname ORDER BY k.n) FROM unnest(i.indkey) WITH ORDINALITY AS k (no, n) "
            "JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.no), x.contype "
            "FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid "
            "LEFT JOIN pg_constraint x ON x.conindid = c.oid WHERE i.indrelid = to_regclass(?)", table
        )  # fmt: skip
        found[table] = {
            "columns": columns,
            "key": next(names for *_, primary, names, _ in indexes if primary) if any(i[3] for i in indexes) else [],
            "indexes": {
                name: (unique, partial, names) for name, unique, partial, _, names, constraint in indexes
                if constraint is None
            },
        }  # fmt: skip
    return found


def test_both_databases_have_the_same_tables_columns_keys_and_indexes(
    server: Databases, file: sqlite3.Connection
) -> None:
    here, there = of_sqlite(file), of_server(server)
    assert set(here) == set(there)
    for table, made in here.items():
        assert there[table] == made, table


def test_whatever_sqlite_forbids_a_server_forbids(server: Databases, file: sqlite3.Connection) -> None:
    triggers = file.execute("SELECT name, tbl_name FROM main.sqlite_master WHERE type = 'trigger'").fetchall()
    there = server.ask(
        "SELECT tgname, relname FROM pg_trigger JOIN pg_class ON pg_class.oid = tgrelid WHERE NOT tgisinternal"
    )
    assert set(triggers) <= set(there)
    for _, table in triggers:
        with pytest.raises(Exception, match=r"append-only|kept|never taken off"):
            server.ask(f"TRUNCATE {table}")


def test_the_order_of_texts_is_that_of_their_octets(server: Databases) -> None:
    for name in ("é", "z", "Z", "_"):
        server.ask("INSERT INTO meta (name, value) VALUES (?, '')", name)
    rows = [name for (name,) in server.ask("SELECT name FROM meta WHERE name <> 'schema' ORDER BY name")]
    assert rows == ["Z", "_", "z", "é"]


# plans


MANY = (Path(__file__).parent / "many_rows.sql").read_text()


def hot() -> dict[tuple[str, str], str]:
    found = {(noun, name): sql for noun, names in LOOK_UPS.items() for name, sql in statements(noun) if name in names}
    for noun, name in WAY_OF_A_MESSAGE:
        if not name.endswith("_cursor"):
            found["way", name] = getattr(noun, name).sql
    return found


def costly(plan: dict[str, Any], sql: str, *, limited: bool = False) -> list[str]:
    """Steps whose cost grows with a table: all of it is read, or much of it is looked through or sorted."""
    node, table, found = plan["Node Type"], plan.get("Relation Name"), []
    limited = limited or node == "Limit"
    if table is not None and table not in BOUNDED | {"paces", "hash_algorithms"} and node != "ModifyTable":
        by = plan.get("Index Cond", "") + plan.get("Recheck Cond", "")
        if node == "Seq Scan" or (not by and not limited and "Scan" in node):
            found.append(f"{node} of {table}")
        alias = plan.get("Alias", table)
        named = [one for one in FOUND_BY if re.search(rf"(?:(?<![\w.])|\b{alias}\.){one} = :{one}\b", sql)]
        if by and named and not any(one in by for one in named):
            found.append(f"{node} of {table} not by {' or '.join(named)}, but {by}")
    for part in plan.get("Plans", ()):
        found += costly(part, sql, limited=limited)
    return found


RARE = {"decided_about", "asked_since", "drop_queued", "hold_copies"}
"""Asked now and then, by a person: until the server has looked at the tables once, it may take another way."""


@pytest.fixture(scope="module")
def untouched(postgresql: Server) -> Iterator[Databases]:
    """Databases that autovacuum has not seen empty, as it may those of other tests: the plans would be others."""
    made = Databases(postgresql, postgresql.new_pair())
    yield made
    made.close()


@pytest.mark.parametrize("filled", [False, True])
def test_hot_statements_go_by_an_index_before_and_after_the_tables_have_grown(
    untouched: Databases, filled: bool
) -> None:
    """The plan that the server keeps for any values, as the connections of the store make it."""
    if filled:
        untouched.script(MANY + "ANALYZE;")
    asked = {case: sql for case, sql in hot().items() if filled or case[1] not in RARE}
    found = {case: costly(untouched.plan(dialect.translated(sql)), sql) for case, sql in asked.items()}
    assert "\n".join(f"{case}: {steps}" for case, steps in found.items() if steps) == ""
    assert len(found) > 60
    sql = "SELECT copy_no FROM copies WHERE worker = :worker"
    assert costly(untouched.plan(dialect.translated(sql)), sql), "the test finds what it looks for"
