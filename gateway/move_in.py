"""A whole list moves in from another tool, or from a file of our own (`consentgate import`).

Everything is looked at before anything is taken: encoding, header, format, every part. Then opt-outs first, of all
parts; people; consents. An import that is cut short has so let nobody in whom the same file keeps out. It is written
down as one import, with what the importing person stated for all rows, and can be taken back (taking_back.py).
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Literal, TextIO

import uuid_utils

from gateway import unpack
from gateway.clerk import Summary
from gateway.files import entries, formats, hashes
from gateway.files.entries import Entries
from gateway.files.formats import Contradiction, OptOuts, Translated
from gateway.files.native import Kind, columns
from gateway.files.table import Refusal, Row, Rows, Table
from gateway.files.vendor import ORDER, Terms
from gateway.reading import BATCH, Rejects
from gateway.store.imported import Import
from gateway.take_in import Desk, Progress, take_in, take_in_rows
from gateway.unpack import Part

Wanted = Kind | Literal["all"]
PIECE: int = 1 << 16
"""Characters of JSON read at a time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """What became of the rows of one kind in one part of the file."""

    part: str
    kind: str
    summary: Summary


@dataclass(slots=True, kw_only=True)
class MovedIn:
    """One import. `import_id` None: a dry run, which is written down nowhere.

    `notes`: what the importing person should know, with the number of rows. `contradicted`: rows that say somebody
    agreed who opted out in the same file; the first of them in `contradictions`. The opt-out stands.
    """

    form: str
    import_id: bytes | None
    taken: list[Taken] = field(default_factory=list)
    notes: Counter[str] = field(default_factory=Counter)
    contradictions: list[Contradiction] = field(default_factory=list)
    contradicted: int = 0

    @property
    def counts(self) -> dict[str, int]:
        """All summaries added up."""
        total: Counter[str] = Counter()
        for one in self.taken:
            summary = one.summary
            total.update({
                "rows": summary.rows, "kept": summary.kept, "unchanged": summary.unchanged,
                "outweighed": summary.outweighed,
                "rejected": summary.rejected, "skipped": summary.skipped, "unreadable": summary.unreadable,
                "new_people": summary.new_people, "opted_out": summary.stopped,
            })  # fmt: skip
        return dict(total)


@dataclass(frozen=True, slots=True)
class _List:
    """One part whose layout is known. `header`: that of a file without one; `names`: those of JSON entries."""

    part: Part
    form: str
    header: Sequence[str] | None
    names: Sequence[str] | None

    @contextmanager
    def rows(self) -> Iterator[tuple[Rows, Callable[[], int]]]:
        """Its rows, from the first; and how many bytes of it were read."""
        with self.part.raw() as raw:
            text = unpack.decoded(raw)
            if self.names is not None:
                yield Entries(_pieces(text), list(self.names)), raw.tell
            else:
                yield Table(text, None, self.header), raw.tell


def _pieces(text: TextIO) -> Iterator[str]:
    return iter(partial(text.read, PIECE), "")


async def move_in(
    file: Path, wanted: Wanted, *, form: str, desk: Desk, terms: Terms, progress: Progress | None = None
) -> MovedIn:
    """Take in a file of any known format.

    `wanted`: what of it is taken; opt-outs are, whatever is wanted. `desk.import_id` is given here. Raises Refusal
    where the file as a whole cannot be read: then nothing was taken in. Raises StoreUnavailable; what was committed
    before is kept, is on the list of imports without counts, and can be taken back or completed by running it again.
    """
    lists = [_recognised(part, form, wanted) for part in unpack.parts(file)]
    form = lists[0].form
    if odd := next((one for one in lists if one.form != form), None):
        raise Refusal(
            None, f"{odd.part.name} is from {odd.form}, {lists[0].part.name} from {form}", "Import them apart"
        )
    _check_kind(lists, wanted, terms)
    done = MovedIn(form=form, import_id=None if desk.dry else uuid_utils.uuid7().bytes)
    desk = replace(desk, import_id=done.import_id or b"")
    brought = Import(
        controller_id=desk.controller.id, import_id=desk.import_id, at=desk.now.astimezone(UTC), kind=wanted, form=form,
        digest=unpack.digest(file), by=terms.by, stated=terms.stated,
    )  # fmt: skip
    if not desk.dry:
        await desk.store.put_import(brought)
    if form == "hashes":
        await _hashes(file, lists, desk, done)
    elif form == "native" and wanted != "all":
        await _native(file, wanted, desk, done, progress)
    else:
        await _foreign(file, lists, wanted, desk, terms, done, progress)
    if not desk.dry:
        await _write_down(desk, replace(brought, counts=done.counts))
    return done


