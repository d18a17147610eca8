"""What a person's records are without one import (PEERS: an import can be taken back, an opt-out never).

The entries are replayed without those that the import brought. What it said against mailing stays: suppressions and
withdrawals, a consent it knew as withdrawn, an opt-out it knew as used, a name on an exclusion register. What came
later stays too: acts of the person and of staff, other imports.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from suppression import standing
from suppression.standing import BROUGHT_BY, STAYS, Document

UNDONE: Final = "import_undone"


@dataclass(frozen=True, slots=True)
class Said:
    """One entry of the ledger about a person: its kind, its public and private fields together."""

    kind: str
    fields: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class TakenBack:
    """`fields`: those of the entry `import_undone`. `opted_out`: the import brought an opt-out, which stays."""

    fields: dict[str, Any]
    opted_out: bool


def is_done(entries: Sequence[Said], mark: str) -> bool:
    """Whether the import `mark` was taken back for a person, and brought nothing more since: it may still go on."""
    of_import = [said.kind for said in entries if said.fields.get(BROUGHT_BY) == mark]
    return bool(of_import) and of_import[-1] == UNDONE


def without(entries: Sequence[Said], mark: str) -> TakenBack:
    """What undoing the import `mark` amounts to, from all entries about one person in their order.

    Imports that were taken back before are left out too, so that they do not come back.
    """
    gone = {said.fields[BROUGHT_BY] for said in entries if said.kind == UNDONE} | {mark}
    document: Document = {}
    opted_out = False
    for said in entries:
        if said.kind == UNDONE:
            continue
        fields: Mapping[str, Any] | None = said.fields
        if said.fields.get(BROUGHT_BY) in gone:
            fields = kept(said, document)
            if said.fields[BROUGHT_BY] == mark:
                opted_out |= fields is not None
        if fields is not None:
            document = standing.apply(document, said.kind, fields)
    return TakenBack({name: document.get(name) for name in standing.IMPORTED}, opted_out)


def kept(said: Said, before: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """What of an entry stays when its import is taken back: what it said against mailing; None for nothing.

    `before`: the records without the import, up to this entry.
    """
    fields = said.fields
    if said.kind == "consent":
        return fields if fields["withdrawn_at"] is not None else None
    if said.kind == "sale":
        return _sale(fields, before.get("sales", ()))
    if said.kind == "person" and fields.get("on_exclusion_register"):
        return {"on_exclusion_register": True, "unless_known": fields.get("unless_known", {})}
    return None if said.kind in ("person", "undeliverable") else fields


def _sale(fields: Mapping[str, Any], records: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """A sale whose row said that an opt-out was used goes on saying so, of the record it corrected if there is one.

    Where the row said nothing, "used" was taken for safety's sake only, and goes with the row.
    """
    if not (fields.get(STAYS) and fields["opt_out_used_at_collection"]):
        return None
    old = next((record for record in records if record["id"] == fields["id"]), fields)
    return {**old, "opt_out_used_at_collection": True}
