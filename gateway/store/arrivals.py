"""Messages on their way into the queue, in SQL: whole groups at once. Functions of a database thread's handles."""

import hashlib
import json
import os
import zlib
from collections.abc import Sequence
from typing import Any, Final

from gateway.config import MARKETING
from gateway.store import strangers, tallies, write_backs
from gateway.store.columns import milliseconds
from gateway.store.connection import Database, Handles
from gateway.store.contract import Arrival, NewCopy, tally
from gateway.store.keys import sealed
from gateway.store.tallies import QUEUE as SQL
from suppression.vault import NONCE_BYTES, PersonSecret, seal_long

OPEN: Final = ("queued", "claimed", "captured", "held", "rehearsed")
"""States in which a copy still needs the original."""
WAITING: Final = ("queued", "claimed")
"""States in which a copy is on its way."""
LONG_BODY: Final = 1 << 20
"""Octets from which on an original is written in pieces."""
HOUR_MS: Final = 3_600_000
TURNS: Final = 64
"""How many turns there are of service mail on a route, and again of marketing."""
REHEARSED: Final = "rehearsed/"
"""What stands before the names of counts of a rehearsal, so that they never mix with what left."""
STILL_THERE: Final = "open"
"""Rehearsed copies that were neither released nor swept."""
_COMPACT: Final = json.JSONEncoder(separators=(",", ":")).encode


def enqueue(handles: Handles, arrivals: Sequence[Arrival]) -> None:
    """Store messages with their decisions and their copies: all of them, or none. A few statements, however many."""
    if not arrivals:
        return
    db, secrets = handles.db, _secrets(handles, arrivals)
    messages, copies, counts, depths = [], [], tallies.Counts(arrivals[0].worker), tallies.Depths(arrivals[0].worker)
    bodies = _Bodies(db)
    for arrival in arrivals:
        open_copies = sum(1 for copy in arrival.copies if copy.state in OPEN)
        alone = len(arrival.copies) == 1
        own = secrets[arrival.controller_id, arrival.copies[0].recipient_key] if alone else None
        subject_key = own.key if own is not None else handles.keys.make_controller(arrival.controller_id).key
        hour = milliseconds(arrival.at) // HOUR_MS
        spool = handles.keys.hour(hour, make=True) if open_copies else b""
        messages.append(_message_row(arrival, open_copies, subject_key, spool))
        if arrival.body is not None and open_copies:
            bodies.add(arrival.controller_id, arrival.message_id, hour, spool, arrival.body)
        copies += [_copy_row(arrival, copy, spool) for copy in arrival.copies]
        _count_arrival(counts, arrival, open_copies)
        for copy in arrival.copies:
            waits = copy.state in WAITING
            depths.add(arrival.controller_id, arrival.stream, copy.route, waiting=waits, held=copy.state == "held")
    db.insert(SQL.add_messages.sql, messages)
    bodies.write()
    db.insert(SQL.add_copies.sql, copies)
    for arrival in arrivals:
        if arrival.held_until is not None:
            SQL.ask(
                db, controller_id=arrival.controller_id, message_id=arrival.message_id, stream=arrival.stream,
                skeleton=arrival.kind["skeleton"], likeness=arrival.kind["likeness"],
                signs=json.dumps(arrival.kind["signs"]), expires_at=milliseconds(arrival.held_until),
            )  # fmt: skip
        if arrival.link is not None and len(arrival.copies) == 1:
            secret = secrets[arrival.controller_id, arrival.copies[0].recipient_key]
            write_backs.remember(handles, secret, arrival, arrival.link)
    counts.write(handles)
    depths.write(handles)


def _secrets(handles: Handles, arrivals: Sequence[Arrival]) -> dict[tuple[str, bytes], PersonSecret]:
    """Of everybody who is a message's only recipient, or has no row with an address yet."""
    return strangers.see_all(handles, [
        strangers.Seen(
            arrival.controller_id, copy.recipient_key, copy.address, milliseconds(arrival.at), copy.addressed
        )
        for arrival in arrivals
        for copy in arrival.copies
        if len(arrival.copies) == 1 or not copy.addressed
    ])  # fmt: skip


