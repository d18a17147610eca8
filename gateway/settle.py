"""What a person has to settle about mail that came back: unclear replies, unproven complaints, an address that works.

An unclear reply counts as an objection until somebody has read it (RULES.md 5.2.8). "It is one" puts the objection
itself on the list; "it is none" takes back what was assumed, never what the person said besides, and waits for a second
person where two may agree (RULES.md S3), since it lets mail through. Each answer is an entry of the ledger.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Final, Literal

from gateway import log, record
from gateway.store.contract import Act, Store, SuppressionRow
from gateway.store.returned import WAITING, ReturnedRow, Task
from gateway.store.staff import Staff
from suppression.address import canonical
from suppression.vault import KeyRing

Answer = Literal["objection", "no_objection", "done"]
ANSWERS: Final[tuple[Answer, ...]] = ("objection", "no_objection", "done")
GROUND: Final = "no objection"
"""Why an objection that was assumed meanwhile is taken back: somebody read the reply."""
HELD: Final = (*WAITING, "objection")


class NotSettled(ValueError):
    """An answer that cannot be given. `reason`: "gone", "own" or "nobody"."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def may_settle(staff: Staff, controller_id: str) -> bool:
    """Whether somebody on the staff may answer for a controller."""
    return "privacy" in staff.roles and (not staff.controllers or controller_id in staff.controllers)


def needs_second(staff: Iterable[Staff], controller_id: str) -> bool:
    """Whether "it is none" waits for a second person."""
    return sum(may_settle(one, controller_id) for one in staff) > 1


async def settle(
    store: Store, ring: KeyRing, controller_id: str, report_id: bytes, answer: Answer, *, by: str, role: str,
    two: bool, now: datetime,
) -> Task:  # fmt: skip
    """Give an answer; what stands then. `by`: a name, which is sealed; `two`: "it is none" takes two people.

    Raises NotSettled where it was answered before, where the second person is the first, and where "an objection" names
    nobody. Raises StoreUnavailable.
    """
    row = await store.returned_one(controller_id, report_id)
    if row is None or row.task not in WAITING:
        raise NotSettled("gone")
    if answer == "objection":
        await _object(store, ring, row, now)
    task: Task = answer
    if answer == "no_objection" and two:
        if row.task == "proposed" and row.content.get("proposed_by") == by:
            raise NotSettled("own")
        task = "proposed" if row.task == "open" else answer
    lifts = await _taken_back(store, row, role, by, now) if task == "no_objection" else ()
    acts = _noted(row, task, role, by, now)
    if not await store.settle(controller_id, report_id, task, acts, lifts=lifts, by=by, now=now):
        raise NotSettled("gone")
    return task


async def _object(store: Store, ring: KeyRing, row: ReturnedRow, now: datetime) -> None:
    """What was read is an objection: of whom it came back from, else by the address it names. It stands on its own, and
    no answer to another reply takes it back. Others are told of it only now (store/write_backs.py)."""
    plain = canonical(row.content.get("address", ""))
    if row.recipient_key is None and plain is None:
        raise NotSettled("nobody")
    key = row.recipient_key or await record.key_on_file(store, ring, row.controller_id, plain or "")
    theirs = plain is not None and key in ring.recipient_keys(row.controller_id, plain)  # people answer from elsewhere
    await record.suppress(
        store, row.controller_id, key, purpose=None, reason="objection", source="staff", now=now,
        address=plain if theirs else None,
    )  # fmt: skip


async def _taken_back(
    store: Store, row: ReturnedRow, role: str, by: str, now: datetime
) -> Sequence[tuple[SuppressionRow, Sequence[Act]]]:
    """The objections that were assumed of unclear replies, once none of those is one or waits any more."""
    key = row.recipient_key
    if key is None:
        return ()
    others = await store.came_back(row.controller_id, kinds=("other",), recipient_key=key, n=1000)
    if any(other.task in HELD and other.report_id != row.report_id for other in others):
        return ()
    assumed = [
        one for one in await store.suppressions_of(row.controller_id, key)
        if one.assumed and one.reason == "objection" and one.lifted_at is None
    ]  # fmt: skip
    people = [*dict.fromkeys((row.content.get("proposed_by", by), by))]
    return [
        (replace(one, lifted_at=now), [
            Act(
                controller_id=one.controller_id, recipient_key=key, kind=kind,
                public={"ref": one.suppression_id.hex(), "ground": GROUND, "by": role}, private={"by": people}, at=now,
            )
            for kind in ("suppression_lifted", "withdrawal_undone")
        ])
        for one in assumed
    ]  # fmt: skip


def _noted(row: ReturnedRow, task: Task, role: str, by: str, now: datetime) -> Sequence[Act]:
    """Who answered what, in the person's ledger; nothing where it is about nobody in particular."""
    if row.recipient_key is None:
        return ()
    public = {"why": "what came back", "answer": task, "ref": row.report_id.hex(), "by": role}
    return [Act(
        controller_id=row.controller_id, recipient_key=row.recipient_key, kind="looked_at", public=public,
        private={"by": by}, at=now,
    )]  # fmt: skip


async def works_again(
    store: Store, ring: KeyRing, controller_id: str, plain: str, *, by: str, why: str, now: datetime
) -> bool:
    """Take the mark "undeliverable" off an address: somebody knows that it works. False where there was none."""
    key = await record.key_on_file(store, ring, controller_id, plain)
    stamp = now.strftime("%Y-%m-%dT%H:%M:%SZ")
    lifted = await store.works_again(Act(
        controller_id=controller_id, recipient_key=key, kind="undeliverable",
        public={"undeliverable": False, "at": stamp, "by": by}, private={"why": why}, at=now,
    ))  # fmt: skip
    if lifted:
        log.address_works(controller=controller_id)
    return lifted
