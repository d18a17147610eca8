"""Rows of any number, given back in the order of their keys with bounded memory.

Few rows stay in memory. More than that are dealt out by the first byte of their keys, which are evenly spread, and
kept in a file without a name in the system's temporary folder (TMPDIR): gone when it is closed, also when the process
is killed, and sealed under a key that never leaves this process, since rows hold personal data.
"""

import marshal
import os
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from types import TracebackType
from typing import Any, BinaryIO, Final

from suppression.vault import NONCE_BYTES, SECRET_BYTES, seal, unseal

PARTS: Final = 256


class Spill:
    """Put rows in, then take them out once, sorted by key; rows of one key come in the order they were put in."""

    def __init__(self, held: int) -> None:
        """`held`: rows in memory at most, about."""
        self.rows = 0
        """How many were put in."""
        self._most = held
        self._held = 0
        self._parts: list[list[tuple[bytes, Any]]] = [[] for _ in range(PARTS)]
        self._pieces: list[list[tuple[int, int]]] = [[] for _ in range(PARTS)]
        self._key = os.urandom(SECRET_BYTES)
        self._file: BinaryIO | None = None
        self._end = 0
        self._open = ExitStack()

    def __enter__(self) -> "Spill":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()

    def put(self, key: bytes, row: Any) -> None:
        """Add a row: None, bool, int, text, bytes, and tuples, lists, dictionaries of these. Raises OSError."""
        self._parts[key[0]].append((key, row))
        self.rows += 1
        self._held += 1
        if self._held >= self._most:
            self._write()

    def sorted(self) -> Iterator[Any]:
        """The rows in the order of their keys. A part that is larger than memory allows comes in several runs."""
        for first in range(PARTS):
            run: list[tuple[bytes, Any]] = []
            for place in self._pieces[first]:
                run += self._read(place)
                if len(run) >= self._most:
                    yield from _in_order(run)
                    run = []
            run += self._parts[first]
            self._parts[first] = []
            yield from _in_order(run)

    def _write(self) -> None:
        if self._file is None:
            self._file = self._open.enter_context(tempfile.TemporaryFile(buffering=0))  # noqa: SIM115
        for first, part in enumerate(self._parts):
            if not part:
                continue
            place = self._end
            # One text that stands in many rows is written once: marshal keeps the sameness of objects.
            sealed = seal(self._key, marshal.dumps(part), place.to_bytes(8, "big"), os.urandom(NONCE_BYTES))
            self._file.write(sealed)
            self._pieces[first].append((place, len(sealed)))
            self._end += len(sealed)
            self._parts[first] = []
        self._held = 0

    def _read(self, place: tuple[int, int]) -> list[tuple[bytes, Any]]:
        assert self._file is not None
        at, length = place
        self._file.seek(at)
        rows: list[tuple[bytes, Any]] = marshal.loads(  # noqa: S302 - our own, and sealed
            unseal(self._key, self._file.read(length), at.to_bytes(8, "big"))
        )
        return rows


def _in_order(run: list[tuple[bytes, Any]]) -> Iterator[Any]:
    run.sort(key=_key)
    return (row for _, row in run)


def _key(row: tuple[bytes, Any]) -> bytes:
    return row[0]
