"""Which tool a file is from, and its rows as rows of our own format.

A file is known by its header line, or by the names in its JSON. What no reader knows, or two of them claim, is refused
with the names that were seen: a guess could lose opt-outs.
"""

import hashlib
from array import array
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from gateway.files import brevo, hashes, listmonk, mailchimp, mailgun, native, postmark, sendgrid, ses, usesend
from gateway.files.cell import BadCell
from gateway.files.native import Kind
from gateway.files.table import MARKS, Refusal, Row, Rows
from gateway.files.vendor import ORDER, Format, Said, Scribe, Terms, plain
from suppression.address import canonical

FORMATS: Final[Mapping[str, Format]] = {
    one.FORMAT.name: one.FORMAT for one in (mailchimp, brevo, sendgrid, mailgun, ses, postmark, listmonk, usesend)
}
"""The formats of other tools whose rows become rows of ours, by name."""
NAMES: Final = ("auto", "native", *FORMATS, "hashes")
"""What `--format` takes."""


def sniff_line(line: str) -> str | None:
    """The format of a file that has no header, by its first line: a bare hash, or an address with SES's reason."""
    if hashes.LINE.fullmatch(line):
        return "hashes"
    return "ses" if ses.LINE.fullmatch(line.strip()) else None


def headless(form: str, line: str) -> Sequence[str] | None:
    """The header of a file in a format that may come without one; None where the line is the header."""
    if form == "hashes" and hashes.LINE.fullmatch(line):
        return hashes.HEADER
    return ses.HEADER if form == "ses" and ses.LINE.fullmatch(line.strip()) else None


def check_claim(form: str, header: Sequence[str]) -> None:
    """Refusal where the header is plainly that of another tool than `--format` says: opt-outs would be read past."""
    names = frozenset(map(plain, header))
    if form not in FORMATS or FORMATS[form].recognises(names):
        return
    for other in FORMATS.values():
        if other.recognises(names):
            what = f"the header is that of {other.title}, not of {form}"
            raise Refusal(1, what, f"Say --format {other.name}, or leave --format out")


def recognise(header: Sequence[str], kind: Kind | None) -> str:
    """The name of the format whose header this is. `kind`: what the file is said to hold, None for anything.

    Columns that could be of any list make it nobody's opt-outs: those cannot be taken back.
    """
    own = [name.strip().lower() for name in header]
    if len(own) > 2 and tuple(own[-2:]) == MARKS:  # a file of rejected rows comes back
        own, header = own[:-2], header[:-2]
    if "email" in own and any(set(own) <= {*native.columns(one)} for one in native.KINDS):
        return "native"
    names = frozenset(map(plain, header))
    found = [
        form.name for form in FORMATS.values()
        if form.recognises(names) or (kind == "suppressions" and names == form.bare)
    ]  # fmt: skip
    if hashes.recognises(names):
        found.append("hashes")
    if len(found) == 1:
        return found[0]
    if not found and kind is not None:
        return "native"  # whose own check says what is wrong with the header, and what may be meant
    seen = ", ".join("a name that looks like an address" if "@" in name else ascii(name[:40]) for name in header[:30])
    known = "; ".join(form.title for form in FORMATS.values())
    if found:
        raise Refusal(1, f"the header ({seen}) could be {' or '.join(found)}", "Say which with --format")
    if bare := [form.name for form in FORMATS.values() if names == form.bare]:
        what = f"no format has the header ({seen}) for itself: any list of people may have it"
        remedy = (
            f"If it holds opt-outs, which stay for good, say so: --format {' or '.join(bare)}, or import suppressions"
        )
        raise Refusal(1, what, remedy)
    raise Refusal(
        1, f"no format has the header ({seen})",
        f"Say which with --format, or save it with the native columns (docs/import.md). Known by their header: {known}",
    )  # fmt: skip