async def _write_down(desk: Desk, brought: Import) -> None:
    """The end of an import: its counts on the list, and one entry in the ledger about the whole of it."""
    await desk.store.put_import(brought)
    public = {
        "import": brought.import_id.hex(), "kind": brought.kind, "format": brought.form,
        "sha256": brought.digest.hex(), "stated": list(brought.stated), "counts": brought.counts,
    }  # fmt: skip
    private = {"by": brought.by, "stated": brought.stated}
    await desk.store.note(brought.controller_id, "import", public, private, at=desk.now)


def _recognised(part: Part, form: str, wanted: Wanted) -> _List:
    """The layout of a part, once all of it has proved to be text. Refusal where nothing knows it."""
    part.check()
    start = part.start()
    kind = None if wanted == "all" else wanted
    if start.lstrip("\ufeff \t")[:1] in ("{", "["):
        with part.text() as text:
            names = entries.names(_pieces(text))
        known = formats.recognise(names, kind) if form == "auto" else form
        if known == "native":
            raise Refusal(
                None, "native rows come as CSV, and this is JSON", "Save it as CSV, or say which tool it is from"
            )
        return _List(part, known, None, names)
    if form == "auto":
        form = formats.sniff_line(start) or _by_header(start, kind)
    if form == "native" and kind is not None:
        with part.text() as text:
            Table(text, columns(kind))
    header = formats.headless(form, start)
    if header is None and start:
        formats.check_claim(form, Table([start], None).header)
    return _List(part, form, header, None)


def _by_header(line: str, kind: Kind | None) -> str:
    return formats.recognise(Table([line], None).header, kind) if line else "native"


def _check_kind(lists: Sequence[_List], wanted: Wanted, terms: Terms) -> None:
    """Refuse what such a file cannot hold, or need not be told."""
    if lists[0].form == "hashes" and wanted not in ("all", "suppressions"):
        raise Refusal(None, "a list of hashes holds opt-outs", "Import it with the kind suppressions")
    if lists[0].form != "native":
        if wanted == "sales":
            raise Refusal(None, f"a file from {lists[0].form} holds no sales", "Import it with the kind all")
        return
    if terms.stated:
        raise Refusal(
            None, "a native file says itself what the options would state",
            f"Write it into the file's columns and leave out what you stated: {', '.join(terms.stated)}",
        )  # fmt: skip
    if wanted == "all" or len(lists) > 1 or not lists[0].part.alone:
        raise Refusal(
            None, "a native file holds one kind of rows and its columns do not say which",
            "Say consents, sales, people or suppressions instead of all, and import one CSV file",
        )  # fmt: skip


async def _native(
    file: Path, wanted: Kind, desk: Desk, done: MovedIn, progress: Progress | None
) -> None:  # fmt: skip
    summary = await take_in(
        file, wanted, store=desk.store, controller=desk.controller, ring=desk.ring, now=desk.now, dry=desk.dry,
        progress=progress, import_id=desk.import_id, list_name=desk.list_name,
        foresight=desk.foresight,
    )  # fmt: skip
    done.taken.append(Taken(part=file.name, kind=wanted, summary=summary))


