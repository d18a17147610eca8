"""A person's entries in the ledger, opened, and what they amount to up to an instant.

Pure: the store reads and opens the entries (store/history.py); here they are counted. The same counting serves the
proof that the projection is right (`ledger rebuild --check`) and the question who somebody was when a decision fell.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from suppression import standing
from suppression.suppression_list import HASH_LIST, Reason, Scope, Suppression

_SAME_CLOCK: Final = 3_600_000
"""An entry's id is no more than so many milliseconds younger than its `at` where both come from one clock."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One entry about one person, opened. `at` in milliseconds since 1970 UTC; `fields`: public and private ones."""

    entry_id: bytes
    at: int
    kind: str
    fields: Mapping[str, Any]

    @property
    def when(self) -> datetime:
        """`at` as an instant (aware UTC)."""
        return _instant(self.at)

    @property
    def known_at(self) -> int:
        """When decisions could first know it (ms).

        An act is dated by whoever did it: an opt-out with its whole second, an import with the instant it began. The
        id has the millisecond of writing, and is taken unless the two come from different clocks.
        """
        written = int.from_bytes(self.entry_id[:6], "big")
        return written if 0 <= written - self.at < _SAME_CLOCK else self.at


class Listed(NamedTuple):
    """A suppression as it stands on the list, besides its id. `at`, `lifted_at`: ms since 1970 UTC."""

    scope: Scope
    purpose: str | None
    reason: Reason
    source: str
    at: int
    lifted_at: int | None
    lifted_for: tuple[tuple[str, int], ...] = ()


@dataclass(slots=True)
class Amount:
    """What a person's entries amount to: the standing, and the suppressions by id.

    `lifts`: for which purposes a suppression was lifted that no entry of this person put on the list, an erasure's own.
    """

    document: standing.Document = field(default_factory=dict)
    suppressions: dict[bytes, Listed] = field(default_factory=dict)
    lifts: dict[bytes, tuple[tuple[str, int], ...]] = field(default_factory=dict)

    def add(self, entry: Entry) -> None:
        """Count one more entry. ValueError, KeyError or TypeError where its fields make no sense."""
        if entry.kind in ("suppression", "suppression_lifted"):
            self._list(entry)
        self.document = standing.apply(self.document, entry.kind, entry.fields)

    def _list(self, entry: Entry) -> None:
        fields, ref = entry.fields, bytes.fromhex(entry.fields["ref"])
        if entry.kind == "suppression":
            since, until = fields.get("at"), fields.get("until")
            self.suppressions[ref] = Listed(
                fields["scope"], fields["purpose"], fields["reason"], fields["source"],
                entry.at if since is None else _milliseconds(since), None if until is None else _milliseconds(until),
            )  # fmt: skip
        elif (purposes := fields.get("purposes")) is not None:
            listed = self.suppressions.get(ref)
            lifted = with_lifts(
                listed.lifted_for if listed is not None else self.lifts.get(ref, ()), purposes, entry.at
            )
            if listed is not None:
                self.suppressions[ref] = listed._replace(lifted_for=lifted)
            else:
                self.lifts[ref] = lifted
        elif ref in self.suppressions:
            self.suppressions[ref] = self.suppressions[ref]._replace(lifted_at=entry.at)


def with_lifts(before: tuple[tuple[str, int], ...], purposes: Iterable[str], at: int) -> tuple[tuple[str, int], ...]:
    """The purposes a suppression is lifted for, with some more; the first instant of each counts (ms)."""
    return tuple(sorted({**dict.fromkeys(purposes, at), **dict(before)}.items()))


def amount(entries: Iterable[Entry], upto: int | None = None) -> Amount:
    """What entries amount to, in their order; `upto`: only those that could be known then (ms since 1970 UTC)."""
    total = Amount()
    for entry in entries:
        if upto is None or entry.known_at <= upto:
            total.add(entry)
    return total


def suppression(listed: Listed, controller_id: str | None) -> Suppression:
    """A suppression of the list as the decision reads it; `controller_id` None: of everybody."""
    return Suppression(
        scope=listed.scope, controller_id=controller_id, purpose=listed.purpose, reason=listed.reason,
        at=_instant(listed.at), lifted_at=None if listed.lifted_at is None else _instant(listed.lifted_at),
        lifted_for=tuple((purpose, _instant(at)) for purpose, at in listed.lifted_for), source=listed.source,
    )  # fmt: skip


def with_hash_list(
    suppressions: tuple[Suppression, ...], controller_id: str, since: int | None
) -> tuple[tuple[Suppression, ...], bool]:
    """The suppressions of somebody whose address is on a controller's list by its hash since then (ms), None: is not.

    The second says whether the list is all that stands in the way of everything; then it counts as an entry.
    """
    if since is None or any(entry.scope != "purpose" and entry.lifted_at is None for entry in suppressions):
        return suppressions, False
    listed = Suppression(
        scope="sender", controller_id=controller_id, purpose=None, reason="admin", at=_instant(since), lifted_at=None,
        source=HASH_LIST,
    )  # fmt: skip
    return (*suppressions, listed), True


def _milliseconds(written: str) -> int:
    return int(datetime.fromisoformat(written).timestamp() * 1000)


def _instant(ms: int) -> datetime:
    return datetime.fromtimestamp(ms / 1000, UTC)
