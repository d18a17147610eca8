"""What comes back and what it does. Functions of a database thread's handles.

A report is stored with all that follows from it in one transaction: the opt-out, the mark on the address, the counters,
a campaign's stop, the report on its way to the tool. Told again, it changes nothing.
"""

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from gateway.config import MARKETING
from gateway.mail.complaint_rate import rate
from gateway.store import arrivals, halts, kept_returns, people, queue, sealing, suppressions, tallies
from gateway.store.columns import instant, milliseconds
from gateway.store.connection import Handles
from gateway.store.contract import Act, SuppressionRow
from gateway.store.kept_returns import SQL
from gateway.store.keys import opened
from gateway.store.returned import STOPPED, CampaignStop, Heeded, Returned, ReturnedRow, SentCopy, Task

COUNTED_FOR: Final = timedelta(days=180)
"""How long a report that an address is dead waits for a second one."""
MOST_TOLD: Final = 100
"""What came back of one kind about one copy, from which on more is neither kept nor passed on, but for a new opt-out:
who holds one copy can write any number of reports on it. Servers that say every hour that they still try say less."""
_CAME_BACK: Final = frozenset(("hard", "soft"))
SWEPT: Final = "return_to swept/"
SWEEP_STEP_MS: Final = 6 * 3_600_000


def sent_copy(handles: Handles, controller_id: str, message_id: bytes, copy_no: int) -> SentCopy | None:
    """A copy, and where the tool wants reports on it."""
    row = SQL.sent_copy(handles.db, controller_id=controller_id, message_id=message_id, copy_no=copy_no)
    if row is None:
        return None
    key, _, stream, campaign, _, subject_key, return_to = row
    tool = _return_to(handles, controller_id, message_id, subject_key, return_to)
    known = bool(handles.keys.wrapped(controller_id, [key])) or people.SQL.standing(
        handles.db, controller_id=controller_id, recipient_key=key
    )  # fmt: skip
    return SentCopy(
        recipient_key=key if known else None, address=people.address(handles, controller_id, key), stream=stream,
        campaign=campaign,
        return_to=tool.get("mail_from"), notify=frozenset(tool.get("notify", {}).get(str(copy_no), ())),
    )  # fmt: skip


def _return_to(
    handles: Handles, controller_id: str, message_id: bytes, subject_key: bytes | None, stored: bytes | None
) -> dict[str, Any]:
    if stored is None:
        return {}
    keys = handles.keys
    secret = (
        keys.controller(controller_id) if subject_key is None
        else keys.readable(controller_id, [subject_key]).get(subject_key)
    )  # fmt: skip
    plain = opened(secret.key if secret else None, stored, arrivals.return_to_row(message_id))
    tool: dict[str, Any] = json.loads(plain) if plain is not None else {}
    return tool


def copy_for(handles: Handles, controller_id: str, message_id: bytes, recipient_key: bytes) -> int | None:
    """Which copy of a message was this person's."""
    row = SQL.copy_for(handles.db, controller_id=controller_id, message_id=message_id, recipient_key=recipient_key)
    return None if row is None else int(row[0])


def heed(handles: Handles, returned: Returned) -> Heeded:
    """Store what came back with all that follows from it; nothing where it came before."""
    if SQL.had(handles.db, controller_id=returned.controller_id, digest=returned.digest):
        return Heeded(repeat=True)
    before = _about_copy(handles, returned)
    placed = None
    if returned.stop is not None:
        placed = suppressions.add(handles, returned.acts, returned.stop, returned.owed)
    if len(before) >= MOST_TOLD and (placed is None or placed is not returned.stop):
        return Heeded(repeat=True, placed=placed)
    kept_returns.put(handles, returned)
    marked = returned.dead and _second(handles, returned) and _mark(handles, returned)
    if returned.forward is not None:
        arrivals.enqueue(handles, [returned.forward])
    if not returned.proven or returned.message_id is None:
        return Heeded(placed=placed, marked=marked)
    if returned.kind == "bounce" and returned.bounce_class in _CAME_BACK and _CAME_BACK.isdisjoint(before):
        _count_bounce(handles, returned)
    elif returned.kind == "unsubscribe" and placed is returned.stop and placed is not None:
        queue.count_opt_out(handles, returned.controller_id, returned.message_id)
    elif returned.kind == "complaint" and not before:
        return _complained(handles, returned, placed)
    return Heeded(placed=placed, marked=marked)


