"""The queue: messages, copies and their endings. Functions of a database thread's handles.

States of a copy are those of mail/outcome.py; `captured` and `held` still need the original.
"""

import hashlib
import json
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from importlib.resources import files
from typing import Any

import aiosql

from gateway.store import kept_returns, people, write_backs
from gateway.store.columns import instant, milliseconds
from gateway.store.connection import Database, Handles
from gateway.store.contract import Act, Arrival, ClaimedCopy, Ending, NewCopy, StoredMessage, tally
from gateway.store.keys import opened, sealed
from suppression.vault import NONCE_BYTES, Unreadable, seal_long

SQL = aiosql.from_path(str(files("gateway.store") / "sql" / "queue.sql"), "sqlite3")
OPEN = ("queued", "claimed", "captured", "held", "rehearsed")
"""States in which a copy still needs the original."""

LONG_BODY = 1 << 20
"""Octets from which on an original is written in pieces."""

HOUR_MS = 3_600_000
REHEARSED = "rehearsed/"
"""What stands before the names of counts of a rehearsal, so that they never mix with what left."""
STILL_THERE = "open"
"""Rehearsed copies that were neither released nor swept."""
_COUNTED = {"delivered": "delivered", "captured": "captured", "failed": "bounced"}
"""Endings that the report counts, and as what."""


def enqueue(handles: Handles, arrivals: Sequence[Arrival]) -> None:
    """Store messages with their decisions and their copies: all of them, or none."""
    for arrival in arrivals:
        _enqueue(handles, arrival)


def _enqueue(handles: Handles, arrival: Arrival) -> None:
    db, controller_id, message_id = handles.db, arrival.controller_id, arrival.message_id
    at = milliseconds(arrival.at)
    hour = at // HOUR_MS
    open_copies = sum(1 for copy in arrival.copies if copy.state in OPEN)
    alone = len(arrival.copies) == 1
    secrets = [
        people.see(handles, controller_id, copy.recipient_key, copy.address, at, addressed=copy.addressed)
        for copy in arrival.copies
        if alone or not copy.addressed
    ]
    subject_key = secrets[0].key if alone else handles.keys.make_controller(controller_id).key
    spool = handles.keys.hour(hour, make=True) if open_copies else b""
    db.execute(SQL.add_message.sql, {
        "controller_id": controller_id, "message_id": message_id, "accepted_at": at, "stream": arrival.stream,
        "campaign": arrival.campaign, "mode": arrival.mode, "kind": json.dumps(arrival.kind, separators=(",", ":")),
        "size": arrival.size, "open": open_copies,
        "digest": None if arrival.body is None else hashlib.sha256(arrival.body).digest(),
        "envelope": sealed(spool, json.dumps(arrival.envelope).encode(), b"envelope/" + message_id) if spool else None,
        "subject": sealed(subject_key, arrival.subject.encode(errors="replace"), b"subject/" + message_id),
        "subject_key": arrival.copies[0].recipient_key if alone else None, "login": arrival.login,
        "return_to": None if arrival.return_to is None else sealed(
            subject_key, json.dumps(arrival.return_to).encode(), return_to_row(message_id)
        ),
    })  # fmt: skip
    if arrival.body is not None and open_copies:
        _add_body(db, controller_id, message_id, hour, spool, arrival.body)
    if arrival.held_until is not None:
        SQL.ask(
            db, controller_id=controller_id, message_id=message_id, stream=arrival.stream,
            skeleton=arrival.kind["skeleton"], likeness=arrival.kind["likeness"],
            signs=json.dumps(arrival.kind["signs"]), expires_at=milliseconds(arrival.held_until),
        )  # fmt: skip
    db.executemany(SQL.add_copies.sql, [_copy_row(arrival, copy, spool) for copy in arrival.copies])
    if arrival.link is not None and alone:
        write_backs.remember(handles, secrets[0], arrival, arrival.link)
    counts = Counter({"accepted": len(arrival.copies)})
    counts.update(tally(c.ruling.decision.verdict, c.ruling.decision.reason_code) for c in arrival.copies)
    if arrival.mode == "rehearse":
        counts = Counter({REHEARSED + name: n for name, n in (*counts.items(), (STILL_THERE, open_copies))})
    count(handles, controller_id, arrival.stream, arrival.campaign, counts)


