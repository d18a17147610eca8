"""The store's statements in PostgreSQL's words. Pure: text in, text out.

Statements are written once, for SQLite, and so that they mean the same elsewhere. What is said otherwise is put in
other words here; where a statement has to be another one, sql/postgresql/NOUN.sql has one of the same name.
"""

import re
from collections.abc import Iterator
from functools import cache, lru_cache
from importlib.resources import files
from typing import NamedTuple

import aiosql

_FOLDER = files("gateway.store") / "sql"
_LITERAL = re.compile(r"('(?:[^']|'')*'|\"[^\"]*\"|--[^\n]*)")
_PLACE = re.compile(r"(?<![:\w]):([a-z_][a-z0-9_]*)|\?")
_CALL = re.compile(r"\b(min|max)\(", re.IGNORECASE)
_TWO_SIDED = {"min": "LEAST", "max": "GREATEST"}
_WORDS = (
    (re.compile(r"\s+INDEXED BY \w+"), ""),
    (re.compile(r"\bCROSS JOIN (?=\w+( \w+)? ON\b)"), "JOIN "),
    (re.compile(r"\bCAST\(([\w.]+) AS BLOB\)"), r"convert_to(\1, 'UTF8')"),
    (re.compile(r"\bAS INTEGER\)"), "AS bigint)"),
    (re.compile(r"= \+(?=[a-z])"), "= "),
    (re.compile(r"\bsum\(([\w.]+)\)"), r"CAST(sum(\1) AS bigint)"),
    (re.compile(r"\bIN \(KEYS\)"), "= ANY(CAST(:keys AS bytea[]))"),
)
_TAKING = re.compile(
    r"UPDATE (?P<table>\w+) SET (?P<set>.*?)\nWHERE \((?P<key>[\w, ]+)\) IN \(\n(?P<some>\s*SELECT .*? LIMIT :n)\)\n"
    r"(?=RETURNING )",
    re.DOTALL,
)
_WANTED = re.compile(r"(\w+) \((.*?)\) AS \(VALUES WANTED\)")
_WANTED_TYPES = {"place": "bigint", "owner": "text", "wanted_key": "bytea", "wanted_subject": "bytea"}
"""What stands in the columns of rows that a statement is asked about (connection.Database.of_rows)."""
_COLUMNS = (
    (re.compile(r"\) STRICT(, WITHOUT ROWID)?;"), ");"),
    (re.compile(r"\bTEXT\b"), 'TEXT COLLATE "C"'),
    (re.compile(r"\bBLOB\b"), "BYTEA"),
    (re.compile(r"\bINTEGER\b"), "BIGINT"),
)
_TRIGGER = re.compile(
    r"CREATE TRIGGER (?P<name>\w+) BEFORE (?P<event>DELETE|UPDATE) ON (?P<table>\w+)\n"
    r"(?:WHEN (?P<when>.*?)\n)?BEGIN SELECT RAISE\(ABORT, (?P<why>'[^']*')\); END;",
    re.DOTALL,
)


class Statement(NamedTuple):
    """A statement as PostgreSQL prepares it, and what stands for $1, $2, ...: names, or places counted from 0."""

    text: str
    names: tuple[str | int, ...]


@lru_cache(maxsize=1024)
def translated(sql: str) -> Statement:
    """A statement of the store in PostgreSQL's words."""
    parts = _LITERAL.split(_replaced().get(sql, sql))
    for at in range(0, len(parts), 2):
        for pattern, words in _WORDS:
            parts[at] = pattern.sub(words, parts[at])
    text = _two_sided("".join(part for part in parts if not part.startswith("--")))
    text = _TAKING.sub(_taking, _WANTED.sub(_wanted, text))
    names: dict[str | int, int] = {}

    def place(found: re.Match[str]) -> str:
        name = found[1] if found[1] is not None else len(names)
        return f"${names.setdefault(name, len(names) + 1)}"

    parts = _LITERAL.split(text)
    parts[::2] = [_PLACE.sub(place, part) for part in parts[::2]]
    return Statement("".join(parts).strip().rstrip(";"), tuple(names))


