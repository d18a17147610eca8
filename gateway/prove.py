"""Evidence that the ledger is what it was: chain, signed heads, projection, export. Reads, but for `keep_heads`.

`verify` walks a chain without holding it: pages up to the recorded end, then what was added meanwhile, until the end it
sees is the end there is. Entries that are being sealed while it looks are no findings.
"""

import contextlib
import json
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from gateway.store.contract import Arrival, Store
from gateway.store.evidence import ChainRest, Difference, KeptHead
from gateway.store.imported import Import
from gateway.store.material import Amiss
from suppression.chain import Head, HeadKeys, Stored
from suppression.chain_check import Explain, Finding, Verifier, waiting
from suppression.chain_damage import changed_field
from suppression.clock_steps import ClockStep, ClockSteps
from suppression.vault import KeyRing

PAGE: Final = 2000
"""Entries read at a time: a bound on memory."""
PIECES: Final = 100
"""Wordings and attachments compared at a time: a bound on how long one read transaction lasts."""
PEOPLE, LISTS = 500, 20
"""People, and entries that name hashes, compared with the ledger at a time; when put right, in one transaction."""

DAY_MS: Final = 86_400_000
EXPLAINED: Final = 50
"""Changed entries per chain whose changed field is looked for."""

Letters = Callable[[Sequence[KeptHead]], Sequence[Arrival]]
"""The mails about new heads."""
Progress = Callable[[str, int, int], None]
"""Called with the controller, the entries seen so far and those there are."""


@dataclass(slots=True)
class Verified:
    """What a look at one controller's ledger found. `waiting`: entries that get their place within seconds.

    `steps`: where the clock went back; a warning, since the chain is whole.
    """

    controller_id: str
    entries: int = 0
    findings: int = 0
    waiting: int = 0
    seq: int = 0
    hash: bytes | None = None
    steps: list[ClockStep] = field(default_factory=list)


@dataclass(slots=True)
class Rebuilt:
    """People compared with the ledger; `skipped`: those whose key is gone."""

    controller_id: str
    people: int = 0
    skipped: int = 0
    differences: int = 0


def head_keys(ring: KeyRing) -> HeadKeys:
    """The keys that sign heads."""
    return HeadKeys(ring.derived("ledger", "head"))


async def verify(
    store: Store, keys: HeadKeys, controller_id: str, result: Verified, *, clock: Callable[[], datetime],
    outside: Sequence[KeptHead] = (), progress: Progress | None = None,
) -> AsyncIterator[Finding]:  # fmt: skip
    """Everything that is wrong with one controller's ledger. `outside`: heads that were kept elsewhere.

    `result` is filled in on the way. Raises StoreUnavailable.
    """
    heads = [one for one in (*await store.heads(controller_id), *outside) if one.head.controller_id == controller_id]
    genuine = [one.head for one in heads if keys.genuine(one.head, one.signature, one.public_key)]
    for one in heads:
        if one.head not in genuine:
            result.findings += 1
            text = "this head was not signed here, or was changed"
            yield _finding(controller_id, one.head.seq, "signed head", text)
    verifier = Verifier(controller_id, genuine, _patient(EXPLAINED))
    imports, said = await store.imports(controller_id), _Imports()
    async for finding in _walk(store, verifier, result, clock, progress, said):
        result.findings += 1
        yield finding
    for finding in () if result.waiting else said.compare(imports):  # the entry may be among those that wait
        result.findings += 1
        yield finding
    async for finding in _material(store, controller_id):
        result.findings += 1
        yield finding
    result.seq, result.hash = verifier.seq, verifier.hash if verifier.seq else None


class _Imports:
    """What the ledger says last of each import: taken back when, or standing."""

    def __init__(self) -> None:
        self._undone: dict[str, datetime | None] = {}

    def take(self, rows: Iterable[Stored]) -> None:
        """The next entries."""
        for row in rows:
            if row.kind == b"import":
                with contextlib.suppress(ValueError, KeyError, TypeError):  # a changed entry is a finding of its own
                    public = json.loads(row.public)
                    self._undone[str(public["import"])] = (
                        datetime.fromtimestamp(row.at / 1000, UTC) if public.get("undone") else None
                    )

    def compare(self, imports: Iterable[Import]) -> Iterator[Finding]:
        """Where the list of imports says another thing."""
        for one in imports:
            undone = self._undone.get(one.import_id.hex())
            if one.undone_at != undone:
                text = (
                    f"by the list import {one.import_id.hex()} {_fate(one.undone_at)}, by the ledger it {_fate(undone)}"
                )
                yield _finding(one.controller_id, None, "import", text)


