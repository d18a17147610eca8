"""A batch of rows as the process that reads a file hands them over: each sealed for the case that its person is new.

In most batches everybody is, so that nothing need be made of the rows (newcomers.py). They stand here field by field,
as the tables take them; what they say is made into statements only where somebody turns out to be known.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from gateway.store.ahead import Encoded, Fresh
from gateway.store.contract import Statement, Who
from suppression.vault import PersonSecret


class SealedRows(NamedTuple):
    """A field of all rows each, in one order; at least one row. From `secrets` on: the fields of `Fresh`.

    `kinds`: of each row's entries. `later`: the canonical JSON of those after the first, which is what was sealed.
    `marks_stay`: whether the row's entries bear the public fields of one that says itself that an opt-out was used.
    """

    keys: Sequence[tuple[bytes, ...]]
    global_keys: Sequence[tuple[bytes, ...]]
    addresses: Sequence[str]
    kinds: Sequence[tuple[str, ...]]
    later: Sequence[tuple[bytes, ...]]
    said: Sequence[dict[str, str]]
    purposes: Sequence[list[str] | None]
    marks_stay: Sequence[bool]
    secrets: Sequence[bytes]
    seal_keys: Sequence[bytes]
    subjects: Sequence[bytes]
    profiles: Sequence[bytes]
    facts: Sequence[bytes | None]
    wrapped: Sequence[bytes]
    entry_ids: Sequence[bytes]
    private: Sequence[bytes]
    commitments: Sequence[bytes]


class SealedBatch(NamedTuple):
    """The rows of one commit. `mark`, `mark_that_stays`: the public fields of their entries, by `marks_stay`."""

    controller_id: str
    rows: SealedRows
    mark: Mapping[str, Any]
    mark_that_stays: Mapping[str, Any]

    def statements(self) -> list[Statement]:
        """What the rows say, each with what was sealed of it."""
        return [self._statement(*row) for row in zip(*self.rows, strict=True)]

    def _statement(
        self, keys: tuple[bytes, ...], global_keys: tuple[bytes, ...], address: str, kinds: tuple[str, ...],
        later: tuple[bytes, ...], said: dict[str, str], purposes: list[str] | None, marks_stay: bool, secret: bytes,
        *sealed: Any,
    ) -> Statement:  # fmt: skip
        fresh = Fresh(PersonSecret(secret), *sealed)
        kept: tuple[bytes | Fresh, ...] = (fresh, *later)
        return Statement(
            who=Who(self.controller_id, keys, global_keys), address=address,
            entries=[(kind, Encoded(one)) for kind, one in zip(kinds, kept, strict=True)],
            profile=said, purposes=purposes, public=self.mark_that_stays if marks_stay else self.mark, fresh=fresh,
        )  # fmt: skip
