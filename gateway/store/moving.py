"""Moves an installation's data from files of SQLite to two databases on PostgreSQL.

The files are read and left as they are; nobody writes to them meanwhile. Each database is filled in one transaction,
the keys first: what is cut short leaves nothing behind, or the keys alone, and running it again goes on from there.
Before the commit every row is read back and compared. A target that holds anything else is never touched. Secrets of
persons are put into boxes on the way (boxes.py).
"""

import contextlib
import hashlib
import re
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import asyncpg

from gateway.store import dialect
from gateway.store.boxes import BOXED, Boxes
from gateway.store.contract import StoreUnavailable
from gateway.store.postgres_server import facts_of, unfit, why
from gateway.store.postgres_thread import connect
from suppression.vault import KeyRing, Unreadable

Told = Callable[[str, int, int], None]
"""Called now and then with a table, rows done, and rows in all."""
PATIENCE: Final = 10.0
STATEMENT_SECONDS: Final = 24 * 3600.0
TOLD_EVERY: Final = 1000
_UNHURRIED: Final = "SET idle_in_transaction_session_timeout = 0"
"""A file of many gigabytes is counted and read for minutes between two statements."""
_AFTERWARDS: Final = re.compile(
    r"^(?:CREATE (?:UNIQUE )?INDEX|ALTER TABLE \w+ ADD FOREIGN KEY) .*?;$", re.MULTILINE | re.DOTALL
)
"""Statements of a schema that take less time once the rows are there."""
_SUM: Final = 1 << 128