def _add_body(db: Database, controller_id: str, message_id: bytes, hour: int, spool: bytes, body: bytes) -> None:
    """Keep the original, sealed; a long one in pieces."""
    place = {"controller_id": controller_id, "message_id": message_id, "hour": hour}
    bound_to = b"body/" + message_id
    if len(body) <= LONG_BODY:
        db.execute(SQL.add_body.sql, {**place, "body": sealed(spool, body, bound_to)})
        return
    pieces = seal_long(spool, body, bound_to, os.urandom(NONCE_BYTES))
    db.insert_long(SQL.add_long_body.sql, place, ("bodies", "body"), pieces)


def _copy_row(arrival: Arrival, copy: NewCopy, spool: bytes) -> dict[str, Any]:
    decision = copy.ruling.decision
    open_ = copy.state in OPEN
    return {
        "controller_id": arrival.controller_id, "message_id": arrival.message_id, "copy_no": copy.copy_no,
        "recipient_key": copy.recipient_key, "state": copy.state, "verdict": decision.verdict,
        "reason_code": decision.reason_code, "cite": decision.cite, "as_of": milliseconds(copy.ruling.as_of),
        "basis": decision.basis, "packs": copy.ruling.packs, "trace": " ".join(decision.trace),
        "rcpt": sealed(spool, copy.rcpt, rcpt_row(arrival.message_id, copy.copy_no)) if open_ and copy.rcpt else None,
        "route": copy.route, "due_at": None if copy.due_at is None else milliseconds(copy.due_at),
        "worker": arrival.worker if copy.state == "claimed" else None,
    }  # fmt: skip


def rcpt_row(message_id: bytes, copy_no: int) -> bytes:
    """What a sealed RCPT is bound to."""
    return b"rcpt/%d/" % copy_no + message_id


def return_to_row(message_id: bytes) -> bytes:
    """What is sealed of where the tool wants reports is bound to."""
    return b"return_to/" + message_id