@dataclass(slots=True)
class OptOuts:
    """Who opted out in a file, by a digest of the address, with the line: 16 bytes a person.

    `name`: of the file or of its member. `seal` sorts them; from then on they can be asked for.
    """

    digests: "array[int]" = field(default_factory=lambda: array("Q"))
    places: "array[int]" = field(default_factory=lambda: array("Q"))
    parts: list[str] = field(default_factory=list)

    def add(self, address: str, part: str, line: int) -> None:
        """Remember one."""
        if part not in self.parts:
            self.parts.append(part)
        self.digests.append(_digest(address))
        self.places.append(self.parts.index(part) << 48 | line)

    def seal(self) -> None:
        """Sort them, by digest."""
        order = sorted(range(len(self.digests)), key=self.digests.__getitem__)
        self.digests, self.places = (array("Q", (column[i] for i in order)) for column in (self.digests, self.places))

    def of(self, address: str) -> tuple[str, int] | None:
        """Where somebody opted out: file and line; None for who did not."""
        wanted = _digest(address)
        place = bisect_left(self.digests, wanted)
        if place == len(self.digests) or self.digests[place] != wanted:
            return None
        return self.parts[self.places[place] >> 48], self.places[place] & ((1 << 48) - 1)


def _digest(address: str) -> int:
    plain_address = canonical(address) or address
    return int.from_bytes(hashlib.blake2b(plain_address.encode(), digest_size=8).digest())


@dataclass(frozen=True, slots=True)
class Contradiction:
    """Two rows that cannot both hold: somebody agreed in one and had opted out in the other, which stands."""

    part: str
    line: int
    other_part: str
    other_line: int


@dataclass(slots=True)
class Translated:
    """What the rows of another tool's file say of one kind, as rows in the native columns.

    Faults are told in the first pass alone, that of the suppressions; so is what `scribe.notes` counts.
    """

    sheet: Rows
    form: Format
    terms: Terms
    kind: Kind
    opt_outs: OptOuts
    contradictions: list[Contradiction] = field(default_factory=list)
    contradicted: int = 0
    scribe: Scribe = field(init=False)

    def __post_init__(self) -> None:
        self.scribe = Scribe(self.terms)

    @property
    def columns(self) -> tuple[str, ...]:
        """The native ones."""
        return native.columns(self.kind)

    @property
    def header(self) -> list[str]:
        """As it stands in the file."""
        return self.sheet.header

    @property
    def delimiter(self) -> str:
        """As in the file."""
        return self.sheet.delimiter

    @property
    def width(self) -> int:
        """The cells of the file that are its own."""
        return self.sheet.width

    def __iter__(self) -> Iterator[Row]:
        names = [plain(name) for name in self.sheet.header[: self.sheet.width]]
        first, columns = self.kind == ORDER[0], self.columns
        for row in self.sheet:
            said = self._said(row, names)
            if isinstance(said, str):
                if first:
                    yield Row(row.line, row.cells, said, row.cells)
                continue
            for one in said:
                self._compare(one, row.line)
                if one.kind == self.kind:
                    yield Row(row.line, [one.cells.get(column, "") for column in columns], None, row.cells)

    def _said(self, row: Row, names: Sequence[str]) -> Sequence[Said] | str:
        """What a row says, or why it cannot be read."""
        if row.fault is not None:
            return row.fault
        cells: dict[str, str] = {}
        for name, text in zip(names, row.cells, strict=False):
            if not cells.get(name):  # a column that stands there twice: the first that says something
                cells[name] = text.strip()
        try:
            return self.form.read(cells, self.scribe)
        except BadCell as bad:
            return f"row: {bad}"

    def _compare(self, one: Said, line: int) -> None:
        """Remember opt-outs in the first pass; name the rows that contradict them in the one of the consents."""
        if self.kind == "suppressions" and (one.kind == "suppressions" or one.cells.get("undeliverable")):
            self.opt_outs.add(one.cells["email"], self.terms.part, line)
        elif self.kind == one.kind == "consents" and (other := self.opt_outs.of(one.cells["email"])) is not None:
            self.contradicted += 1
            if len(self.contradictions) < MOST_CONTRADICTIONS:
                self.contradictions.append(Contradiction(self.terms.part, line, *other))


MOST_CONTRADICTIONS: Final = 100
"""Pairs of rows of one file that are told line by line."""