class NotMoved(Exception):
    """Nothing was changed; the text says why and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Moved:
    """A table that is now on the server, row for row. `mended`: texts with a NUL, which PostgreSQL cannot hold."""

    table: str
    rows: int
    mended: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Table:
    name: str
    columns: tuple[str, ...]
    rows: int


@dataclass(slots=True)
class _Sum:
    """What rows amount to, in whatever order they come."""

    rows: int = 0
    total: int = 0

    def add(self, row: Iterable[Any]) -> None:
        said = b"\0".join(_octets(value) for value in row)
        self.rows += 1
        self.total = (self.total + int.from_bytes(hashlib.blake2b(said, digest_size=16).digest(), "big")) % _SUM


def _octets(value: object) -> bytes:
    """A value with its kind and length, so that no two rows look alike."""
    plain = value if isinstance(value, bytes) else str(value).encode("utf-8", "surrogatepass")
    return b"%s %d %s" % (type(value).__name__.encode(), len(plain), plain)


async def move(file: Path, url: str, name: str, *, keys: KeyRing | None, told: Told) -> list[Moved]:
    """Move one database; `keys`: it is that of the keys, which these open. `name`: what the target is called to people.

    One that holds the same already counts as moved. NotMoved otherwise says what is in the way.
    """
    try:
        facts = await facts_of(url)
        if odd := unfit(facts, new=False):
            raise NotMoved(odd)
        with _read_only(file) as source:
            db = await connect(url, patience=PATIENCE, answer_seconds=STATEMENT_SECONDS)
            try:
                await db.execute(_UNHURRIED)
                async with db.transaction():
                    if not facts.relations:
                        await _make(db, keys=keys)
                    return await _fill(source, db, name, told, filled=bool(facts.relations), keys=keys)
            finally:
                await db.close(timeout=2)
    except StoreUnavailable as failed:
        raise NotMoved(f"{name}: {failed}") from None
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as failed:
        raise NotMoved(f"{name}: {why(failed)}") from None
    except sqlite3.Error as failed:
        raise NotMoved(f"{file.name}: {failed}") from None


@contextlib.contextmanager
def _read_only(file: Path) -> Iterator[sqlite3.Connection]:
    """The file, with a lock that keeps others from writing until all of it has been read."""
    with contextlib.closing(
        sqlite3.connect(f"{file.absolute().as_uri()}?mode=rw", uri=True, isolation_level=None)
    ) as db:
        try:
            db.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            raise NotMoved(f"{file.name} is in use: stop the gateway, and commands that write") from None
        yield db
        db.execute("ROLLBACK")


async def _make(db: "asyncpg.Connection[Any]", *, keys: KeyRing | None) -> None:
    schema = dialect.keys_schema() if keys is not None else dialect.schema()
    await db.execute(_AFTERWARDS.sub("", schema))


async def _fill(
    source: sqlite3.Connection, db: "asyncpg.Connection[Any]", name: str, told: Told, *, filled: bool,
    keys: KeyRing | None,
) -> list[Moved]:  # fmt: skip
    moved = []
    if not filled and keys is None:
        await db.execute("DELETE FROM meta")  # its stamp comes with the rows
    for table in list(_tables(source)):
        there, mended = _Sum(), [0]
        rows = _rows(source, table, there, mended, told)
        if filled:
            for _ in rows:
                pass
        elif keys is not None and table.name == BOXED:
            await _copied_into_boxes(db, table, rows, keys)
        else:
            await db.copy_records_to_table(table.name, records=rows, columns=table.columns)
        here = _Sum()
        async for row in _stored(db, table, name, keys):
            here.add(row)
        if here != there:
            raise NotMoved(
                f"{name}: {table.name} holds other rows than the file: give an empty database"
                if filled else f"{name}: {table.name} does not hold what was copied: {here.rows} rows of {there.rows}"
            )  # fmt: skip
        moved.append(Moved(table=table.name, rows=there.rows, mended=mended[0]))
    if not filled:
        told("indexes", 0, 0)
        for index in _AFTERWARDS.findall(dialect.keys_schema() if keys is not None else dialect.schema()):
            await db.execute(index)
        await db.execute("ANALYZE")
    return moved


def _tables(source: sqlite3.Connection) -> Iterator[_Table]:
    names = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY name"
    for (name,) in source.execute(names).fetchall():
        columns = tuple(row[1] for row in source.execute(f'PRAGMA table_info("{name}")'))
        [(rows,)] = source.execute(f'SELECT count(*) FROM "{name}"')  # noqa: S608 - names of our own schema
        yield _Table(name=name, columns=columns, rows=rows)


def _rows(
    source: sqlite3.Connection, table: _Table, there: _Sum, mended: list[int], told: Told
) -> Iterator[tuple[Any, ...]]:  # fmt: skip
    quoted = ", ".join(f'"{column}"' for column in table.columns)
    for row in source.execute(f'SELECT {quoted} FROM "{table.name}"'):  # noqa: S608
        if any(isinstance(value, str) and "\0" in value for value in row):
            row = tuple(value.replace("\0", "\ufffd") if isinstance(value, str) else value for value in row)
            mended[0] += 1
        there.add(row)
        if there.rows % TOLD_EVERY == 0 or there.rows == table.rows:
            told(table.name, there.rows, table.rows)
        yield row


async def _copied_into_boxes(
    db: "asyncpg.Connection[Any]", table: _Table, rows: Iterator[tuple[Any, ...]], keys: KeyRing
) -> None:
    made: list[tuple[bytes, bytes]] = []
    boxes = Boxes(keys, made.append)
    placed = (one for row in rows for one in boxes.put([row]))
    await db.copy_records_to_table(table.name, records=placed, columns=table.columns)
    await db.copy_records_to_table("boxes", records=made)


async def _stored(
    db: "asyncpg.Connection[Any]", table: _Table, name: str, keys: KeyRing | None
) -> AsyncIterator[tuple[Any, ...]]:
    """The rows that are on the server, as they stand in a file."""
    quoted = ", ".join(f'"{column}"' for column in table.columns)
    boxes = Boxes(keys, lambda _: None) if keys is not None and table.name == BOXED else None
    try:
        if boxes is not None:
            for box in await db.fetch("SELECT box, wrapped FROM boxes"):
                with contextlib.suppress(Unreadable):
                    boxes.learn(*box)
        async for record in db.cursor(f'SELECT {quoted} FROM "{table.name}"', prefetch=500):  # noqa: S608
            yield (*record[:2], boxes.take(*record)) if boxes is not None else tuple(record)
    except (asyncpg.UndefinedTableError, asyncpg.UndefinedColumnError):
        raise NotMoved(f"{name} is not empty, and holds tables of something else: give an empty database") from None