def _about_copy(handles: Handles, returned: Returned) -> list[str]:
    """The classes of what came back before of this kind about this copy."""
    if returned.recipient_key is None or returned.message_id is None:
        return []
    return [row[0] for row in SQL.about_copy(
        handles.db, controller_id=returned.controller_id, recipient_key=returned.recipient_key,
        message_id=returned.message_id, kind=returned.kind,
    )]  # fmt: skip


def _second(handles: Handles, returned: Returned) -> bool:
    """Whether there are two reports by now that do not stem from one and the same mail.

    Two about one message are one, whatever their dates: a server may repeat itself, and whoever holds one copy can
    write any number of reports on it. Where a message is not known, another day stands for another mail.
    """
    rows = [(row[0], instant(row[1]).astimezone(UTC).date()) for row in SQL.dead_reports(
        handles.db, controller_id=returned.controller_id, recipient_key=returned.recipient_key,
        since=milliseconds(returned.at - COUNTED_FOR),
    )]  # fmt: skip
    message, day = returned.message_id, returned.at.astimezone(UTC).date()
    return any(
        other != message if other is not None and message is not None else on != day for other, on in rows
    )  # fmt: skip


def _mark(handles: Handles, returned: Returned) -> bool:
    assert returned.recipient_key is not None
    stamp = returned.at.strftime("%Y-%m-%dT%H:%M:%SZ")
    return people.record(handles, [Act(
        controller_id=returned.controller_id, recipient_key=returned.recipient_key, kind="undeliverable",
        public={"undeliverable": True, "at": stamp, "by": "reports", "ref": returned.report_id.hex()}, private=None,
        at=returned.at,
    )])[0]  # fmt: skip


def _count_bounce(handles: Handles, returned: Returned) -> None:
    """A copy that was handed over, and came back for good, was not delivered after all."""
    row = SQL.sent_copy(
        handles.db, controller_id=returned.controller_id, message_id=returned.message_id, copy_no=returned.copy_no
    )
    if row is not None and row[1] == "delivered":
        tallies.count(
            handles, returned.controller_id, returned.stream, returned.campaign, {"delivered": -1, "bounced": 1}
        )


def _complained(handles: Handles, returned: Returned, placed: SuppressionRow | None) -> Heeded:
    """Count a complaint, and stop its campaign where there are too many (RULES.md 5.4)."""
    place = {
        "controller_id": returned.controller_id, "stream": returned.stream, "campaign": returned.campaign,
    }  # fmt: skip
    row = SQL.sent_copy(
        handles.db, controller_id=returned.controller_id, message_id=returned.message_id, copy_no=returned.copy_no
    )
    if row is None:
        return Heeded(placed=placed)
    tallies.count(handles, returned.controller_id, returned.stream, returned.campaign, {"complaints": 1})
    complaints, sent = _tally(handles, place, "complaints"), _tally(handles, place, "delivered")
    kind, stopped = json.loads(row[4]), False
    if kind.get("promotional") or kind.get("message_class") in MARKETING:
        stop = SQL.stop_of(handles.db, **place)
        running = stop is None or stop[1] is not None
        if running and rate(complaints, sent, released=stop[0] if stop else None) == "stop":
            SQL.put_stop(handles.db, **place, at=milliseconds(returned.at), complaints=complaints, sent=sent)
            handles.db.call("stops")
            stopped = True
    return Heeded(placed=placed, complaints=complaints, sent=sent, stopped=stopped)


def _tally(handles: Handles, place: dict[str, str], name: str) -> int:
    return int(SQL.tally(handles.db, **place, name=name)[0])


def settle(
    handles: Handles, controller_id: str, report_id: bytes, task: Task, acts: Sequence[Act],
    lifts: Sequence[tuple[SuppressionRow, Sequence[Act]]], by: str, now: datetime,
) -> list[SuppressionRow] | None:  # fmt: skip
    """A person's answer to what waited for one; what was lifted by it. None where somebody had answered before."""
    row = one(handles, controller_id, report_id)
    if row is None:
        return None
    name = "proposed_by" if task == "proposed" else "by"
    content = kept_returns.resealed(handles, row, {name: by, name.removesuffix("by") + "at": now.isoformat()})
    if not SQL.settle(handles.db, controller_id=controller_id, report_id=report_id, task=task, content=content):
        return None
    people.record(handles, acts)
    ended = []
    for lifted, entries in lifts:
        if suppressions.lift(handles, entries, lifted):
            ended.append(lifted)
    return ended


