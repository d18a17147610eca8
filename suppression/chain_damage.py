"""Which field of a damaged entry was changed, where one small change explains it. No I/O.

A hash says that an entry is not what was sealed, not where. But the sealed hash is there, so a guess can be tried: put
a field back to what it may have been, and see whether the hash fits again. What is tried: another value of one byte of
one field, another kind, another instant within seconds of that in the entry's id. More than that stays unsaid.
"""

import struct
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

from suppression.chain import Stored, born, entry_hash
from suppression.ledger import KINDS

SHORT: Final = 64
"""Fields up to this length are tried with every value of every byte, longer ones with every single bit (bytes)."""
BEFORE_MS, AFTER_MS = 5_000, 1_000
"""How long before and after its id an entry's instant is looked for: an act may be dated by its whole second (ms)."""
LONGEST: Final = 4096
"""Longer fields are not tried (bytes)."""
_CONTENT: Final = ("kind", "subject", "public", "private", "commitment", "controller_id", "entry_id")


def changed_field(row: Stored, seq: int, previous: bytes, sealed: bytes) -> str | None:
    """The field that was changed, given the hash the entry was sealed with at its place; None where none explains it.

    Takes up to a tenth of a second for an entry of a kilobyte.
    """
    for name in ("at", *_CONTENT):
        value = getattr(row, name)
        if value is not None and _explains(row, seq, previous, sealed, name, value):
            return name
    return None


def _explains(row: Stored, seq: int, previous: bytes, sealed: bytes, name: str, value: Any) -> bool:
    try:
        if name == "at":
            return any(
                entry_hash(row._replace(at=at), seq, previous) == sealed for at in _instants(value, row.entry_id)
            )
        if name == "kind" and any(
            entry_hash(row._replace(kind=kind.encode()), seq, previous) == sealed for kind in KINDS
        ):
            return True
        return _one_byte(row, seq, previous, sealed, name, value)
    except (TypeError, ValueError, struct.error):
        return False


def _instants(at: int, entry_id: bytes) -> Iterable[int]:
    made = born(entry_id)
    yield from (at ^ (1 << bit) for bit in range(63))
    yield from range(made - BEFORE_MS, made + AFTER_MS)
    yield from (1000 * (made // 1000 - seconds) for seconds in range(600))


def _one_byte(row: Stored, seq: int, previous: bytes, sealed: bytes, name: str, value: bytes) -> bool:
    for place, byte in _guesses(value):
        tried: Any = {name: value[:place] + bytes((byte,)) + value[place + 1 :]}
        if entry_hash(row._replace(**tried), seq, previous) == sealed:
            return True
    return False


def _guesses(value: bytes) -> Iterator[tuple[int, int]]:
    for place, byte in enumerate(value if len(value) <= LONGEST else b""):
        others: Sequence[int] = range(256) if len(value) <= SHORT else [byte ^ (1 << bit) for bit in range(8)]
        yield from ((place, other) for other in others if other != byte)
