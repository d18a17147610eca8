"""Whether a controller's chain is whole: walks it and says what is wrong, entry by entry. No I/O, no clock."""

import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from suppression.chain import Head, Stored, Tail, born, entry_hash, genesis

UNSEALED_MS: Final = 10_000
"""How long an entry may wait for its place in the chain; one that waits longer was forgotten or forged (ms)."""
CONTENT: Final = ("at", "kind", "subject", "public", "private", "commitment", "entry_id")
"""What an entry says, besides its place."""
NOT_AS_SEALED: Final = "what it says is not what was sealed"

Explain = Callable[["Stored", int, bytes, bytes], str | None]
What = Literal[
    "changed",
    "missing",
    "misplaced",
    "unsealed",
    "cut off",
    "beyond the end",
    "end record",
    "signed head",
    "wording",
    "source",
    "attachment",
    "hash list",
    "import",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something is wrong with one entry, or with what is kept about the chain's end. `seq`, `entry_id`: where known."""

    controller_id: str
    seq: int | None
    entry_id: bytes | None
    what: What
    text: str


class Verifier:
    """Walks one controller's chain in the order of entry ids and says what is wrong. Constant memory.

    Feed it with `take`, as often as there are pages, then ask `end`. One entry that does not fit is held back until
    the next one shows what became of it: changed, moved, or gone.
    """

    def __init__(self, controller_id: str, heads: Sequence[Head] = (), explain: Explain | None = None) -> None:
        """`heads`: genuine heads of this controller; the chain has to contain them. `explain`: names the field that was
        changed, given the entry, its number, the hash before and the one it was sealed with; None where it cannot."""
        self._explain = explain
        self.controller_id = controller_id
        self.seq, self.hash = 0, genesis(controller_id)
        """The last entry that stood, or whose place is known."""
        self.entries = 0
        self._last_id: bytes | None = None
        self._held: Stored | None = None
        self._heads = sorted(heads, key=lambda head: head.seq, reverse=True)

    def take(self, rows: Iterable[Stored]) -> Iterator[Finding]:
        """The next entries; those behind the chain's end or never sealed belong to the caller."""
        for row in rows:
            self.entries += 1
            if self._held is not None:
                held, self._held = self._held, None
                fits = row.hash is not None and row.hash == _computed(row, self.seq + 1, self.hash)
                yield from self._diagnose(held, _number(row.seq), row.previous, next_fits=fits)
            seq = self.seq + 1
            if row.seq == seq and row.previous == self.hash and _computed(row, seq, self.hash) == row.hash:
                self._advance(seq, self.hash if row.hash is None else row.hash, row.entry_id)
                if self._heads and self._heads[-1].seq <= seq:
                    yield from self._compare_heads()
            else:
                self._held = row

    def end(self, tail: Tail | None) -> Iterator[Finding]:
        """What the end shows. `tail`: where the chain has to end; None: it is not known."""
        if self._held is not None:
            held, self._held = self._held, None
            if tail is not None:
                fits = (tail.seq, tail.hash) == (self.seq, self.hash)
                yield from self._diagnose(held, tail.seq + 1, tail.hash, next_fits=fits)
            else:
                yield from self._diagnose(held, None, None, next_fits=False)
        yield from self._compare_heads()
        if tail is not None and self.seq < tail.seq:
            yield self._missing(self.seq + 1, tail.seq, "cut off", " at the end of the chain")
        elif tail is not None and self.seq > tail.seq:
            text = f"entries {tail.seq + 1} to {self.seq} stand behind the recorded end of the chain"
            yield self._finding(tail.seq + 1, None, "beyond the end", text)
        elif tail is not None and self.hash != tail.hash:
            yield self._rewritten()
        if self._heads:
            seq = self._heads[0].seq
            yield self._finding(seq, None, "cut off", f"a signed head names entry {seq}, which is not there")

    def _advance(self, seq: int, made: bytes, entry_id: bytes | None) -> None:
        self.seq, self.hash, self._last_id = seq, made, entry_id

    def _compare_heads(self) -> Iterator[Finding]:
        while self._heads and self._heads[-1].seq <= self.seq:
            head = self._heads.pop()
            if head.seq == self.seq and head.hash != self.hash:
                yield self._finding(
                    head.seq, self._last_id, "changed", "the chain up to here is not the one that was signed"
                )

    def _diagnose(
        self, row: Stored, next_seq: int | None, next_previous: bytes | None, *, next_fits: bool
    ) -> Iterator[Finding]:
        """Why an entry does not fit, judged by the one behind it; then go on where the chain is whole again.

        `next_fits`: the one behind it follows the one before it.
        """
        seq, says, at_place = self.seq + 1, _number(row.seq), _computed(row, self.seq + 1, self.hash)
        if row.hash is None:
            yield from self._without_seal(row, next_seq, next_previous, at_place)
        elif next_fits:
            yield self._misplaced(row)
        elif at_place == row.hash:
            right = (("seq", says == seq), ("previous", row.previous == self.hash))
            changed = " and ".join(name for name, good in right if not good)
            yield self._changed(seq, row, f"its {changed} changed; what it says is as it was")
            self._advance(seq, row.hash, row.entry_id)
        elif at_place is not None and at_place == next_previous:
            yield self._changed(seq, row, "its hash was changed; what it says is as it was")
            self._advance(seq, at_place, row.entry_id)
        elif says is not None and _computed(row, says, row.previous) == row.hash:
            yield from self._whole_elsewhere(row, row.hash, says, next_seq, next_previous)
        elif says == seq or next_seq == seq + 1:
            yield self._changed(seq, row, self._not_as_sealed(row, seq, self.hash))
            self._advance(seq, next_previous if next_seq == seq + 1 and next_previous else row.hash, row.entry_id)
        elif says is not None and says > seq and next_seq == says + 1:
            yield self._missing(seq, says - 1)
            yield self._changed(says, row, self._not_as_sealed(row, says, row.previous or b""))
            self._advance(says, next_previous or row.hash, row.entry_id)
        else:
            yield self._misplaced(row)

    def _not_as_sealed(self, row: Stored, seq: int, previous: bytes) -> str:
        if self._explain is None or row.hash is None:
            return NOT_AS_SEALED
        field = self._explain(row, seq, previous, row.hash)
        named = f"its {field} changed" if field is not None else f"one or more of its {', '.join(CONTENT)} changed"
        return f"{named}: {NOT_AS_SEALED}"

    def _without_seal(
        self, row: Stored, next_seq: int | None, next_previous: bytes | None, at_place: bytes | None
    ) -> Iterator[Finding]:
        seq = self.seq + 1
        if next_seq == seq + 1 and next_previous is not None:
            same = "what it says is as it was" if at_place == next_previous else "what it says was changed"
            yield self._changed(seq, row, f"its seal was taken off; {same}")
            self._advance(seq, next_previous, row.entry_id)
        else:
            text = "it has no place in the chain, though later entries have: put in by hand"
            yield self._finding(row.seq, row.entry_id, "unsealed", text)

    def _whole_elsewhere(
        self, row: Stored, made: bytes, says: int, next_seq: int | None, next_previous: bytes | None
    ) -> Iterator[Finding]:
        """An entry that is whole in itself but does not follow the one before."""
        seq = self.seq + 1
        if says == seq:
            if self.seq and next_previous == made:
                yield self._rewritten()
            else:
                yield self._changed(seq, row, "it was written anew, and rests on another entry than the one before it")
            self._advance(seq, next_previous if next_seq == seq + 1 and next_previous else made, row.entry_id)
        elif says > seq and (next_previous in (None, made) or (next_seq is not None and next_seq > says)):
            yield self._missing(seq, says - 1)
            self._advance(says, made, row.entry_id)
        else:
            yield self._misplaced(row)

    def _rewritten(self) -> Finding:
        text = "it was written anew with a hash of its own: what follows rests on another entry"
        return self._finding(self.seq, self._last_id, "changed", text)

    def _changed(self, seq: int, row: Stored, text: str) -> Finding:
        return self._finding(seq, row.entry_id, "changed", text)

    def _misplaced(self, row: Stored) -> Finding:
        text = f"it says it is number {row.seq}, and does not belong behind number {self.seq}: moved, doubled or put in"
        return self._finding(row.seq, row.entry_id, "misplaced", text)

    def _missing(self, first: int, last: int, what: What = "missing", where: str = "") -> Finding:
        text = f"entry {first} is missing{where}" if first == last else f"entries {first} to {last} are missing{where}"
        return self._finding(first, None, what, text)

    def _finding(self, seq: int | None, entry_id: Any, what: What, text: str) -> Finding:
        named = entry_id if isinstance(entry_id, bytes) else None
        return Finding(controller_id=self.controller_id, seq=seq, entry_id=named, what=what, text=text)


def _number(stored: object) -> int | None:
    return stored if isinstance(stored, int) else None


def _computed(row: Stored, seq: int, previous: bytes | None) -> bytes | None:
    """The hash the entry would have there; None where a column holds what it never could."""
    try:
        return entry_hash(row, seq, previous or b"")
    except (TypeError, struct.error):
        return None


def waiting(entries: Iterable[tuple[bytes, int]], controller_id: str, now: int) -> Iterator[Finding]:
    """Of unsealed entries at the end of a chain, those that wait too long to be told from forged ones.

    Entries as id and instant (ms). Either may be the young one: an act may be dated back, and the id of one that was
    written after the clock went back lies in the future.
    """
    for entry_id, at in entries:
        seconds = min((now - born(entry_id), now - at), key=abs) / 1000
        if abs(seconds) * 1000 > UNSEALED_MS:
            since = f"for {seconds:.0f} s" if seconds > 0 else "and is dated in the future"
            text = f"it has no place in the chain {since}: put in by hand, or the gateway does not run"
            yield Finding(controller_id=controller_id, seq=None, entry_id=entry_id, what="unsealed", text=text)
