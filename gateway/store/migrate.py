"""Brings an SQLite database to the version of this program: numbered SQL files, in order, each in one transaction.

A copy of the database is made beside it first. A file that fails changes nothing and stops the rest; running again goes
on where it stopped. Nobody else may write meanwhile: the caller holds the installation's lock.
"""

import re
import sqlite3
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path

_NAME = re.compile(r"(\d{4})_[a-z0-9_]+\.sql")


FIRST = 3
"""The first version that can be brought further: before it, nothing was released, and the ledger had another form."""


class MigrationFailed(Exception):
    """A step could not be applied; the text names the file and what the database said."""


def known() -> dict[int, str]:
    """The migrations that ship with the product: SQL text by version."""
    folder = files("gateway.store") / "sql" / "migrations"
    found = {f.name: f.read_text() for f in folder.iterdir() if f.name.endswith(".sql")}
    return numbered(found)


def numbered(texts: Mapping[str, str]) -> dict[int, str]:
    """Migrations by the number their file names begin with. ValueError for a name that is none, or twice a number."""
    steps: dict[int, str] = {}
    for name, text in sorted(texts.items()):
        match = _NAME.fullmatch(name)
        if match is None or int(match[1]) in steps:
            raise ValueError(f"{name}: a migration is called NNNN_what.sql, each number once")
        steps[int(match[1])] = text
    return steps


def version_of(path: Path) -> int:
    """The version a database is stamped with. MigrationFailed where it is not one of ours."""
    try:
        with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as db:
            row = db.execute("SELECT value FROM meta WHERE name = 'schema'").fetchone()
    except sqlite3.Error as error:
        raise MigrationFailed(f"{path.name}: {error}") from None
    if row is None or not str(row[0]).isdigit():
        raise MigrationFailed(f"{path.name}: carries no version; it was not made by consentgate init")
    return int(row[0])


def migrate(path: Path, target: int, steps: Mapping[int, str]) -> list[int]:
    """Apply the steps from the database's version up to `target`; the versions reached, in order.

    MigrationFailed for a database that is newer than the program, a step that is missing, or one that fails.
    """
    wanted = way(path.name, version_of(path), target, steps)
    if wanted:
        _copy(path, path.with_name(f"{path.name}.before-{target}"))
    for number in wanted:
        _apply(path, number, steps[number])
    return wanted


def way(name: str, version: int, target: int, steps: Mapping[int, str]) -> list[int]:
    """The versions that lead from a database's to `target`. MigrationFailed where there is no way."""
    if version > target:
        raise MigrationFailed(
            f"{name}: version {version} is newer than this program's {target}; use a newer consentgate"
        )
    if version < FIRST:
        raise MigrationFailed(
            f"{name}: it is from before the first release, with a ledger of another form; make a new one with init"
        )
    wanted = list(range(version + 1, target + 1))
    if missing := [number for number in wanted if number not in steps]:
        raise MigrationFailed(f"{name}: there is no migration to version {missing[0]}")
    return wanted


def _copy(path: Path, beside: Path) -> None:
    beside.touch(mode=0o600)
    with sqlite3.connect(path) as db, sqlite3.connect(beside) as copy:
        db.backup(copy)


def _apply(path: Path, number: int, text: str) -> None:
    stamp = f"UPDATE meta SET value = '{number}' WHERE name = 'schema';"  # noqa: S608 - our own number
    db = sqlite3.connect(path, isolation_level=None)
    try:
        db.executescript(f"BEGIN IMMEDIATE;\n{text}\n;{stamp}COMMIT;")
    except sqlite3.Error as error:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise MigrationFailed(f"migration {number:04}: {error}; nothing of it was applied") from None
    finally:
        db.close()
