"""A file of consents, sales, people or suppressions into memory (`consentgate import`).

Read whole and sorted as the tables are, then committed in batches: what was committed stays, and the same file again
changes nothing, so an import that was cut short is simply run again. No row lifts an opt-out, and rows of erased people
are passed over. What cannot be read goes to a file beside the first, with line and reason.
"""

import asyncio
import contextlib
import io
import itertools
import os
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from time import monotonic
from types import TracebackType
from typing import Any, BinaryIO, Final

import uuid_utils

from gateway import record
from gateway.config import Controller
from gateway.files import clash, native, table
from gateway.files.native import Kind, Native, Rejected, Stated
from gateway.files.table import Refusal, Row, Rows, Table
from gateway.foresee import Foresight
from gateway.spill import Spill
from gateway.store.contract import Statement, Stop, Store, SuppressionRow, Taken, Who
from suppression.basis import OWN_SOURCES
from suppression.fields import written
from suppression.ledger import encode
from suppression.provenance import ListSource, list_named, with_provenance
from suppression.standing import BROUGHT_BY, STAYS
from suppression.vault import KeyRing

BATCH: Final = 2000
"""Rows per commit: a bound on how long another process waits for the database (about a tenth of a second)."""
GAP_SECONDS: Final = 0.01
"""Between two commits, at least: others who wait for the database ask for it more often than that."""
HELD: Final = 16_384
"""Rows in memory while the file is sorted; what is more goes to a temporary file: a bound on memory."""
SHOWN: Final = 10
"""Rejected rows that are told at once; all of them stand in the file."""
MOST_NAMES: Final = 100
"""Names of unknown purposes and categories that are kept apart; the others are counted together."""

Progress = Callable[[int, int], None]
"""Called with the work done so far and the work there is, in units of its own."""


@dataclass(slots=True)
class Summary:
    """What became of a file's rows: `rows` is the sum of `kept`, `unchanged`, `rejected`, `skipped` and `unreadable`.

    `skipped`: rows of erased people. `unreadable`: rows about people whose key is lost: what is stored of them must not
    be written over. `new_people`: rows, of those kept, about somebody who had no record. `stopped`:
    rows against which an opt-out stands, kept or not. `unknown`: names that the settings do not declare.
    `first_rejected`: line and reason. `rejected_file`: None where nothing was rejected, or nothing was to be written.
    """

    kept: int = 0
    unchanged: int = 0
    rejected: int = 0
    skipped: int = 0
    unreadable: int = 0
    new_people: int = 0
    stopped: int = 0
    unknown: Counter[str] = field(default_factory=Counter)
    first_rejected: list[tuple[int, str]] = field(default_factory=list)
    rejected_file: Path | None = None

    @property
    def rows(self) -> int:
        """The rows of the file."""
        return self.kept + self.unchanged + self.rejected + self.skipped + self.unreadable

    def reject(self, line: int, reason: str) -> None:
        """Add a rejected row."""
        self.rejected += 1
        if len(self.first_rejected) < SHOWN:
            self.first_rejected.append((line, reason))

    def count(self, taken: Sequence[Taken]) -> None:
        """Add what became of a batch."""
        for one in taken:
            if one.outcome == "kept":
                self.kept += 1
                self.new_people += one.new_person
            elif one.outcome == "unchanged":
                self.unchanged += 1
            elif one.outcome == "erased":
                self.skipped += 1
            else:
                self.unreadable += 1
            self.stopped += one.stopped and one.outcome != "erased"


