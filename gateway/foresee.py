"""What a dry run would change, row by row: who is new, which fields would be others, what an opt-out stops.

The rows of a batch are laid on the standings as they are now, in the order in which they would be taken in; nothing is
written. Addresses go to whoever asked for the list, and nowhere else.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from gateway.store.contract import Statement, Stop, Store, Taken
from suppression import standing
from suppression.standing import Document

RECORDS: Final = ("consents", "sales")
PLAIN: Final = ("country", "billing_country", "language", "undeliverable")


class Change(NamedTuple):
    """One field that would be another. Texts; empty for none."""

    field: str
    before: str
    after: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Foreseen:
    """What would become of one row.

    `outcome`: new (somebody unknown), added (something more about somebody known), changed, unchanged, rejected,
    outweighed, erased, unreadable. `stopped`: an opt-out stands against it, so it opens no way. `address` None: the row
    has none that can be read.
    """

    line: int
    kind: str
    address: str | None
    outcome: str
    stopped: bool = False
    changes: tuple[Change, ...] = ()
    reason: str = ""


@dataclass(slots=True)
class Foresight:
    """Looks at the rows of a dry run and tells each to `tell`, in no particular order."""

    tell: Callable[[Foreseen], None]

    def reject(self, kind: str, line: int, reason: str) -> None:
        """A row that would be rejected."""
        self.tell(Foreseen(line=line, kind=kind, address=None, outcome="rejected", reason=reason))

    async def look(
        self, store: Store, lines: Sequence[int], batch: Sequence[Statement | Stop], taken: Sequence[Taken]
    ) -> None:
        """Rows of one kind, with what the dry run said of each."""
        statements = [one for one in batch if isinstance(one, Statement)]
        known = await store.documents([one.who for one in statements]) if statements else []
        before = {one.who.recipient_keys[0]: found for one, found in zip(statements, known, strict=True)}
        for line, row, said in zip(lines, batch, taken, strict=True):
            if isinstance(row, Stop):
                self.tell(_stop(line, row, said))
                continue
            key = row.who.recipient_keys[0]
            documents = before[key]
            after = _after(documents, row)
            if said.outcome == "kept":
                before[key] = after
            self.tell(Foreseen(
                line=line, kind=_kind(row), address=row.address, stopped=said.stopped,
                outcome=said.outcome if said.outcome != "kept" else _outcome(said, documents[0], after[0]),
                changes=tuple(changes(documents, after)) if said.outcome == "kept" else (),
            ))  # fmt: skip


def _kind(row: Statement) -> str:
    return {"consent": "consents", "sale": "sales"}.get(row.entries[0][0], "people")


def _stop(line: int, stop: Stop, said: Taken) -> Foreseen:
    row = stop.row
    told = {"scope": row.scope, "purpose": row.purpose, "reason": row.reason, "at": row.at.isoformat()}
    made = (
        tuple(Change(name, "", str(value)) for name, value in told.items() if value) if said.outcome == "kept" else ()
    )
    outcome = said.outcome if said.outcome != "kept" else "new" if said.new_person else "added"
    return Foreseen(
        line=line,
        kind="suppressions",
        address=stop.address or None,
        outcome=outcome,
        stopped=said.stopped,
        changes=made,
    )


Known = tuple[Document, Mapping[str, str]]
"""Standing and profile of one person."""


def _after(known: Known, row: Statement) -> Known:
    document, profile = known
    for kind, fields in row.entries:
        document = standing.apply(document, kind, fields)
    return document, {**profile, **row.profile}


def _outcome(said: Taken, before: Document, after: Document) -> str:
    if said.new_person:
        return "new"
    more = any(len(after.get(name, ())) > len(before.get(name, ())) for name in RECORDS)
    return "added" if more else "changed"


def changes(before: Known, after: Known) -> Iterator[Change]:
    """Field by field what two states of a person differ in. A record is told by its id; a new one whole."""
    for name in RECORDS:
        old = {record["id"]: record for record in before[0].get(name, ())}
        for record in after[0].get(name, ()):
            yield from _fields(_flat(old.get(record["id"], {})), _flat(record))
    yield from _fields(_flat(before[0].get("recipient", {})), _flat(after[0].get("recipient", {})))
    plain: list[Document] = [
        {name: document[name] for name in PLAIN if name in document} for document in (before[0], after[0])
    ]
    yield from _fields(_flat(plain[0]), _flat(plain[1]))
    yield from _fields(before[1], after[1])


def _fields(before: Mapping[str, str], after: Mapping[str, str]) -> Iterator[Change]:
    for name in dict.fromkeys((*before, *after)):
        if before.get(name, "") != after.get(name, ""):
            yield Change(name, before.get(name, ""), after.get(name, ""))


def _flat(record: Mapping[str, Any], within: str = "") -> dict[str, str]:
    cells: dict[str, str] = {}
    for name, value in record.items():
        if isinstance(value, Mapping):
            cells |= _flat(value, f"{within}{name}.")
        elif isinstance(value, list):
            cells[within + name] = "|".join(map(str, value))
        else:
            cells[within + name] = (
                "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
            )
    return cells