def _message_row(arrival: Arrival, open_copies: int, subject_key: bytes, spool: bytes) -> dict[str, Any]:
    message_id = arrival.message_id
    return {
        "controller_id": arrival.controller_id, "message_id": message_id, "accepted_at": milliseconds(arrival.at),
        "stream": arrival.stream, "campaign": arrival.campaign, "mode": arrival.mode,
        "kind": _COMPACT(arrival.kind), "size": arrival.size, "open": open_copies,
        "digest": None if arrival.body is None else hashlib.sha256(arrival.body).digest(),
        "envelope": sealed(spool, json.dumps(arrival.envelope).encode(), b"envelope/" + message_id) if spool else None,
        "subject": sealed(subject_key, arrival.subject.encode(errors="replace"), b"subject/" + message_id),
        "subject_key": arrival.copies[0].recipient_key if len(arrival.copies) == 1 else None, "login": arrival.login,
        "return_to": None if arrival.return_to is None else sealed(
            subject_key, json.dumps(arrival.return_to).encode(), return_to_row(message_id)
        ),
    }  # fmt: skip


def _count_arrival(counts: tallies.Counts, arrival: Arrival, open_copies: int) -> None:
    rehearsed = REHEARSED if arrival.mode == "rehearse" else ""
    counted = counts.of(arrival.controller_id, arrival.stream, arrival.campaign)
    counted[rehearsed + "accepted"] += len(arrival.copies)
    if arrival.kind.get("handling") == "flag":
        counted[rehearsed + "flagged"] += len(arrival.copies)
    for copy in arrival.copies:
        counted[rehearsed + tally(copy.ruling.decision.verdict, copy.ruling.decision.reason_code)] += 1
    if rehearsed:
        counted[rehearsed + STILL_THERE] += open_copies


class _Bodies:
    """Originals on their way to the disk, sealed; no more of them in memory than `LONG_BODY` or one message."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._rows: list[dict[str, Any]] = []
        self._octets = 0

    def add(self, controller_id: str, message_id: bytes, hour: int, spool: bytes, body: bytes) -> None:
        if len(body) > LONG_BODY:
            _add_long_body(self._db, controller_id, message_id, hour, spool, body)
            return
        self._rows.append({
            "controller_id": controller_id, "message_id": message_id, "hour": hour,
            "body": sealed(spool, body, b"body/" + message_id),
        })  # fmt: skip
        self._octets += len(body)
        if self._octets > LONG_BODY:
            self.write()

    def write(self) -> None:
        self._db.insert(SQL.add_bodies.sql, self._rows)
        self._rows, self._octets = [], 0


def _add_long_body(db: Database, controller_id: str, message_id: bytes, hour: int, spool: bytes, body: bytes) -> None:
    """Keep a long original, sealed, in pieces."""
    place = {"controller_id": controller_id, "message_id": message_id, "hour": hour}
    pieces = seal_long(spool, body, b"body/" + message_id, os.urandom(NONCE_BYTES))
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
        "worker": arrival.worker if copy.state == "claimed" else None, "turn": turn_of(arrival),
        "alarm_at": None if copy.alarm_at is None or not open_ else milliseconds(copy.alarm_at),
    }  # fmt: skip


def turn_of(arrival: Arrival) -> int:
    """Among whom copies take turns to leave: service mail has numbers of its own, the lower ones, and goes first.

    A hash of the campaign: a large one stands behind one number, and the others do not stand behind it. So few numbers
    that looking at each costs nothing, however many campaigns wait.
    """
    kind = arrival.kind
    marketing = bool(kind.get("promotional")) or kind.get("message_class") in MARKETING
    name = "/".join((arrival.controller_id, arrival.stream, arrival.campaign))
    return TURNS * marketing + zlib.crc32(name.encode()) % TURNS


def rcpt_row(message_id: bytes, copy_no: int) -> bytes:
    """What a sealed RCPT is bound to."""
    return b"rcpt/%d/" % copy_no + message_id


def return_to_row(message_id: bytes) -> bytes:
    """What is sealed of where the tool wants reports is bound to."""
    return b"return_to/" + message_id
