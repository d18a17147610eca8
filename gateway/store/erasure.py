"""A person is erased (GDPR art. 17, RULES.md 6.4). Functions of a database thread's handles.

What stays: one suppression (keyed hash, scope, date, reason), opt-outs from before in the same form, decisions that no
longer say whose they were, and ledger entries that nobody can read or link. What was sealed for the person is
unreadable once the key is destroyed, in free pages, logs and old copies too.
"""

import json
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.resources import files

import aiosql

from gateway.store import arrivals, letters, people, queue, sealing, suppressions, tallies
from gateway.store.ahead import new_id
from gateway.store.columns import milliseconds
from gateway.store.connection import Handles
from gateway.store.evidence import Erased, Erasure
from suppression import ledger
from suppression.rules import SUPPRESSION_SOURCES
from suppression.vault import RECIPIENT_KEY_BYTES, SECRET_BYTES, PersonSecret

SQL = aiosql.from_path(str(files("gateway.store") / "sql" / "erasure.sql"), "sqlite3")
CODE = "ERASED_DO_NOT_CONTACT"


def erase(handles: Handles, wanted: Erasure) -> Erased:
    """Everything but the destruction of the key, which follows in a transaction of its own (`forget`)."""
    controller_id, at = wanted.controller_id, milliseconds(wanted.at)
    keys = wanted.recipient_keys
    stone = next((key for key in keys if people.erased(handles, controller_id, key)), None)
    wrapped = handles.keys.wrapped(controller_id, keys)
    on_file = next((key for key in keys if key in wrapped), None)
    counts: Counter[str] = Counter()
    for key in keys:
        counts += end_copies(handles, controller_id, key, at)
        SQL.drop_person(handles.db, controller_id=controller_id, recipient_key=key)
        SQL.drop_standing(handles.db, controller_id=controller_id, recipient_key=key)
        letters.forget(handles, controller_id, key)
        SQL.drop_sign_ups(handles.db, controller_id=controller_id, recipient_key=key)
        SQL.drop_attachments(handles.db, controller_id=controller_id, recipient_key=key)
        SQL.drop_returns(handles.db, controller_id=controller_id, recipient_key=key)
        _strip(handles, controller_id, key)
    recipient_key = stone or on_file or keys[0]
    if stone is None:
        _remember(handles, wanted, recipient_key)
    return Erased(
        recipient_key=recipient_key, already=stone is not None, known=on_file is not None, ended=counts["ended"],
        captured=counts["captured"], history=counts["history"],
    )  # fmt: skip


def end_copies(handles: Handles, controller_id: str, recipient_key: bytes, at: int) -> Counter[str]:
    """End copies that wait, drop captured ones, and make all of them nobody's. Claimed ones end at their last check."""
    done: Counter[str] = Counter()
    depths = tallies.Depths()
    for row in list(SQL.copies_of(handles.db, controller_id=controller_id, recipient_key=recipient_key)):
        message_id, copy_no, state, verdict, reason_code, stream, campaign, route = row
        place = {"controller_id": controller_id, "message_id": message_id, "copy_no": copy_no}
        if state in ("queued", "held"):
            SQL.end_copy(handles.db, **place, reason_code=CODE, cite=SUPPRESSION_SOURCES[CODE], at=at)
            tallies.recount(handles, controller_id, stream, campaign, (verdict, reason_code), ("block", CODE))
            done["ended"] += 1
            depths.add(controller_id, stream, route, waiting=-(state == "queued"), held=-(state == "held"))
        elif state in ("captured", "rehearsed"):
            SQL.drop_copy(handles.db, **place)
            if state == "rehearsed":
                left = {arrivals.REHEARSED + arrivals.STILL_THERE: -1}
                tallies.count(handles, controller_id, stream, campaign, left)
            done["captured"] += 1
        else:
            done["history"] += 1
        SQL.anonymise_copy(handles.db, **place, stranger=os.urandom(RECIPIENT_KEY_BYTES))
        SQL.drop_subject(handles.db, controller_id=controller_id, message_id=message_id, recipient_key=recipient_key)
        if state in arrivals.OPEN:
            queue.close(handles, controller_id, message_id, 1)
    depths.write(handles)
    return done


