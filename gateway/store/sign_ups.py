"""Sign-ups. Functions of a database thread's handles.

A sign-up is stored with its ledger entry, its counters and its mail in one transaction: two that come at the same
moment cannot both send a mail (RULES.md B6). One that nobody confirmed goes again, and with it whoever was known by
nothing else (RULES.md 7.2, "pending DOI").
"""

import json
from collections.abc import Sequence
from datetime import datetime
from importlib.resources import files
from typing import Final

import aiosql

from gateway.store import arrivals, erasure, kept_returns, people, suppressions, write_backs
from gateway.store.asking import Asked, Asking, Confirming, Expired, Limit, Once, SignUp
from gateway.store.columns import instant, milliseconds
from gateway.store.connection import Handles
from gateway.store.contract import Act
from gateway.store.keys import opened, sealed

SQL = aiosql.from_path(str(files("gateway.store") / "sql" / "sign_ups.sql"), "sqlite3")
_OF_A_REQUEST: Final = frozenset(
    ("opt_in_requested", "opt_in_expired", "confirmation_sent", "undeliverable", "looked_at")
)
"""Kinds of entries that a sign-up alone brings about."""


def ask(handles: Handles, asking: Asking) -> Asked:
    """Store one sign-up, unless it came before or a limit is reached; then nothing is kept of it."""
    act, consent_id = asking.act, str(asking.act.public["id"])
    before = _said(handles, act.controller_id, asking.once, consent_id, act.at)
    if before is not None:
        return before
    if not _within(handles, act.controller_id, asking.limits, act.at, mails=asking.arrival is not None):
        return Asked("limited", consent_id)
    if asking.arrival is not None and people.erased(handles, act.controller_id, act.recipient_key):
        # They ask to come back: there is something to keep about them again, for as long as we wait for their answer.
        handles.keys.make_person(act.controller_id, act.recipient_key)
    if people.record(handles, [act])[0]:
        _keep(handles, asking)
        people.record(handles, asking.more)
    if asking.arrival is not None:
        arrivals.enqueue(handles, [asking.arrival])
    return Asked("kept", consent_id)


def _keep(handles: Handles, asking: Asking) -> None:
    act = asking.act
    secret = handles.keys.readable(act.controller_id, [act.recipient_key]).get(act.recipient_key)
    if secret is None:
        return  # their key was lost: nothing is decided about them until it is back, and nothing can be confirmed
    trace = sealed(secret.key, json.dumps(asking.trace).encode(), _row(act.controller_id, asking.request_id))
    SQL.add_sign_up(
        handles.db, controller_id=act.controller_id, request_id=asking.request_id, recipient_key=act.recipient_key,
        state="done" if asking.arrival is None else "asked", at=milliseconds(act.at), trace=trace,
    )  # fmt: skip


def _said(handles: Handles, controller_id: str, once: Once | None, consent_id: str, at: datetime) -> Asked | None:
    """The answer to a request that came before; a new one is noted."""
    if once is None:
        return None
    row = SQL.said(handles.db, controller_id=controller_id, name=once.name)
    if row is not None:
        return Asked("again" if row[0] == once.digest else "other", row[1])
    SQL.say(
        handles.db, controller_id=controller_id, name=once.name, digest=once.digest, consent_id=consent_id,
        at=milliseconds(at),
    )  # fmt: skip
    return None


def _within(
    handles: Handles, controller_id: str, limits: Sequence[Limit], at: datetime, *, mails: bool
) -> bool:  # fmt: skip
    """Count a sign-up and say whether it is within all limits. Those of mails count only what the others let pass."""
    passes = True
    for limit in sorted(limits, key=lambda one: one.mailed):
        row = SQL.count(handles.db, controller_id=controller_id, name=limit.name)
        end = milliseconds(at + limit.window)  # one that lies behind it is of a clock that was ahead
        ends_at, n = row if row is not None and milliseconds(at) < row[0] <= end else (end, 0)
        counted = n + 1 if passes and (mails or not limit.mailed) else n
        SQL.put_count(handles.db, controller_id=controller_id, name=limit.name, ends_at=ends_at, n=counted)
        passes = passes and counted <= limit.most
    return passes


def _row(controller_id: str, request_id: bytes) -> bytes:
    """What a sealed trace is bound to."""
    return b"sign_up/" + controller_id.encode() + b"/" + request_id