def one(handles: Handles, controller_id: str, report_id: bytes) -> ReturnedRow | None:
    """One row; None where there is none."""
    row = SQL.one(handles.db, controller_id=controller_id, report_id=report_id)
    return None if row is None else kept_returns.row_of(handles, controller_id, row)


def counts(handles: Handles, controller_id: str, since: datetime) -> list[tuple[str, str, str, int]]:
    """What came back since an instant: kind, class, reason, how often."""
    return list(SQL.counts(handles.db, controller_id=controller_id, after=_first_id(milliseconds(since))))


def works_again(handles: Handles, act: Act) -> bool:
    """The mark on an address goes, and what was reported before counts no more. False where there was no mark."""
    if not _is_marked(handles, act.controller_id, act.recipient_key):
        return False
    SQL.forget_dead(handles.db, controller_id=act.controller_id, recipient_key=act.recipient_key)
    return people.record(handles, [act])[0]


def _is_marked(handles: Handles, controller_id: str, recipient_key: bytes) -> bool:
    secret = handles.keys.readable(controller_id, [recipient_key]).get(recipient_key)
    return secret is not None and bool(
        people.document(handles, secret, controller_id, recipient_key).get("undeliverable")
    )


def stops(handles: Handles) -> list[CampaignStop]:
    """Every campaign that was stopped, let go on or not."""
    return [
        CampaignStop(
            controller_id=controller_id, stream=stream, campaign=campaign, at=instant(at), complaints=complaints,
            sent=sent, released_at=None if released_at is None else instant(released_at),
        )
        for controller_id, stream, campaign, at, complaints, sent, released_at in SQL.stops(handles.db)
    ]  # fmt: skip


def release(handles: Handles, controller_id: str, stream: str, campaign: str, now: datetime) -> bool:
    """Let a stopped campaign go on. False where it was not stopped."""
    return bool(SQL.release_stop(
        handles.db, controller_id=controller_id, stream=stream, campaign=campaign, at=milliseconds(now)
    ))  # fmt: skip


def queue_again(
    handles: Handles, controller_id: str, stream: str, campaign: str, now: datetime, past: tuple[bytes, int], n: int
) -> tuple[int, tuple[bytes, int] | None]:
    """Put those of the next n held copies behind a place back into the queue that a stop had set aside: how many, and
    the place of the last one looked at; None: there are no more."""
    page = list(SQL.held(handles.db, controller_id=controller_id, message_id=past[0], copy_no=past[1], n=n))
    rows = [row[:2] for row in page if row[2:] == (STOPPED, stream, campaign)]
    depths = tallies.Depths()
    for message_id, copy_no in rows:
        moved = SQL.queue_again(
            handles.db, controller_id=controller_id, message_id=message_id, copy_no=copy_no, at=milliseconds(now)
        )
        if moved is not None:
            depths.add(controller_id, stream, moved[0], waiting=1, held=-1)
    handles.db.executemany(halts.SQL.release_messages.sql, [
        {"controller_id": controller_id, "message_id": message_id, "now": milliseconds(now)}
        for message_id in sorted({message_id for message_id, _ in rows})
    ])  # fmt: skip
    depths.write(handles)
    return len(rows), tuple(page[-1][:2]) if len(page) == n else None


def drop(handles: Handles, before: datetime, routes_before: datetime, n: int) -> int:
    """Drop what may not be kept any longer: reports, and where tools wanted theirs. 0: nothing is left to drop."""
    done = 0
    for controller_id in sealing.controllers(handles):
        done += SQL.drop_old(handles.db, controller_id=controller_id, before=_first_id(milliseconds(before)), n=n)
        done += _drop_return_to(handles, controller_id, milliseconds(routes_before))
    return done


def _drop_return_to(handles: Handles, controller_id: str, before: int) -> int:
    """Six hours' worth of messages; 1 where there may be more."""
    name = SWEPT + controller_id
    row = SQL.swept(handles.db, name=name)
    if row is None:
        oldest = SQL.first_message(handles.db, controller_id=controller_id)
        if oldest is None or oldest[0] is None:
            return 0
        row = (int.from_bytes(oldest[0][:6], "big"),)
    start = int(row[0])
    end = min(before, start + SWEEP_STEP_MS)
    if end <= start:
        return 0
    SQL.drop_return_to(handles.db, controller_id=controller_id, first=_first_id(start), last=_first_id(end))
    SQL.put_swept(handles.db, name=name, value=str(end))
    return int(end < before)


def _first_id(ms: int) -> bytes:
    """The smallest UUIDv7 of a millisecond."""
    return ms.to_bytes(6, "big") + bytes(10)