def _fate(undone: datetime | None) -> str:
    return "stands" if undone is None else f"was taken back at {undone.isoformat(timespec='milliseconds')}"


def _patient(times: int) -> Explain:
    """Says which field of an entry was changed, so many times: trying takes a while."""
    left = iter(range(times))

    def explain(row: Stored, seq: int, previous: bytes, sealed: bytes) -> str | None:
        return changed_field(row, seq, previous, sealed) if next(left, None) is not None else None

    return explain


async def _material(store: Store, controller_id: str) -> AsyncIterator[Finding]:
    """What proves consents, beside the entries that hold its digests."""

    def found(amiss: Amiss) -> Finding:
        return Finding(
            controller_id=controller_id, seq=amiss.seq, entry_id=amiss.entry_id, what=amiss.what, text=amiss.text
        )

    after: bytes | None = b""
    gone: list[tuple[bytes, Amiss]] = []
    while after is not None:
        page = await store.compare_material(controller_id, after=after, n=PIECES)
        for amiss in page.amiss:
            yield found(amiss)
        gone += page.gone
        after = page.after
    # What was kept for a person goes with them. Whose entry it is cannot be told once their key is gone, so those who
    # still have one are asked.
    wanted = frozenset(subject for subject, _ in gone)
    after = b"" if wanted else None
    while after is not None:
        living = await store.living(controller_id, wanted, after=after, n=PAGE)
        for subject, amiss in gone:
            if subject in living.subjects:
                yield found(amiss)
        after = living.after


async def _walk(
    store: Store, verifier: Verifier, result: Verified, clock: Callable[[], datetime], progress: Progress | None,
    imports: _Imports,
) -> AsyncIterator[Finding]:  # fmt: skip
    controller_id, after = verifier.controller_id, b""
    clocks = ClockSteps(controller_id)
    end = await store.chain_end(controller_id)
    while end.genuine:
        upto, total = (end.tail.entry_id, end.tail.seq) if end.tail is not None else (b"", 0)
        async for rows in _pages(store, controller_id, after, upto):
            for finding in verifier.take(rows):
                yield finding
            result.steps += clocks.take(rows)
            imports.take(rows)
            after, result.entries = rows[-1].entry_id, verifier.entries
            if progress is not None:
                progress(controller_id, verifier.entries, total)
        rest = await store.chain_rest(controller_id, after=upto, n=PAGE)
        if rest.end == end:
            result.steps += clocks.end()
            for finding in (*verifier.end(end.tail), *_behind(controller_id, rest, result, clock)):
                yield finding
            return
        end = rest.end
    yield _finding(
        controller_id, end.tail.seq if end.tail is not None else None, "end record",
        "the record of where the chain ends is gone or was changed",
    )  # fmt: skip
    async for rows in _pages(store, controller_id, after, b"\xff" * 17):
        for finding in verifier.take(row for row in rows if row.hash is not None):
            yield finding
        result.entries = verifier.entries
    for finding in verifier.end(None):
        yield finding


def _behind(
    controller_id: str, rest: ChainRest, result: Verified, clock: Callable[[], datetime]
) -> list[Finding]:  # fmt: skip
    """What stands behind the end: young entries wait, old ones and those that claim a place are findings."""
    late = list(waiting(rest.unsealed, controller_id, int(clock().timestamp() * 1000)))
    result.waiting = len(rest.unsealed) - len(late)
    claiming = [
        Finding(
            controller_id=controller_id, seq=None, entry_id=entry_id, what="beyond the end",
            text="it claims a place behind the recorded end of the chain",
        )
        for entry_id in rest.claiming
    ]  # fmt: skip
    orphaned = rest.orphaned and not rest.unsealed
    text = "there is no ledger, and yet people or opt-outs are on file: it was removed"
    return [*late, *claiming, *([_finding(controller_id, 1, "cut off", text)] if orphaned else [])]


