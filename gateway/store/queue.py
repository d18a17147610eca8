"""The queue in SQL: copies are claimed, and end. Functions of a database thread's handles.

States of a copy are those of mail/outcome.py; `captured` and `held` still need the original. How messages come in:
arrivals.py.
"""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, Final

from gateway.store import halts, kept_returns, people
from gateway.store.arrivals import HOUR_MS, OPEN, REHEARSED, STILL_THERE, TURNS, enqueue, rcpt_row
from gateway.store.columns import instant, milliseconds
from gateway.store.connection import Handles
from gateway.store.contract import Act, ClaimedCopy, Ending, Holder, StoredMessage, tally
from gateway.store.keys import opened
from gateway.store.returned import STOPPED
from gateway.store.tallies import QUEUE, Counts, Depths, count
from gateway.store.waiting import HELD, CopyKey
from suppression.vault import Unreadable

SQL = QUEUE
SHARE: Final = 4
"""Copies of one turn that are claimed at least, where there are so many."""
_COUNTED = {"delivered": "delivered", "captured": "captured", "failed": "bounced"}
"""Endings that the report counts, and as what."""


def claim(
    handles: Handles, worker: str, route: str, now: datetime, n: int, after: int = -1
) -> tuple[list[ClaimedCopy], int]:
    """Take n due copies of a route, in one transaction, and which turn was served last.

    Service mail first, but a fourth of the copies is left to marketing where both wait; within each, turns after the
    one that was served last, and within a turn what is due longest.
    """
    at = milliseconds(now)
    due = [turn for turn, due_at in SQL.turns(handles.db, route=route) if due_at is not None and due_at <= at]
    service, marketing = ([t for t in due if (t >= TURNS) == late] for late in (False, True))
    rows: list[Sequence[Any]] = []
    for turns, most in ((service, n - n // 4 if marketing else n), (marketing, n)):
        turns.sort(key=lambda turn: (turn <= after, turn))
        for index, turn in enumerate(turns):
            left = most - len(rows)
            if left <= 0:
                break
            share = min(left, max(SHARE, -(-left // (len(turns) - index))))
            rows += _in_order(SQL.claim(handles.db, route=route, turn=turn, now=at, n=share, worker=worker))
            last = turn
    return _opened_copies(handles, rows), last if rows else after


def _in_order(rows: Iterable[Sequence[Any]]) -> list[Sequence[Any]]:
    """What is due longest first; copies of one message together."""
    return sorted(rows, key=lambda row: tuple(row[:4]))


def _opened_copies(handles: Handles, rows: Sequence[Sequence[Any]]) -> list[ClaimedCopy]:
    """Claimed copies, their recipients opened. Where the key is gone: for a person to look at."""
    claimed, depths = [], Depths()
    for (
        due_at,
        controller_id,
        message_id,
        copy_no,
        recipient_key,
        rcpt,
        attempts,
        verdict,
        code,
        as_of,
        said,
        at,
        size,
    ) in rows:
        try:
            plain = opened(handles.keys.hour(at // HOUR_MS), rcpt, rcpt_row(message_id, copy_no))
        except Unreadable:
            plain = None
        if plain is None:
            route, stream = SQL.set_aside(
                handles.db, controller_id=controller_id, message_id=message_id, copy_no=copy_no
            )
            depths.add(controller_id, stream, route, waiting=-1, held=1)
            continue
        claimed.append(ClaimedCopy(
            controller_id=controller_id, message_id=message_id, copy_no=copy_no, recipient_key=recipient_key,
            rcpt=plain, attempts=attempts, verdict=verdict, reason_code=code, decided_at=instant(as_of), size=size,
            due_at=None if due_at is None else instant(due_at), said=said or "",
        ))  # fmt: skip
    depths.write(handles)
    return claimed


def claim_overdue(handles: Handles, worker: str, route: str, now: datetime, n: int) -> list[ClaimedCopy]:
    """Take n copies for which time alone asks for something, due or not."""
    rows = SQL.claim_overdue(handles.db, route=route, now=milliseconds(now), n=n, worker=worker)
    return _opened_copies(handles, sorted(rows, key=lambda row: tuple(row[1:4])))


def next_due(handles: Handles, route: str) -> datetime | None:
    """When the next copy of a route is due; None when none waits."""
    due = [due_at for _, due_at in SQL.turns(handles.db, route=route) if due_at is not None]
    return instant(min(due)) if due else None


def take_back(handles: Handles, worker: str, now: datetime) -> int:
    """All that a worker holds waits again; how many copies."""
    return int(SQL.take_back(handles.db, worker=worker, now=milliseconds(now)))


def lease(handles: Handles, worker: str) -> datetime | None:
    """Until when a worker has a lease, or had one."""
    row = SQL.lease(handles.db, worker=worker)
    return None if row is None else instant(row[0])


def holders(handles: Handles) -> list[Holder]:
    """Everybody who holds copies, with their leases."""
    return [
        Holder(worker, None if until is None else instant(until)) for worker, until in list(SQL.holders(handles.db))
    ]  # fmt: skip


def take_over(handles: Handles, over: Sequence[Holder], now: datetime) -> int:
    """What workers hold under these leases waits again; how many copies."""
    return sum(take_back(handles, one.worker, now) for one in set(over).intersection(holders(handles)))


def claimed(handles: Handles, worker: str) -> list[CopyKey]:
    """All that a worker holds."""
    return [CopyKey(*row) for row in SQL.claimed_by(handles.db, worker=worker)]


def resume(handles: Handles, worker: str, lease_until: int) -> list[CopyKey]:
    """A lease again for a worker whose own ran out, and what it still holds."""
    SQL.renew(handles.db, worker=worker, lease_until=lease_until)
    return claimed(handles, worker)


def give_back(handles: Handles, worker: str, keys: Sequence[CopyKey], now: datetime) -> int:
    """Copies that a worker holds wait again, in their old place; how many."""
    rows = [{**key._asdict(), "worker": worker, "now": milliseconds(now)} for key in sorted(keys)]
    return sum(row is not None for row in handles.db.each(SQL.give_back.sql, rows))


def messages(handles: Handles, wanted: Sequence[tuple[str, bytes]]) -> list[StoredMessage | None]:
    """Messages that still wait, by controller and id; None for what is gone."""
    found: dict[tuple[str, bytes], StoredMessage | None] = {}
    for controller_id in {controller_id for controller_id, _ in wanted}:
        ids = list(dict.fromkeys(message_id for owner, message_id in wanted if owner == controller_id))
        for row in handles.db.of_many(SQL.stored.sql, controller_id, ids):
            found[controller_id, row[0]] = _opened_message(handles, controller_id, row)
    return [found.get(one) for one in wanted]


def _opened_message(handles: Handles, controller_id: str, row: Sequence[Any]) -> StoredMessage | None:
    message_id, accepted_at, stream, campaign, mode, kind, envelope, released_at, hour, body = row
    key = handles.keys.hour(hour)
    plain, outer = opened(key, body, b"body/" + message_id), opened(key, envelope, b"envelope/" + message_id)
    if plain is None or outer is None:
        return None
    return StoredMessage(
        controller_id=controller_id, message_id=message_id, at=instant(accepted_at), stream=stream, campaign=campaign,
        mode=mode, kind=json.loads(kind), envelope=json.loads(outer), body=plain,
        released_at=None if released_at is None else instant(released_at),
    )  # fmt: skip


def finish(handles: Handles, worker: str, endings: Sequence[Ending]) -> None:
    """Write what became of claimed copies, and let go of originals whose last copy is final."""
    done = _end(handles, worker, _still_halted(handles, endings))
    ended = [ending for ending, _ in done]
    closed = Counter((ending.controller_id, ending.message_id) for ending in ended if ending.state not in OPEN)
    counts, depths = Counts(worker), Depths(worker)
    for ending, route in done:
        if ending.state != "queued":
            depths.add(ending.controller_id, ending.stream, route, waiting=-1, held=ending.state == "held")
        counted = counts.of(ending.controller_id, ending.stream, ending.campaign)
        decision = ending.ruling.decision
        is_now = tally(decision.verdict, decision.reason_code)
        if is_now != ending.was:
            counted[ending.was] -= 1
            counted[is_now] += 1
        if ending.state in _COUNTED:
            counted[_COUNTED[ending.state]] += 1
        if ending.maybe_twice:
            counted["maybe_twice"] += 1
    enqueue(handles, [ending.notice for ending in ended if ending.notice is not None])
    for ending in ended:
        _learn(handles, ending)
        kept_returns.refused(handles, ending)
    close_several(handles, closed)
    counts.write(handles)
    depths.write(handles)


def _still_halted(handles: Handles, endings: Sequence[Ending]) -> list[Ending]:
    """A copy that was set aside for a hold or a stop which is over by now waits again instead."""
    if not any(ending.reply in (HELD, STOPPED) and ending.state == "held" for ending in endings):
        return list(endings)
    now = halts.halted(handles)
    return [
        ending
        if ending.state != "held" or ending.reply not in (HELD, STOPPED)
        or now.reason(ending.controller_id, ending.stream, ending.campaign)
        else replace(ending, state="queued", reply="", due_at=ending.at, tried=False)
        for ending in endings
    ]  # fmt: skip


def _end(handles: Handles, worker: str, endings: Sequence[Ending]) -> list[tuple[Ending, str]]:
    """Those of the endings that were this worker's to write, with their routes."""
    final: list[Ending] = []
    waiting: list[Ending] = []
    for ending in sorted(endings, key=lambda one: (one.controller_id, one.message_id, one.copy_no)):
        (waiting if ending.state == "queued" else final).append(ending)
    done = zip(
        (*final, *waiting),
        (
            *handles.db.each(SQL.end_copy.sql, [_final_row(worker, ending) for ending in final]),
            *handles.db.each(SQL.retry_copy.sql, [_waiting_row(worker, ending) for ending in waiting]),
        ),
        strict=True,
    )
    return [(ending, row[0]) for ending, row in done if row is not None]


def _ending_row(worker: str, ending: Ending) -> dict[str, Any]:
    decision = ending.ruling.decision
    return {
        "controller_id": ending.controller_id, "message_id": ending.message_id, "copy_no": ending.copy_no,
        "verdict": decision.verdict, "reason_code": decision.reason_code, "cite": decision.cite,
        "as_of": milliseconds(ending.ruling.as_of), "reply": ending.reply, "worker": worker,
        "maybe_twice": int(ending.maybe_twice),
    }  # fmt: skip


def _final_row(worker: str, ending: Ending) -> dict[str, Any]:
    decision = ending.ruling.decision
    return {
        **_ending_row(worker, ending), "state": ending.state, "basis": decision.basis, "packs": ending.ruling.packs,
        "trace": " ".join(decision.trace), "ended_at": milliseconds(ending.at), "tried": int(ending.tried),
    }  # fmt: skip


def _waiting_row(worker: str, ending: Ending) -> dict[str, Any]:
    assert ending.due_at is not None
    return {
        **_ending_row(worker, ending), "due_at": milliseconds(ending.due_at), "tried": int(ending.tried),
        "alarm_at": None if ending.alarm_at is None else milliseconds(ending.alarm_at),
    }  # fmt: skip


def _learn(handles: Handles, ending: Ending) -> None:
    """What a hand-over teaches about the person: a dead address; a mailing that keeps a rolling window open; a mail
    that asked to confirm a sign-up."""
    if ending.recipient_key is None:
        return
    stamp = ending.at.strftime("%Y-%m-%dT%H:%M:%SZ")
    learnt: list[tuple[str, dict[str, Any], dict[str, Any] | None]] = []
    if ending.dead_address:
        learnt.append(("undeliverable", {"undeliverable": True, "at": stamp}, None))
    if ending.mailed:
        learnt.append(("mailed", {}, {"at": stamp}))
    if ending.confirmation_of is not None:
        sent = {"at": stamp, "purpose": ending.confirmation_of, **_which_mail(handles, ending)}
        learnt.append(("confirmation_sent", {}, sent))
    people.record(handles, [
        Act(
            controller_id=ending.controller_id, recipient_key=ending.recipient_key, at=ending.at, kind=kind,
            public=public, private=private,
        )
        for kind, public, private in learnt
    ])  # fmt: skip


def _which_mail(handles: Handles, ending: Ending) -> dict[str, str]:
    """Which mail asked: its id, and the digest of what was queued for it (RULES.md 4.1)."""
    row = SQL.digest(handles.db, controller_id=ending.controller_id, message_id=ending.message_id)
    digest = {"digest": row[0].hex()} if row is not None and row[0] is not None else {}
    return {"message_id": ending.message_id.hex(), **digest}


def close(handles: Handles, controller_id: str, message_id: bytes, n: int) -> None:
    """n copies of a message need the original no more; with the last one it goes."""
    close_several(handles, {(controller_id, message_id): n})


def close_several(handles: Handles, closed: Mapping[tuple[str, bytes], int]) -> None:
    """The same for several messages."""
    places = [
        {"controller_id": controller_id, "message_id": message_id, "n": n}
        for (controller_id, message_id), n in sorted(closed.items())
    ]
    left = handles.db.each(SQL.close_copies.sql, places)
    handles.db.executemany(SQL.drop_bodies.sql, [
        {"controller_id": place["controller_id"], "message_id": place["message_id"]}
        for place, row in zip(places, left, strict=True) if row is not None and row[0] <= 0
    ])  # fmt: skip


def count_opt_out(handles: Handles, controller_id: str, message_id: bytes) -> None:
    """Count an opt-out for the campaign whose link was used; a message that is not on record counts nowhere."""
    row = SQL.campaign(handles.db, controller_id=controller_id, message_id=message_id)
    if row is not None:
        count(handles, controller_id, row[0], row[1], {"opted_out": 1})


def sweep(handles: Handles, now: datetime, captures_before: datetime, n: int = 500) -> int:
    """End captured and rehearsed copies whose time is over; how many."""
    before = milliseconds(captures_before).to_bytes(6, "big") + bytes(10)  # a UUIDv7 begins with its milliseconds
    ended = 0
    for owner in controllers(handles):
        ended += _sweep(handles, owner, before, milliseconds(now), n)
    return ended


def hours_over(handles: Handles, now: datetime) -> list[int]:
    """Hours from which nothing waits, and that still have a key."""
    used = {row[0] for row in SQL.hours_of_bodies(handles.db)}
    last = milliseconds(now) // HOUR_MS - 1
    return [hour for hour in handles.keys.hours() if hour < last and hour not in used]


def drop_hours(handles: Handles, now: datetime) -> None:
    """Destroy the keys of hours from which nothing waits."""
    for hour in hours_over(handles, now):
        handles.keys.drop_hour(hour)


def _sweep(handles: Handles, controller_id: str, before: bytes, at: int, n: int) -> int:
    old = list(SQL.old_captures(handles.db, controller_id=controller_id, before=before, n=n))
    for _, message_id, copy_no in old:
        SQL.drop_capture(handles.db, controller_id=controller_id, message_id=message_id, copy_no=copy_no)
        close(handles, controller_id, message_id, 1)
    over = list(SQL.old_rehearsals(handles.db, controller_id=controller_id, before=before, n=n))
    for _, message_id, copy_no, stream, campaign in over:
        SQL.lapse(handles.db, controller_id=controller_id, message_id=message_id, copy_no=copy_no, at=at)
        close(handles, controller_id, message_id, 1)
        count(handles, controller_id, stream, campaign, {REHEARSED + STILL_THERE: -1})
    return len(old) + len(over)


def controllers(handles: Handles) -> list[str]:
    """Every controller that ever sent."""
    found: list[str] = []
    while (row := SQL.next_sender(handles.db, after=found[-1] if found else ""))[0] is not None:
        found.append(row[0])
    return found