def one_row(text: str) -> str:
    """A statement that returns at most one row, as one that always gives one: 1 in its last column where it did."""
    return f"WITH done AS ({text}, 1 AS found) SELECT done.* FROM (SELECT 1) AS one LEFT JOIN done ON true"  # noqa: S608


def _taking(found: re.Match[str]) -> str:
    """Whoever takes a few rows for itself leaves those to another node that this one is taking just now."""
    table, key = found["table"], found["key"].split(", ")
    ours, theirs = ", ".join(f"{table}.{name}" for name in key), ", ".join(f"taken_{name}" for name in key)
    taken = f"WITH taken ({theirs}) AS MATERIALIZED (\n{found['some']} FOR UPDATE SKIP LOCKED)\n"
    return taken + f"UPDATE {table} SET {found['set']} FROM taken\nWHERE ({ours}) = ({theirs})\n"  # noqa: S608 - our own


def _wanted(found: re.Match[str]) -> str:
    """Rows of values come as one list for each column: one statement, whatever their number."""
    lists = (f"CAST(:w{n} AS {_WANTED_TYPES[name]}[])" for n, name in enumerate(found[2].split(", ")))
    return f"{found[1]} ({found[2]}) AS MATERIALIZED (SELECT * FROM unnest({', '.join(lists)}))"  # noqa: S608 - our own


def _two_sided(sql: str) -> str:
    """min and max of several values, which are aggregates elsewhere."""
    at = 0
    while found := _CALL.search(sql, at):
        at = found.end()
        if _has_comma(sql, at):
            word = _TWO_SIDED[found[1].lower()]
            sql = sql[: found.start()] + word + sql[at - 1 :]
            at = found.start() + len(word) + 1
    return sql


def _has_comma(sql: str, at: int) -> bool:
    """Whether there is more than one argument behind an opening parenthesis."""
    depth = 1
    for char in sql[at:]:
        depth += (char == "(") - (char == ")")
        if not depth:
            return False
        if char == "," and depth == 1:
            return True
    return False


@cache
def _replaced() -> dict[str, str]:
    """Statements that are other ones on PostgreSQL, by the text of those they stand for."""
    found: dict[str, str] = {}
    for noun in (_FOLDER / "postgresql").iterdir():
        if noun.name.endswith("schema.sql"):
            continue
        base, other = (
            aiosql.from_path(str(folder / noun.name), "sqlite3") for folder in (_FOLDER, _FOLDER / "postgresql")
        )
        found |= {getattr(base, name).sql: getattr(other, name).sql for name in _named(other)}
    return found


def _named(queries: aiosql.queries.Queries) -> Iterator[str]:
    return (name for name in queries.available_queries if not name.endswith("_cursor"))


def schema() -> str:
    """The schema of the data, made from SQLite's: the same tables, columns, keys, indexes and rules."""
    text = script((_FOLDER / "schema.sql").read_text())
    before, after = (_FOLDER / "postgresql" / "schema.sql").read_text().split("-- AFTER THE TABLES")
    return before + text + after


def script(text: str) -> str:
    """Statements that make or change tables and their rules."""
    for pattern, words in _COLUMNS:
        text = pattern.sub(words, text)
    return _TRIGGER.sub(_trigger, text)


def _trigger(found: re.Match[str]) -> str:
    when = "" if found["when"] is None else f"WHEN ({found['when'].replace('IS NOT OLD.', 'IS DISTINCT FROM OLD.')})"
    return (
        f"CREATE TRIGGER {found['name']} BEFORE {found['event']} ON {found['table']} "
        f"FOR EACH ROW {when} EXECUTE FUNCTION refuse({found['why']});"
    )


def keys_schema() -> str:
    """The schema of the keys database."""
    return (_FOLDER / "postgresql" / "keys_schema.sql").read_text()