def _strip(handles: Handles, controller_id: str, recipient_key: bytes) -> None:
    """Opt-outs from before stay in force, with the day alone, and under ids that the ledger does not name."""
    SQL.stand_whole(handles.db, controller_id=controller_id, recipient_key=recipient_key)
    for row in suppressions.of_person(handles, controller_id, recipient_key):
        if row.reason == "erasure":
            continue
        SQL.strip_suppression(
            handles.db, controller_id=controller_id, recipient_key=recipient_key, suppression_id=row.suppression_id,
            stranger=new_id(), day=_day(row.at), lifted_day=None if row.lifted_at is None else _day(row.lifted_at),
        )  # fmt: skip


def _day(at: datetime) -> int:
    return milliseconds(at.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0))


def _remember(handles: Handles, wanted: Erasure, recipient_key: bytes) -> None:
    """The tombstone and its ledger entry. The entry's subject is nobody's: the person's would link what came before."""
    ref, at = new_id(), milliseconds(wanted.at)
    people.SQL.add_suppression(
        handles.db, controller_id=wanted.controller_id, recipient_key=recipient_key, suppression_id=ref, scope="sender",
        purpose=None, reason="erasure", source="request", at=at, lifted_at=None,
    )  # fmt: skip
    public = {"recipient_key": recipient_key.hex(), "scope": "sender", "ref": ref.hex(), "by": wanted.by}
    people.add_entry(handles, ledger.write(
        controller_id=wanted.controller_id, entry_id=people.entry_id(handles, wanted.controller_id), at=at,
        kind="erasure", person=PersonSecret(os.urandom(SECRET_BYTES)), recipient_key=recipient_key, public=public,
        private=None, random=os.urandom(ledger.RANDOM_BYTES),
    ))  # fmt: skip


def forget(handles: Handles, erased: Sequence[tuple[str, bytes]]) -> None:
    """Destroy the keys of people, by controller and recipient key."""
    for controller_id, recipient_key in erased:
        handles.keys.forget(controller_id, recipient_key)


def unforgotten(handles: Handles) -> list[tuple[str, bytes]]:
    """People whose erasure is in the ledger and stands, and who have a key all the same: one was interrupted.

    Whoever signs up anew has a key while their confirmation is waited for.
    """
    found: list[tuple[str, bytes]] = []
    for controller_id in sealing.controllers(handles):
        stones = {stone.recipient_key: stone for stone in tombstones(handles, controller_id)}
        kept = handles.keys.wrapped(controller_id, list(stones))
        found += [
            (controller_id, key) for key in kept
            if on_list(handles, stones[key], in_force=True) and not _asks_anew(handles, stones[key])
        ]  # fmt: skip
    return found


def _asks_anew(handles: Handles, stone: "Tombstone") -> bool:
    return bool(SQL.asked_since(
        handles.db, controller_id=stone.controller_id, recipient_key=stone.recipient_key, at=stone.at
    ))  # fmt: skip


@dataclass(frozen=True, slots=True)
class Tombstone:
    """What the ledger says of one erasure: the row it put on the list of suppressions."""

    controller_id: str
    recipient_key: bytes
    suppression_id: bytes
    at: int


def tombstones(handles: Handles, controller_id: str) -> Iterator[Tombstone]:
    """Every erasure in a controller's ledger, in order. ValueError or KeyError where one makes no sense."""
    for at, public in handles.db.execute(SQL.erasures.sql, {"controller_id": controller_id}):
        said = json.loads(public)
        yield Tombstone(controller_id, bytes.fromhex(said["recipient_key"]), bytes.fromhex(said["ref"]), at)


def on_list(handles: Handles, stone: Tombstone, *, in_force: bool = False) -> bool:
    """Whether an erasure's row is on the list; `in_force`: and was not lifted."""
    row = SQL.tombstone(
        handles.db, controller_id=stone.controller_id, recipient_key=stone.recipient_key,
        suppression_id=stone.suppression_id,
    )  # fmt: skip
    return row is not None and not (in_force and row[0] is not None)


def empty_logs(handles: Handles) -> bool:
    """See that nothing that was deleted lingers in either database. False where somebody is in the way: then later."""
    keys = handles.keys.truncate()
    return handles.db.emptied() and keys