async def _foreign(
    file: Path, lists: Sequence[_List], wanted: Wanted, desk: Desk, terms: Terms, done: MovedIn,
    progress: Progress | None,
) -> None:  # fmt: skip
    """Opt-outs of all parts, then people, then consents: as many passes over the file."""
    kinds = [kind for kind in ORDER if wanted in ("all", kind) or kind == "suppressions"]
    reached = _Reached(sum(one.part.size for one in lists) * len(kinds) * 3, progress)  # reading takes about a third
    opt_outs = OptOuts()
    with _Books(file, desk.dry) as books:
        for kind in kinds:
            for one in lists:
                own = replace(terms, part=one.part.name, purposes_declared=tuple(desk.controller.purposes))
                with one.rows() as (rows, reached.now):
                    translated = Translated(rows, formats.FORMATS[one.form], own, kind, opt_outs)
                    rejects = books.of(one.part, translated)
                    summary = await take_in_rows(
                        translated, kind, desk=desk, rejects=rejects, tell=reached.tell,
                        committed=partial(reached.committed, one.part.size),
                    )  # fmt: skip
                summary.rejected_file = rejects.path if summary.rejected and rejects.written else None
                reached.add(one.part.size * 3)
                _gather(done, one, kind, summary, translated)
            opt_outs.seal()


async def _hashes(file: Path, lists: Sequence[_List], desk: Desk, done: MovedIn) -> None:
    """Lists of hashes: kept as hashes, met when the address comes by."""
    with _Books(file, desk.dry) as books:
        for one in lists:
            summary = Summary()
            with one.rows() as (rows, _):
                rejects = books.of(one.part, rows)
                read = hashes.read(rows)
                while some := list(islice(read, BATCH)):
                    for bad in (each for each in some if isinstance(each, hashes.NoDigest)):
                        summary.reject(bad.line, bad.reason)
                        rejects.put(Row(bad.line, bad.cells, bad.reason), bad.reason)
                    good = [(each.algorithm, each.digest) for each in some if isinstance(each, hashes.Digest)]
                    new = await desk.store.add_hashes(desk.controller.id, good, at=desk.now, dry=desk.dry)
                    summary.kept += sum(new)
                    summary.unchanged += len(new) - sum(new)
            summary.rejected_file = rejects.path if rejects.written else None
            done.taken.append(Taken(part=one.part.name, kind="suppressions", summary=summary))
    done.notes["hashes are kept as hashes: whose they are shows when the address is mailed"] = len(done.taken)


def _gather(done: MovedIn, one: _List, kind: Kind, summary: Summary, translated: Translated) -> None:
    if summary.rows:
        done.taken.append(Taken(part=one.part.name, kind=kind, summary=summary))
    if kind == ORDER[0]:
        done.notes.update(translated.scribe.notes)
    done.contradicted += translated.contradicted
    done.contradictions += translated.contradictions


@dataclass(slots=True)
class _Reached:
    """How far the passes over all parts are, in bytes of text. `now`: how far the one under way is."""

    size: int
    progress: Callable[[int, int], None] | None
    read: int = 0
    now: Callable[[], int] = int

    def tell(self) -> None:
        if self.progress is not None:
            self.progress(self.read + self.now(), self.size)

    def committed(self, size: int, done: int, rows: int) -> None:
        self.now = lambda: size + size * 2 * done // rows
        self.tell()

    def add(self, size: int) -> None:
        self.read, self.now = self.read + size, int
        self.tell()


class _Books:
    """The files of rejected rows, one a part, each open while any pass may still add to it."""

    def __init__(self, file: Path, dry: bool) -> None:
        self._file, self._dry = file, dry
        self._open: dict[str, Rejects] = {}

    def __enter__(self) -> "_Books":
        return self

    def __exit__(self, *why: object) -> None:
        for rejects in self._open.values():
            rejects.__exit__(None, None, None)

    def of(self, part: Part, rows: Rows) -> Rejects:
        """The one of a part, made in the first pass."""
        if part.name not in self._open:
            place = self._file if part.alone else self._file.with_name(f"{self._file.stem}.{_harmless(part.name)}")
            self._open[part.name] = Rejects(place, rows, dry=self._dry).__enter__()
        return self._open[part.name]


def _harmless(name: str) -> str:
    """A member's name as a file may be called beside the ZIP."""
    return "".join(c if c.isalnum() or c in "._-" else "_" for c in name).lstrip(".") or "list.csv"


def describe(form: str) -> str:
    """A format as it is told to people."""
    return formats.FORMATS[form].title if form in formats.FORMATS else form