def claim(handles: Handles, worker: str, route: str, now: datetime, n: int) -> list[ClaimedCopy]:
    """Take the n copies of a route that are due longest, in one transaction."""
    claimed = []
    for controller_id, message_id, copy_no in list(SQL.due(handles.db, route=route, now=milliseconds(now), n=n)):
        row = SQL.claim(
            handles.db, controller_id=controller_id, message_id=message_id, copy_no=copy_no, worker=worker
        )  # fmt: skip
        recipient_key, rcpt, attempts, verdict, reason_code, _ = row
        message = SQL.message(handles.db, controller_id=controller_id, message_id=message_id)
        try:
            plain = opened(handles.keys.hour(message[0] // HOUR_MS), rcpt, rcpt_row(message_id, copy_no))
        except Unreadable:
            plain = None
        if plain is None:  # its key is gone: for a person to look at, and not in the way of the others
            SQL.set_aside(handles.db, controller_id=controller_id, message_id=message_id, copy_no=copy_no)
            continue
        claimed.append(ClaimedCopy(
            controller_id=controller_id, message_id=message_id, copy_no=copy_no, recipient_key=recipient_key,
            rcpt=plain, attempts=attempts, verdict=verdict, reason_code=reason_code,
        ))  # fmt: skip
    return claimed


def message(handles: Handles, controller_id: str, message_id: bytes) -> StoredMessage | None:
    """A message that still waits; None once it is gone."""
    row = SQL.message(handles.db, controller_id=controller_id, message_id=message_id)
    body = SQL.body(handles.db, controller_id=controller_id, message_id=message_id)
    if row is None or body is None:
        return None
    accepted_at, stream, campaign, mode, kind, _, envelope, released_at = row
    key = handles.keys.hour(body[0])
    plain, outer = opened(key, body[1], b"body/" + message_id), opened(key, envelope, b"envelope/" + message_id)
    if plain is None or outer is None:
        return None
    return StoredMessage(
        controller_id=controller_id, message_id=message_id, at=instant(accepted_at), stream=stream, campaign=campaign,
        mode=mode, kind=json.loads(kind), envelope=json.loads(outer), body=plain,
        released_at=None if released_at is None else instant(released_at),
    )  # fmt: skip


def finish(handles: Handles, worker: str, endings: Sequence[Ending]) -> None:
    """Write what became of claimed copies, and let go of originals whose last copy is final."""
    closed: Counter[tuple[str, bytes]] = Counter()
    counts: dict[tuple[str, str, str], Counter[str]] = {}
    for ending in endings:
        if not _end(handles, worker, ending):
            continue
        if ending.state not in OPEN:
            closed[ending.controller_id, ending.message_id] += 1
        counted = counts.setdefault((ending.controller_id, ending.stream, ending.campaign), Counter())
        decision = ending.ruling.decision
        is_now = tally(decision.verdict, decision.reason_code)
        if is_now != ending.was:
            counted[ending.was] -= 1
            counted[is_now] += 1
        if ending.state in _COUNTED:
            counted[_COUNTED[ending.state]] += 1
        if ending.notice is not None:
            _enqueue(handles, ending.notice)
        _learn(handles, ending)
        kept_returns.refused(handles, ending)
    for (controller_id, message_id), n in closed.items():
        close(handles, controller_id, message_id, n)
    for (controller_id, stream, campaign), counted in counts.items():
        count(handles, controller_id, stream, campaign, counted)


def _end(handles: Handles, worker: str, ending: Ending) -> bool:
    decision = ending.ruling.decision
    common = {
        "controller_id": ending.controller_id, "message_id": ending.message_id, "copy_no": ending.copy_no,
        "verdict": decision.verdict, "reason_code": decision.reason_code, "cite": decision.cite,
        "as_of": milliseconds(ending.ruling.as_of), "reply": ending.reply, "worker": worker,
    }  # fmt: skip
    if ending.state == "queued":
        assert ending.due_at is not None
        done = handles.db.execute(SQL.retry_copy.sql, {**common, "due_at": milliseconds(ending.due_at)})
    else:
        done = handles.db.execute(SQL.end_copy.sql, {
            **common, "state": ending.state, "basis": decision.basis, "packs": ending.ruling.packs,
            "trace": " ".join(decision.trace), "ended_at": milliseconds(ending.at),
        })  # fmt: skip
    return done.rowcount == 1


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
    row = SQL.close_copies(handles.db, controller_id=controller_id, message_id=message_id, n=n)
    if row is not None and row[0] <= 0:
        SQL.drop_body(handles.db, controller_id=controller_id, message_id=message_id)
        SQL.drop_envelope(handles.db, controller_id=controller_id, message_id=message_id)


def count(handles: Handles, controller_id: str, stream: str, campaign: str, counts: Mapping[str, int]) -> None:
    """Add to the counters of a campaign."""
    handles.db.executemany(SQL.count.sql, [
        {"controller_id": controller_id, "stream": stream, "campaign": campaign, "name": name, "n": n}
        for name, n in counts.items() if n
    ])  # fmt: skip


def recount(
    handles: Handles, controller_id: str, stream: str, campaign: str, was: tuple[str, str], now: tuple[str, str]
) -> None:
    """A copy's decision became another one: verdict and reason code before and after."""
    count(handles, controller_id, stream, campaign, {tally(*was): -1, tally(*now): 1} if was != now else {})


def count_opt_out(handles: Handles, controller_id: str, message_id: bytes) -> None:
    """Count an opt-out for the campaign whose link was used; a message that is not on record counts nowhere."""
    row = SQL.message(handles.db, controller_id=controller_id, message_id=message_id)
    if row is not None:
        count(handles, controller_id, row[1], row[2], {"opted_out": 1})


def sweep(handles: Handles, now: datetime, captures_before: datetime, n: int = 500) -> int:
    """End captured and rehearsed copies whose time is over, and destroy the keys of hours nothing waits from.

    Copies ended.
    """
    before = milliseconds(captures_before).to_bytes(6, "big") + bytes(10)  # a UUIDv7 begins with its milliseconds
    old = list(SQL.old_captures(handles.db, before=before, n=n))
    for controller_id, message_id, copy_no in old:
        SQL.drop_capture(handles.db, controller_id=controller_id, message_id=message_id, copy_no=copy_no)
        close(handles, controller_id, message_id, 1)
    over = list(SQL.old_rehearsals(handles.db, before=before, n=n))
    for controller_id, message_id, copy_no, stream, campaign in over:
        SQL.lapse(handles.db, controller_id=controller_id, message_id=message_id, copy_no=copy_no, at=milliseconds(now))
        close(handles, controller_id, message_id, 1)
        count(handles, controller_id, stream, campaign, {REHEARSED + STILL_THERE: -1})
    used = {row[0] for row in SQL.hours_of_bodies(handles.db)}
    last = milliseconds(now) // HOUR_MS - 1
    for hour in handles.keys.hours():
        if hour < last and hour not in used:
            handles.keys.drop_hour(hour)
    return len(old) + len(over)