async def _pages(store: Store, controller_id: str, after: bytes, upto: bytes) -> AsyncIterator[list[Stored]]:
    while rows := await store.chain_entries(controller_id, after=after, upto=upto, n=PAGE):
        yield rows
        after = rows[-1].entry_id


def _finding(controller_id: str, seq: int | None, what: Any, text: str) -> Finding:
    return Finding(controller_id=controller_id, seq=seq, entry_id=None, what=what, text=text)


async def rebuild(
    store: Store, controller_id: str, result: Rebuilt, *, write: bool, progress: Progress | None = None
) -> AsyncIterator[Difference]:
    """Rows of the projection that are not what the ledger amounts to; `write` puts them right."""
    for compared, n in ((store.rebuild_lists, LISTS), (store.rebuild, PEOPLE)):
        after: bytes | None = b""
        while after is not None:
            page = await compared(controller_id, after=after, n=n, write=write)
            result.people += page.people
            result.skipped += page.skipped
            result.differences += len(page.differences)
            for difference in page.differences:
                yield difference
            if progress is not None:
                progress(controller_id, result.people + result.skipped, 0)
            after = page.after


async def head(store: Store, keys: HeadKeys, controller_id: str, now: datetime) -> KeptHead | None:
    """A signed head of a controller's chain as it stands; None where it never began, or its end is not genuine."""
    end = await store.chain_end(controller_id)
    if end.tail is None or not end.genuine:
        return None
    made = Head(controller_id, end.tail.seq, end.tail.hash, int(now.timestamp() * 1000))
    return KeptHead(head=made, public_key=keys.public, signature=keys.sign(made))


async def keep_heads(
    store: Store,
    keys: HeadKeys,
    now: datetime,
    letters: Callable[[Sequence[KeptHead]], Sequence[Arrival]] | None = None,
) -> int:
    """Once a day keep a signed head of every chain that grew, and send it outside. How many were kept.

    `letters`: the mails about new heads, which are queued with them.
    A head of a day to come, from a clock that ran ahead, does not stand in the way of today's.
    """
    day = int(now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0).timestamp() * 1000)
    today = range(day, day + DAY_MS)
    due = []
    for controller_id in await store.ledgers():
        kept = await store.heads(controller_id)
        new = await head(store, keys, controller_id, now) if not kept or kept[-1].head.at not in today else None
        if new is not None and (not kept or kept[-1].head.seq < new.head.seq):
            due.append(new)
    return await store.keep_heads(due, letters(due) if letters is not None else ()) if due else 0


def head_row(kept: KeptHead) -> dict[str, Any]:
    """A head as it is printed and kept outside."""
    said = kept.head
    return {
        "controller": said.controller_id, "seq": said.seq, "hash": said.hash.hex(),
        "at": datetime.fromtimestamp(said.at / 1000, UTC), "signature": kept.signature.hex(),
        "public_key": kept.public_key.hex(),
    }  # fmt: skip


def head_of_row(row: Mapping[str, Any]) -> KeptHead:
    """A head as it was printed, again. KeyError, TypeError or ValueError where it is none."""
    at = datetime.fromisoformat(row["at"])
    return KeptHead(
        head=Head(str(row["controller"]), int(row["seq"]), bytes.fromhex(row["hash"]), round(at.timestamp() * 1000)),
        public_key=bytes.fromhex(row["public_key"]), signature=bytes.fromhex(row["signature"]),
    )  # fmt: skip


async def export(store: Store, controller_id: str) -> AsyncIterator[str]:
    """A controller's sealed entries as JSON lines, for the verifier that knows nothing of us."""
    end = await store.chain_end(controller_id)
    upto = end.tail.entry_id if end.tail is not None else b""
    async for rows in _pages(store, controller_id, b"", upto):
        for row in rows:
            yield json.dumps(
                {name: plain(name, value) for name, value in row._asdict().items()}, ensure_ascii=False
            )  # fmt: skip


def plain(name: str, value: Any) -> Any:
    """A column of an entry as an export writes it: texts as texts, bytes in hex."""
    if isinstance(value, bytes):
        return value.decode(errors="replace") if name in ("controller_id", "kind", "public") else value.hex()
    return value
