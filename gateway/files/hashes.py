"""A list of people who must not be mailed, by hash of their address, as parties hand it to each other.

One hash a line, or a CSV file with a column sha256, sha512 or md5: the digest in hex of the address, trimmed and in
small letters. A hash cannot be turned back into an address, so it is kept as one and met when the address comes by.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from gateway.files.table import Refusal, Rows
from gateway.files.vendor import plain

ALGORITHMS: Final = {32: "md5", 64: "sha256", 128: "sha512"}
"""By the number of hex digits."""
LINE: Final = re.compile(r'\s*"?(?:[0-9a-fA-F]{32}|[0-9a-fA-F]{64}|[0-9a-fA-F]{128})"?\s*')
HEADER: Final = ("hash",)
"""The name of the only column of a file without a header."""
_COLUMNS: Final = (
    "sha512", "sha256", "md5", "hash", "email_hash", "email_sha512", "email_sha256", "email_md5", "sha_256", "sha_512",
    "hashed_email",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Digest:
    """The hash of one line."""

    line: int
    algorithm: str
    digest: bytes


@dataclass(frozen=True, slots=True)
class NoDigest:
    """A line that holds none, and why."""

    line: int
    reason: str
    cells: list[str]


def recognises(names: frozenset[str]) -> bool:
    """Whether a header is that of a list of hashes: one that also holds addresses is not."""
    return bool(names & set(_COLUMNS)) and not names & {"email", "email_address", "address", "emailaddress"}


def read(rows: Rows) -> Iterator[Digest | NoDigest]:
    """The hashes of a file."""
    names = [plain(name) for name in rows.header]
    places = [names.index(name) for name in _COLUMNS if name in names]
    if not places:
        raise Refusal(1, "there is no column with hashes", "Name it sha256, sha512 or md5")
    for row in rows:
        cells = [row.cells[place].strip() for place in places if place < len(row.cells) and row.cells[place].strip()]
        if row.fault is not None or not cells:
            yield NoDigest(row.line, row.fault or "hash: is empty.", row.cells)
        for cell in cells if row.fault is None else ():
            algorithm = ALGORITHMS.get(len(cell)) if LINE.fullmatch(cell) else None
            if algorithm is None:
                yield NoDigest(row.line, "hash: is no MD5, SHA-256 or SHA-512 in hex digits.", row.cells)
            else:
                yield Digest(row.line, algorithm, bytes.fromhex(cell))
