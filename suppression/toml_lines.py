"""A TOML text that somebody wrote by hand: read, and on which line a key stands, so that a message can say so."""

from __future__ import annotations

import re
import tomllib
from typing import Any

_TABLE = re.compile(r"\s*\[(\[?)\s*([^\[\]]+?)\s*\]")
_KEY = re.compile(r"""\s*((?:[A-Za-z0-9_-]+|"[^"]*"|'[^']*')(?:\s*\.\s*(?:[A-Za-z0-9_-]+|"[^"]*"|'[^']*'))*)\s*=""")


def parsed(text: str) -> dict[str, Any]:
    """The values of a TOML text. Raises TOMLDecodeError, also for a text that is TOML and more than can be read."""
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        raise
    except RecursionError:
        raise tomllib.TOMLDecodeError("lists or tables in one another, too many to be read") from None
    except ValueError:  # Python reads no number of more than 4300 digits
        raise tomllib.TOMLDecodeError("a number that is too long to be read") from None


def lines_of(text: str) -> dict[str, int]:
    """Say on which line each table and key of a TOML text begins, by dotted path; list entries are numbered from 1.

    A reading by line, good for messages: keys inside inline tables are not found (their table is).
    """
    found: dict[str, int] = {}
    counts: dict[str, int] = {}
    table = ""
    for number, line in enumerate(text.splitlines(), 1):
        if header := _TABLE.match(line):
            table = _path(header.group(2))
            if header.group(1):
                counts[table] = counts.get(table, 0) + 1
                table = f"{table}.{counts[table]}"
            found.setdefault(table, number)
        elif key := _KEY.match(line):
            path = _path(key.group(1))
            found.setdefault(f"{table}.{path}" if table else path, number)
    return found


def error_line(error: ValueError) -> int | None:
    """The line a TOMLDecodeError speaks of; None where it names none (the end of the text)."""
    at = re.search(r"line (\d+)", str(error))
    return int(at.group(1)) if at else None


def _path(dotted: str) -> str:
    return ".".join(part.strip().strip("\"'") for part in re.findall(r"""\s*(?:"[^"]*"|'[^']*'|[^.]+)""", dotted))
