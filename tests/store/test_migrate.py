"""From any older version to this one, or not at all."""

import sqlite3
from pathlib import Path

import pytest

from gateway.store import migrate, sqlite
from gateway.store.migrate import MigrationFailed

STEPS = migrate.numbered(
    {
        "0004_staff_mail.sql": "ALTER TABLE staff ADD COLUMN mail TEXT;",
        "0005_two_things.sql": "CREATE TABLE more (a INTEGER) STRICT;\nINSERT INTO more VALUES (7);",
    }
)


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """A database of the first version with a row in it."""
    path = tmp_path / "data.db"
    sqlite.create(path, tmp_path / "keys.db")
    with sqlite3.connect(path) as db:
        db.execute("UPDATE meta SET value = '3' WHERE name = 'schema'")
        columns = "name, password_hash, roles, controllers, changed_at"
        db.execute(f"INSERT INTO staff ({columns}) VALUES ('anna', 'x', '', '', 0)")
    return path


def names(path: Path) -> set[str]:
    with sqlite3.connect(path) as db:
        return {row[0] for row in db.execute("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL")}


def test_steps_are_applied_in_order_and_what_was_there_stays(database: Path) -> None:
    assert migrate.migrate(database, 5, STEPS) == [4, 5]
    with sqlite3.connect(database) as db:
        assert db.execute("SELECT name, mail FROM staff").fetchall() == [("anna", None)]
        assert db.execute("SELECT a FROM more").fetchall() == [(7,)]
    assert migrate.version_of(database) == 5
    assert migrate.migrate(database, 5, STEPS) == []


def test_the_old_database_is_kept_beside_the_new_one(database: Path) -> None:
    before = names(database)
    migrate.migrate(database, 5, STEPS)
    copy = database.with_name("data.db.before-5")
    assert names(copy) == before
    assert copy.stat().st_mode & 0o077 == 0


def test_a_step_that_fails_changes_nothing_and_the_next_run_goes_on(database: Path) -> None:
    broken = {**STEPS, 5: "CREATE TABLE more (a INTEGER); INSERT INTO nowhere VALUES (1);"}
    with pytest.raises(MigrationFailed, match=r"migration 0005: no such table: nowhere"):
        migrate.migrate(database, 5, broken)
    assert migrate.version_of(database) == 4
    assert not any("more" in sql for sql in names(database))
    assert migrate.migrate(database, 5, STEPS) == [5]


def test_a_newer_database_or_a_missing_step_or_another_file_is_refused(database: Path, tmp_path: Path) -> None:
    migrate.migrate(database, 5, STEPS)
    with pytest.raises(MigrationFailed, match="newer"):
        migrate.migrate(database, 4, STEPS)
    with pytest.raises(MigrationFailed, match="no migration to version 6"):
        migrate.migrate(database, 6, STEPS)
    other = tmp_path / "other.db"
    other.write_bytes(b"not a database at all, but long enough to be looked at by the library" * 20)
    with pytest.raises(MigrationFailed, match=r"other\.db"):
        migrate.version_of(other)


def test_a_database_from_before_the_first_release_is_refused_and_left_alone(database: Path) -> None:
    with sqlite3.connect(database) as db:
        db.execute("UPDATE meta SET value = '2' WHERE name = 'schema'")
    with pytest.raises(MigrationFailed, match=r"before the first release.*make a new one"):
        migrate.migrate(database, 5, STEPS)
    assert migrate.version_of(database) == 2
    assert not list(database.parent.glob("*.before-*"))


def test_names_that_are_no_migrations_are_refused() -> None:
    for wrong in ({"2_short.sql": ""}, {"0002_a.sql": "", "0002_b.sql": ""}):
        with pytest.raises(ValueError, match="NNNN_what"):
            migrate.numbered(wrong)


def test_the_migrations_that_ship_lead_to_the_schema_that_ships(database: Path, tmp_path: Path) -> None:
    """Schema file = first version and all migrations; a change made in one place only is found here."""
    steps = migrate.known()
    assert sorted(steps) == list(range(migrate.FIRST + 1, int(sqlite.SCHEMA_VERSION) + 1))
    fresh = tmp_path / "fresh.db"
    sqlite.create(fresh, tmp_path / "fresh-keys.db")
    assert migrate.version_of(fresh) == int(sqlite.SCHEMA_VERSION)
