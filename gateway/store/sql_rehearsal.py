"""Rehearsals. Functions of a database thread's handles, and the store's calls."""

import json
from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from functools import partial
from importlib.resources import files

import aiosql

from gateway.store import arrivals, queue, tallies
from gateway.store.columns import instant, milliseconds
from gateway.store.connection import Handles
from gateway.store.contract import Ruling, tally
from gateway.store.keys import opened
from gateway.store.rehearsal import Moved, RehearsedCopy, RehearsedMessage, Released
from gateway.store.sql_base import SqlBase

SQL = aiosql.from_path(str(files("gateway.store") / "sql" / "rehearsal.sql"), "sqlite3")


class SqlRehearsal(SqlBase):
    """See rehearsal.Rehearsals, call by call."""

    async def rehearsed(
        self, controller_id: str, stream: str, campaign: str, *, after: bytes, n: int
    ) -> list[RehearsedMessage]:
        return await self._read(partial(
            rehearsed, controller_id=controller_id, stream=stream, campaign=campaign, after=after, n=n
        ))  # fmt: skip

    async def release(self, released: Sequence[Released], *, at: datetime) -> Moved:
        return await self._write(partial(release, released=released, at=at))


def rehearsed(
    handles: Handles, controller_id: str, stream: str, campaign: str, after: bytes, n: int
) -> list[RehearsedMessage]:
    """The next messages of a campaign that have put-by copies, until there are n copies."""
    found: list[RehearsedMessage] = []
    copies = 0
    while copies < n:
        page = list(SQL.messages_of(
            handles.db, controller_id=controller_id, stream=stream, campaign=campaign, after=after, n=n
        ))  # fmt: skip
        for message_id, accepted_at, kind, size in page:
            after = message_id
            mine = _copies(handles, controller_id, message_id, accepted_at)
            if mine:
                found.append(RehearsedMessage(
                    controller_id=controller_id, message_id=message_id, at=instant(accepted_at), stream=stream,
                    campaign=campaign, kind=json.loads(kind), size=size, copies=mine,
                ))  # fmt: skip
                copies += len(mine)
                if copies >= n:
                    break
        if len(page) < n:
            break
    return found


def _copies(handles: Handles, controller_id: str, message_id: bytes, accepted_at: int) -> tuple[RehearsedCopy, ...]:
    rows = list(SQL.copies_of(handles.db, controller_id=controller_id, message_id=message_id))
    spool = handles.keys.hour(accepted_at // arrivals.HOUR_MS) if rows else None
    return tuple(
        RehearsedCopy(
            copy_no=copy_no, recipient_key=recipient_key, verdict=verdict, reason_code=reason_code,
            rcpt=opened(spool, rcpt, arrivals.rcpt_row(message_id, copy_no)),
        )
        for copy_no, recipient_key, rcpt, verdict, reason_code in rows
    )  # fmt: skip


def release(handles: Handles, released: Sequence[Released], at: datetime) -> Moved:
    """Move put-by copies; what is put by no more is passed by, and what has not been moved is counted nowhere."""
    states: Counter[str] = Counter()
    depths = tallies.Depths()
    for one in released:
        counts: Counter[str] = Counter()
        gone = 0
        for copy in one.copies:
            route = _move(handles, one, copy.copy_no, copy.state, copy.ruling, at)
            if route is None:
                continue
            depths.add(one.controller_id, one.stream, route, waiting=copy.state == "queued")
            decision = copy.ruling.decision
            counts.update(("accepted", tally(decision.verdict, decision.reason_code)))
            states[copy.state] += 1
            gone += copy.state == "blocked"
        if not counts:
            continue
        SQL.release_message(
            handles.db, controller_id=one.controller_id, message_id=one.message_id, mode=one.mode, at=milliseconds(at)
        )
        counts[arrivals.REHEARSED + arrivals.STILL_THERE] = -counts["accepted"]
        counts[arrivals.REHEARSED + "released"] = counts["accepted"] - gone
        tallies.count(handles, one.controller_id, one.stream, one.campaign, counts)
        if one.notice is not None:
            arrivals.enqueue(handles, [one.notice])
        if gone:
            queue.close(handles, one.controller_id, one.message_id, gone)
    depths.write(handles)
    if states["queued"]:
        handles.db.call("work")
    return Moved(queued=states["queued"], blocked=states["blocked"])


def _move(handles: Handles, one: Released, copy_no: int, state: str, ruling: Ruling, at: datetime) -> str | None:
    """The copy's route; None where it is put by no more."""
    decision, now = ruling.decision, milliseconds(at)
    done = handles.db.execute(SQL.release_copy.sql, {
        "controller_id": one.controller_id, "message_id": one.message_id, "copy_no": copy_no, "state": state,
        "verdict": decision.verdict, "reason_code": decision.reason_code, "cite": decision.cite,
        "as_of": milliseconds(ruling.as_of), "basis": decision.basis, "packs": ruling.packs,
        "trace": " ".join(decision.trace), "due_at": now if state == "queued" else None,
        "ended_at": now if state == "blocked" else None,
    }).fetchone()  # fmt: skip
    return None if done is None else str(done[0])
