"""Small changes to a settings file that leave every other line, comments too, as somebody wrote it.

Of lists of tables (`[[...]]`) an entry is added at the end, changed, or taken out; a text in a table is put in the
place of the one before. Each change is read again and compared with what was wanted; Uneditable where the text is
written in a way that this cannot do.
"""

import copy
import json
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from suppression.toml_lines import lines_of, parsed

Value = str | datetime


class Uneditable(Exception):
    """The file has to be changed by hand: what is wanted cannot be put there safely."""


def with_entry(text: str, table: str, values: Mapping[str, Value]) -> str:
    """The text with one more entry of a list of tables, named by its dotted path."""
    lines = "".join(f"{name} = {_toml(value)}\n" for name, value in values.items())
    gap = "" if text.endswith("\n") or not text else "\n"
    wanted = _document(text)
    _list(wanted, table).append(dict(values))
    return _checked(f"{text}{gap}\n[[{table}]]\n{lines}", wanted)


def with_values(text: str, table: str, number: int, values: Mapping[str, Value | None]) -> str:
    """The text with values of one entry (counted from 1) set anew; None takes one away."""
    wanted = _document(text)
    entry = _list(wanted, table)[number - 1]
    for name, value in values.items():
        if value is None:
            entry.pop(name, None)
        else:
            entry[name] = value
    start, end = _span(text, table, number)
    lines = text.splitlines(keepends=True)
    kept = [line for line in lines[start + 1 : end] if line.partition("=")[0].strip() not in values]
    while kept and not kept[-1].strip():
        kept.pop()
    new = [f"{name} = {_toml(value)}\n" for name, value in values.items() if value is not None]
    rest = lines[end:]
    return _checked("".join([*lines[: start + 1], *kept, *new, *(["\n"] if rest else []), *rest]), wanted)


def with_text(text: str, table: str, name: str, value: str) -> str:
    """The text with one value of a table: in the place of the text that stands there, or below the table's header."""
    wanted = _document(text)
    wanted.setdefault(table, {})[name] = value
    lines, found = text.splitlines(keepends=True), lines_of(text)
    new = f"{name} = {_toml(value)}"
    if (at := found.get(f"{table}.{name}")) is not None:
        kept = re.fullmatch(r"""(\s*[^=]+?\s*=\s*)("[^"\\]*"|'[^']*')(.*)""", lines[at - 1], re.DOTALL)
        if kept is None:
            raise Uneditable(f"{table}.{name} is written in a way that cannot be changed")
        lines[at - 1] = f"{kept[1]}{_toml(value)}{kept[3]}"
    elif (at := found.get(table)) is not None:
        lines.insert(at, f"{new}\n")
    else:
        lines += ["" if text.endswith("\n") or not text else "\n", f"\n[{table}]\n{new}\n"]
    return _checked("".join(lines), wanted)


def without_entry(text: str, table: str, number: int) -> str:
    """The text without one entry of a list of tables."""
    wanted = _document(text)
    entries = _list(wanted, table)
    del entries[number - 1]
    if not entries:
        _drop(wanted, table)
    start, end = _span(text, table, number)
    lines = text.splitlines(keepends=True)
    return _checked("".join([*lines[:start], *lines[end:]]), wanted)


def _document(text: str) -> dict[str, Any]:
    return copy.deepcopy(parsed(text))


def _list(document: dict[str, Any], table: str) -> list[Any]:
    *way, last = table.split(".")
    at = document
    for name in way:
        at = at.setdefault(name, {})
    found = at.setdefault(last, [])
    if not isinstance(found, list):
        raise Uneditable(f"{table} is no list of tables")
    return found


def _drop(document: dict[str, Any], table: str) -> None:
    *way, last = table.split(".")
    at = document
    for name in way:
        at = at[name]
    del at[last]


def _span(text: str, table: str, number: int) -> tuple[int, int]:
    """The lines of an entry, from its header to before the next one's (from 0, end not included)."""
    found = lines_of(text)
    header = found.get(f"{table}.{number}")
    lines = text.splitlines()
    if header is None or not lines[header - 1].lstrip().startswith("[["):
        raise Uneditable(f"entry {number} of {table} has no [[{table}]] of its own")
    after = (n for n in range(header, len(lines)) if lines[n].lstrip().startswith("["))
    end = next(after, len(lines))
    while end > header and lines[end - 1].lstrip().startswith("#"):
        end -= 1  # a comment above the next table belongs to that
    return header - 1, end


def _checked(text: str, wanted: Mapping[str, Any]) -> str:
    try:
        if parsed(text) == wanted:
            return text
    except ValueError:
        pass
    raise Uneditable("the file is written in a way that cannot be changed line by line")


def _toml(value: Value) -> str:
    return value.strftime("%Y-%m-%dT%H:%M:%SZ") if isinstance(value, datetime) else json.dumps(value)
