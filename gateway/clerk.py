"""What the rows of a file say, as the store takes it, and what became of them."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import uuid_utils

from gateway import record
from gateway.files import native
from gateway.files.native import Kind, Stated
from gateway.store.contract import Statement, Stop, SuppressionRow, Taken, Who
from suppression.basis import OWN_SOURCES
from suppression.fields import written
from suppression.ledger import encode
from suppression.provenance import ListSource, list_named, with_provenance
from suppression.standing import BROUGHT_BY, STAYS
from suppression.vault import KeyRing

SHOWN: Final = 10
"""Rejected rows that are told at once; all of them stand in the file."""
MOST_NAMES: Final = 100
"""Names of unknown purposes and categories that are kept apart; the others are counted together."""


@dataclass(slots=True)
class Summary:
    """What became of a file's rows: `rows` is the sum of the counts up to `unreadable`.

    `outweighed`: rows that say less of a consent than is on file; the better record stays. `skipped`: rows of erased
    people. `unreadable`: rows about people whose key is lost: what is stored of them must not
    be written over. `new_people`: rows, of those kept, about somebody who had no record. `stopped`:
    rows against which an opt-out stands, kept or not. `unknown`: names that the settings do not declare.
    `first_rejected`: line and reason. `rejected_file`: None where nothing was rejected, or nothing was to be written.
    """

    kept: int = 0
    unchanged: int = 0
    outweighed: int = 0
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
        return self.kept + self.unchanged + self.outweighed + self.rejected + self.skipped + self.unreadable

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
            elif one.outcome == "outweighed":
                self.outweighed += 1
            elif one.outcome == "erased":
                self.skipped += 1
            else:
                self.unreadable += 1
            self.stopped += one.stopped and one.outcome != "erased"


@dataclass(slots=True)
class Clerk:
    """Turns what rows say into what the store takes, marked with the import that brought it."""

    kind: Kind
    controller_id: str
    purposes: tuple[str, ...]
    categories: frozenset[str]
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
        return self.ring.recipient_keys(self.controller_id, address), self.ring.global_keys(address)

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
        self._check("purpose", self.purposes, purposes or ())
        self._check("category", self.categories, record["product_categories"] or ())
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
            self._check("purpose", self.purposes, (fields["purpose"],))
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

    def _check(self, what: str, declared: Collection[str], names: Sequence[str]) -> None:
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