def sign_up(handles: Handles, controller_id: str, request_id: bytes) -> SignUp | None:
    """A sign-up; None where there is none, or none any more."""
    row = SQL.sign_up(handles.db, controller_id=controller_id, request_id=request_id)
    if row is None:
        return None
    recipient_key, state, at, trace = row
    secret = handles.keys.readable(controller_id, [recipient_key]).get(recipient_key)
    plain = opened(secret.key, trace, _row(controller_id, request_id)) if secret is not None else None
    return SignUp(
        recipient_key=recipient_key, at=instant(at), done=state == "done",
        trace=json.loads(plain) if plain is not None else {},
    )  # fmt: skip


def sign_ups_of(handles: Handles, controller_id: str, recipient_key: bytes) -> list[SignUp]:
    """The sign-ups of one person that are still kept, oldest first."""
    rows = list(SQL.all_of(handles.db, controller_id=controller_id, recipient_key=recipient_key))
    found = (sign_up(handles, controller_id, row[0]) for row in rows)
    return [one for one in found if one is not None]


def confirm(handles: Handles, confirming: Confirming) -> bool:
    """Confirm a sign-up once, with all that follows from it. False where it was not waiting."""
    controller_id = confirming.controller_id
    if not SQL.confirm(handles.db, controller_id=controller_id, request_id=confirming.request_id):
        return False
    people.record(handles, confirming.acts)
    for act in confirming.acts:
        if act.kind == "opt_in_confirmed":  # what said that the address is dead counts no more
            kept_returns.SQL.forget_dead(handles.db, controller_id=controller_id, recipient_key=act.recipient_key)
    for row, act in confirming.lifts:
        suppressions.lift(handles, [act], row)
    for row, act in confirming.narrowed:
        suppressions.lift_for(handles, [act], row)
    for name in confirming.released:
        SQL.drop_count(handles.db, controller_id=controller_id, name=name)
    return True


def expire(handles: Handles, asked_before: datetime, now: datetime, n: int) -> Expired:
    """Let go of sign-ups that nobody confirmed in time, oldest first, n at most."""
    rows = list(SQL.expired(handles.db, before=milliseconds(asked_before), n=n))
    forgotten = 0
    for controller_id, request_id, recipient_key in rows:
        asked = sign_up(handles, controller_id, request_id)
        consent_id = asked.trace.get("id") if asked is not None else None
        SQL.drop(handles.db, controller_id=controller_id, request_id=request_id)
        people.record(handles, [Act(
            controller_id=controller_id, recipient_key=recipient_key, kind="opt_in_expired",
            public={"id": consent_id or request_id.hex()}, private=None, at=now,
        )])  # fmt: skip
        forgotten += _forget(handles, controller_id, recipient_key, now)
    return Expired(len(rows), forgotten)


def _forget(handles: Handles, controller_id: str, recipient_key: bytes, now: datetime) -> bool:
    """Forget whoever was known by this sign-up alone. No tombstone: they never asked not to be written to."""
    secret = handles.keys.readable(controller_id, [recipient_key]).get(recipient_key)
    if secret is None:
        return False
    kinds = {row[0] for row in SQL.kinds_of(
        handles.db, controller_id=controller_id, subject=secret.subject(recipient_key)
    )}  # fmt: skip
    place = {"controller_id": controller_id, "recipient_key": recipient_key}
    if not kinds <= _OF_A_REQUEST or SQL.others_of(handles.db, **place) or SQL.listed(handles.db, **place):
        return False
    erasure.end_copies(handles, controller_id, recipient_key, milliseconds(now))
    erasure.SQL.drop_person(handles.db, **place)
    erasure.SQL.drop_standing(handles.db, **place)
    write_backs.SQL.drop_links(handles.db, **place)
    erasure.SQL.drop_returns(handles.db, **place)
    handles.keys.forget(controller_id, recipient_key)
    return True


def drop_traces(handles: Handles, before: datetime, said_before: datetime, now: datetime, n: int) -> int:
    """Drop what may be kept for a time only: where sign-ups came from, counts, marks of requests. Traces dropped."""
    old = list(SQL.old(handles.db, before=milliseconds(before), n=n))
    for controller_id, request_id in old:
        SQL.drop(handles.db, controller_id=controller_id, request_id=request_id)
    SQL.drop_counts(handles.db, now=milliseconds(now))
    SQL.drop_said(handles.db, before=milliseconds(said_before))
    return len(old)
