"""Rows of one file that contradict each other: the later one is rejected, and both lines are named.

Two records of one person under one id that cannot both hold, or two rows that declare different facts of one person,
leave open which is meant; nobody's guess decides that. An opt-out is no such question: where one of the two withdraws,
or used its opt-out, or tells that the address is dead, both are taken, and it wins (standing.py).

The file is read twice: once for which persons and ids occur more than once, in eight bytes a row, then for its rows.
"""

import hashlib
from array import array
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final

from gateway.files.native import Kind
from gateway.files.table import Row, Rows
from suppression.address import canonical

FREE: Final = frozenset({"undeliverable", "address_valid", "known", "controller_id"})
"""Columns of people in which two rows may differ: bad news wins, or they say nothing."""
MOST: Final = 200_000
"""Rows with an id that occurs more than once which are remembered; past that a contradiction is left to the ledger,
where a later record with the same id corrects the earlier one and loses no opt-out."""


def applies(kind: Kind, columns: Collection[str]) -> bool:
    """Whether rows of such a file can contradict each other at all."""
    return kind == "people" or (kind in ("consents", "sales") and "id" in columns)


def repeated(rows: Rows, kind: Kind) -> frozenset[int]:
    """Digests of what names a record, of those that occur more than once."""
    place = _Place(rows, kind)
    seen = array("Q")
    for row in rows:
        if row.fault is None and (name := place.name(row)) is not None:
            seen.append(name)
    ordered = sorted(seen)
    return frozenset(one for one, other in pairwise(ordered) if one == other)


@dataclass(slots=True)
class Weighed:
    """The rows of a file, each that contradicts an earlier one with a fault that names both lines."""

    rows: Rows
    kind: Kind
    names: frozenset[int]
    _before: dict[int, list[tuple[int, dict[str, str]]]] = field(default_factory=dict)
    _held: int = 0

    @property
    def columns(self) -> tuple[str, ...]:
        """As in the file; so are the others."""
        return self.rows.columns

    @property
    def header(self) -> list[str]:
        return self.rows.header

    @property
    def delimiter(self) -> str:
        return self.rows.delimiter

    @property
    def width(self) -> int:
        return self.rows.width

    def __iter__(self) -> Iterator[Row]:
        place = _Place(self.rows, self.kind)
        for row in self.rows:
            name = place.name(row) if row.fault is None else None
            if name is None or name not in self.names:
                yield row
                continue
            cells = {
                column: text for column, text in zip(self.columns, map(str.strip, row.cells), strict=False) if text
            }
            fault = next(
                (
                    said
                    for line, old in self._before.get(name, ())
                    if (said := _contradiction(self.kind, line, old, cells))
                ),
                None,
            )
            if fault is not None:
                yield Row(row.line, row.cells, fault)
                continue
            if self._held < MOST:
                self._held += 1
                self._before.setdefault(name, []).append((row.line, cells))
            yield row


class _Place:
    """Where in a row stand the cells that name the record."""

    def __init__(self, rows: Rows, kind: Kind) -> None:
        self._email = rows.columns.index("email")
        self._id = rows.columns.index("id") if kind != "people" else None

    def name(self, row: Row) -> int | None:
        """Eight bytes for the person and the id; None where the row has no id."""
        own = "" if self._id is None else row.cells[self._id].strip()
        if self._id is not None and not own:
            return None
        address = row.cells[self._email].strip()
        whole = f"{canonical(address) or address}\0{own}"
        return int.from_bytes(hashlib.blake2b(whole.encode(), digest_size=8).digest(), "big")


def _contradiction(kind: Kind, line: int, old: dict[str, str], new: dict[str, str]) -> str | None:
    if kind == "people":
        for name in old.keys() & new.keys() - FREE - {"email"}:
            if old[name] != new[name]:
                return f"{name}: line {line} says something else of the same person. Keep one of the two."
        return None
    if {**old, "email": ""} == {**new, "email": ""} or _apart(kind, old, new):
        return None
    what = "consent" if kind == "consents" else "sale"
    return (
        f"id: line {line} says something else of the same {what}. Keep one of the two, or give each an id of its own."
    )


def _apart(kind: Kind, old: dict[str, str], new: dict[str, str]) -> bool:
    """Whether both may stand: one is an opt-out, or they are different acts (as standing.py tells them apart)."""
    if kind == "sales":
        used = "true" in (old.get("opt_out_used_at_collection"), new.get("opt_out_used_at_collection"))
        return used or any(old.get(name) != new.get(name) for name in ("kind", "concluded_at"))
    if old.get("withdrawn_at") or new.get("withdrawn_at"):
        return True
    purposes = [{one.strip() for one in row.get("purposes", "").split("|")} - {""} for row in (old, new)]
    return bool(purposes[0]) and bool(purposes[1]) and purposes[0].isdisjoint(purposes[1])