async def take_in(
    file: Path, kind: Kind, *, store: Store, controller: Controller, ring: KeyRing, now: datetime, dry: bool = False,
    progress: Progress | None = None, import_id: bytes = b"", list_name: str | None = None,
    foresight: Foresight | None = None,
) -> Summary:  # fmt: skip
    """Take in one file. `dry`: look only, write nothing; a row that stands twice in the file then counts as new twice.

    `import_id`: what its entries in the ledger are marked with, so that the import can be undone. `list_name`: the list
    of a third party that all of its consents come from.
    Raises Refusal where the file as a whole cannot be read: then nothing was taken in. Raises StoreUnavailable; the
    batches before it are kept.
    """
    desk = Desk(
        store=store,
        controller=controller,
        ring=ring,
        now=now,
        dry=dry,
        import_id=import_id,
        list_name=list_name,
        foresight=foresight,
    )
    progress = progress or _unwatched
    with _opened(file) as source:
        size = os.fstat(source.fileno()).st_size
        with Rejects(file, source.rows(kind), dry=dry) as rejects:
            summary = await take_in_rows(
                rejects.table, kind, desk=desk, rejects=rejects,
                tell=lambda: progress(source.tell(), size * 3),  # reading takes about a third of the time
                committed=lambda done, rows: progress(size + size * 2 * done // rows, size * 3),
            )  # fmt: skip
            summary.rejected_file = rejects.path if rejects.written else None
    return summary


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """What stays the same for all rows of an import. `import_id` empty: its entries are not marked.

    `list_name`: the list of a third party they come from; None where each row says so, or none does. `foresight`: who
    is told of each row what would become of it, in a dry run.
    """

    store: Store
    controller: Controller
    ring: KeyRing
    now: datetime
    dry: bool = False
    import_id: bytes = b""
    list_name: str | None = None
    foresight: Foresight | None = None


async def take_in_rows(
    rows: Rows, kind: Kind, *, desk: Desk, rejects: "Rejects", tell: Callable[[], None] | None = None,
    committed: Progress | None = None,
) -> Summary:  # fmt: skip
    """Take in rows in the native columns: all are read, then committed in batches.

    `tell` is called now and then while they are read, `committed` after each commit with the rows done and all rows.
    """
    summary = Summary()
    at = desk.now.astimezone(UTC).replace(microsecond=0)
    lists = {one.source.name: one.source for one in await desk.store.sources(desk.controller.id)}
    clerk = Clerk(kind, desk.controller, desk.ring, at, summary, desk.import_id, lists, desk.list_name)
    reader = Native(kind, rows.columns, desk.controller.id, tuple(desk.controller.purposes))
    tell, committed = tell or _unwatched, committed or _unwatched
    with Spill(HELD) as spill:
        for number, row in enumerate(_each(rows), 1):
            _sort_in(row, reader, clerk, rejects, spill, desk.foresight)
            if number % BATCH == 0:
                tell()
                await asyncio.sleep(0)
        tell()
        done = 0
        async for lines, batch in _batches(spill, clerk):
            taken = await _put(desk.store, batch, at=desk.now, dry=desk.dry)
            if desk.foresight is not None:
                await desk.foresight.look(desk.store, lines, batch, taken)
            summary.count(taken)
            done += len(batch)
            committed(done, spill.rows)
    return summary


def _unwatched(*reached: int) -> None:
    """Nobody looks at the progress."""


def rejected_path(file: Path) -> Path:
    """Where the rejected rows of a file go: FILE.csv has FILE.rejected.csv."""
    return file.with_suffix(".rejected.csv") if file.suffix.lower() == ".csv" else Path(f"{file}.rejected.csv")


def _each(rows: Rows) -> Iterator[Row]:
    try:
        yield from rows
    except UnicodeDecodeError:
        raise Refusal(None, "the file changed while it was read", "Let it be finished, then import it again") from None


def _sort_in(
    row: Row, reader: Native, clerk: "Clerk", rejects: "Rejects", spill: Spill, foresight: Foresight | None
) -> None:
    """Read a row and lay it aside in the order of the tables, so that a commit touches few of their pages."""
    result = reader.read(row.cells) if row.fault is None else Rejected((row.fault,))
    if isinstance(result, Stated):
        address = result.address
        keys, global_keys = clerk.keys(address)
        try:
            spill.put(keys[0], (row.line, keys, global_keys, address, result.fields, result.opted_out))
        except OSError as failed:
            what = f"the folder for temporary files cannot be written: {failed.strerror}"
            raise Refusal(None, what, "Make room there, or name another one in TMPDIR") from None
    else:
        reason = " ".join(result.reasons)
        clerk.summary.reject(row.line, reason)
        rejects.put(row, reason)
        if foresight is not None:
            foresight.reject(clerk.kind, row.line, reason)


async def _batches(spill: Spill, clerk: "Clerk") -> AsyncIterator[tuple[list[int], list[Statement | Stop]]]:
    """What the rows say, a commit's worth at a time, with the lines they stand on.

    The next batch is made between commits, not beside them: other processes get the database in the gaps, so that no
    opt-out waits for an import.
    """
    rows = spill.sorted()
    while True:
        began = monotonic()
        some = list(itertools.islice(rows, BATCH))
        batch = [
            clerk.file(Who(clerk.controller.id, keys, global_keys), Stated(*stated))
            for _, keys, global_keys, *stated in some
        ]
        if not batch:
            return
        await asyncio.sleep(GAP_SECONDS - (monotonic() - began))
        yield [line for line, *_ in some], batch


async def _put(store: Store, batch: Sequence[Statement | Stop], *, at: datetime, dry: bool) -> list[Taken]:
    stops = [one for one in batch if isinstance(one, Stop)]
    statements = [one for one in batch if isinstance(one, Statement)]
    taken = await store.take_in_stops(stops, at=at, dry=dry) if stops else []
    return taken + (await store.take_in(statements, at=at, dry=dry) if statements else [])


@dataclass(slots=True)
class Clerk:
    """Turns what rows say into what the store takes, marked with the import that brought it."""

    kind: Kind
    controller: Controller
    ring: KeyRing
    at: datetime
    summary: Summary
    import_id: bytes = b""
    lists: Mapping[str, ListSource] = field(default_factory=dict)
    list_name: str | None = None
    mark: Mapping[str, Any] = field(init=False)
    mark_that_stays: Mapping[str, Any] = field(init=False)
    """The mark of a row that says itself that an opt-out was used."""

    def __post_init__(self) -> None:
        self.mark = {BROUGHT_BY: self.import_id.hex()} if self.import_id else {}
        self.mark_that_stays = {**self.mark, STAYS: True} if self.import_id else {}

    def keys(self, address: str) -> tuple[tuple[bytes, ...], tuple[bytes, ...]]:
        """The keys of the person at this controller, and those of everywhere."""
        return self.ring.recipient_keys(self.controller.id, address), self.ring.global_keys(address)

    def file(self, who: Who, stated: Stated) -> Statement | Stop:
        """What a row says, under the keys of the person it is about."""
        if self.kind == "suppressions":
            return self.stop(who, stated)
        return _person(who, stated, self.mark) if self.kind == "people" else self.statement(who, stated)

    def statement(self, who: Who, stated: Stated) -> Statement:
        """A row of consents or sales."""
        # By the oldest live key: adding an installation key does not make old rows new ones.
        record, plain = native.identified(self.kind, who.recipient_keys[-1], stated.fields)
        purposes = record.get("purposes")
        self._check("purpose", self.controller.purposes, purposes or ())
        self._check("category", self.controller.categories, record["product_categories"] or ())
        kind = "consent" if self.kind == "consents" else "sale"
        if record.get("withdrawn_at") is not None and datetime.fromisoformat(record["withdrawn_at"]) > self.at:
            record = {**record, "withdrawn_at": written(self.at.astimezone(UTC).replace(microsecond=0))}
            plain = encode(record)
        if kind == "consent" and (self.list_name is not None or record["source"] not in OWN_SOURCES):
            record = self._verified(record)
            plain = encode(record)
        return Statement(
            who=who, address=stated.address, entries=((kind, record),), profile=_NO_PROFILE, purposes=purposes,
            public=self.mark_that_stays if stated.opted_out else self.mark, encoded=(plain,),
        )  # fmt: skip

    def stop(self, who: Who, stated: Stated) -> Stop:
        """A row of suppressions. Global scope stands under keys of its own, so that it binds every controller.

        Somebody said no before the file was made: a time to come is a wrong clock or zone, and means now at the latest.
        """
        fields = stated.fields
        kept = stated.address if fields["scope"] != "global" and fields["reason"] != "erasure" else ""
        if fields["scope"] == "global":
            who = Who("", who.global_keys, ())
        if fields["purpose"] is not None:
            self._check("purpose", self.controller.purposes, (fields["purpose"],))
        row = SuppressionRow(
            controller_id=who.controller_id, recipient_key=who.recipient_keys[0],
            suppression_id=uuid_utils.uuid7().bytes, scope=fields["scope"], purpose=fields["purpose"],
            reason=fields["reason"], source="import", lifted_at=None,
            at=self.at if fields["at"] is None else min(self.at, datetime.fromisoformat(fields["at"])),
        )  # fmt: skip
        acts = [replace(act, public={**act.public, **self.mark}) for act in record.opt_out_acts(row)]
        return Stop(who=who, row=row, acts=acts, address=kept)

    def _verified(self, fields: dict[str, Any]) -> dict[str, Any]:
        """A consent with what is on file about the list it came from; its id is that of the row as it was given.

        So the same file, imported again once the list was checked, corrects its records.
        """
        made = with_provenance(fields, self.lists, self.list_name)
        named = list_named(made["evidence"]["origin"])
        self._check("list", self.lists, (named or "of a third party (none is named)",))
        return made

    def _check(self, what: str, declared: Mapping[str, object], names: Sequence[str]) -> None:
        for name in names:
            if name not in declared:
                said, unknown = f"{what} {name}", self.summary.unknown
                unknown[said if said in unknown or len(unknown) < MOST_NAMES else "others"] += 1


_NO_PROFILE: Final[Mapping[str, str]] = {}


def _person(who: Who, stated: Stated, mark: Mapping[str, Any]) -> Statement:
    """A row about a person. A dead address is marked; good news about it is not believed, bounces say more."""
    said = dict(stated.fields)
    profile: dict[str, str] = {name: said.pop(name) for name in native.PROFILE if name in said}
    dead = said.pop("undeliverable", False) or not said.pop("address_valid", True)
    said.pop("known", None)  # this row makes the person known
    said["unless_known"] = native.absent_recipient()
    entries: list[tuple[str, Mapping[str, Any]]] = [("person", said)]
    if dead:
        entries.append(("undeliverable", {"undeliverable": True}))
    return Statement(
        who=who, address=stated.address, entries=entries, profile=profile, purposes=None, public=mark
    )  # fmt: skip


class _Source:
    """The file, read over one handle: to see that it is text, for what occurs twice in it, and for its rows."""

    def __init__(self, raw: BinaryIO) -> None:
        self._raw = raw

    def fileno(self) -> int:
        return self._raw.fileno()

    def tell(self) -> int:
        return self._raw.tell()

    def rows(self, kind: Kind) -> Rows:
        """The rows of the file, once it has proved to be text; those that contradict earlier ones have a fault."""
        table.check_text(iter(partial(self._raw.readline, table.LINE_BYTES + 1), b""))
        rows, text = self._table(kind)
        if not clash.applies(kind, rows.columns):
            return rows
        names = clash.repeated(rows, kind)
        text.detach()  # or the file would be closed with it
        return clash.Weighed(self._table(kind)[0], kind, names)

    def _table(self, kind: Kind) -> tuple[Table, io.TextIOWrapper]:
        self._raw.seek(0)
        text = io.TextIOWrapper(self._raw, encoding="utf-8-sig", newline="")
        return Table(text, native.columns(kind)), text


@contextlib.contextmanager
def _opened(file: Path) -> Iterator[_Source]:
    try:
        raw = file.open("rb")
    except OSError as failed:
        raise Refusal(None, f"{file} cannot be read: {failed.strerror}", "Check its path and mode") from None
    with raw:
        if not raw.seekable():
            raise Refusal(None, f"{file} is no plain file", "Save what it gives as a file and import that")
        yield _Source(raw)


class Rejects:
    """FILE.rejected.csv: the original cells, then line and reason. Made with the first rejected row, owner-only.

    The cells stand as they were given, so that the corrected file can be imported: nothing is put in front of one that
    a spreadsheet would take for a formula. The reason never begins like one, since it begins with a column's name.
    """

    def __init__(self, file: Path, rows: Rows, *, dry: bool) -> None:
        self.path = rejected_path(file)
        self.table = rows
        self.written = False
        self._width = rows.width
        self._dry = dry
        self._out: io.TextIOWrapper | None = None

    def __enter__(self) -> "Rejects":
        if not self._dry:
            try:
                self.path.unlink(missing_ok=True)
            except OSError as failed:
                raise self._refusal(failed) from None
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._out is not None:
            self._out.close()

    def put(self, row: Row, reason: str) -> None:
        """Add a row."""
        if self._dry:
            return
        out = self._out = self._out or self._made()
        given = row.cells if row.original is None else row.original
        cells = given[: self._width]
        cells += [""] * (self._width - len(cells))
        surplus = given[len(self.table.header) :]
        if surplus:
            reason += " Left over: " + table.written(surplus, self.table.delimiter).rstrip("\r\n")
        out.write(table.written([*cells, str(row.line), reason], self.table.delimiter))

    def _made(self) -> io.TextIOWrapper:
        try:
            handle = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except OSError as failed:
            raise self._refusal(failed) from None
        self.written = True
        out = os.fdopen(handle, "w", encoding="utf-8", newline="")
        header = self.table.header[: self._width]
        out.write(table.written([*header, *table.MARKS], self.table.delimiter))
        return out

    def _refusal(self, failed: OSError) -> Refusal:
        what = f"there are rows to reject, and {self.path} cannot be written: {failed.strerror}"
        return Refusal(None, what, "Make its folder writable and import again; rows that were kept are not taken twice")
