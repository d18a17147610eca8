"""What reports and pages read. Functions of a database thread's handles."""

import json
from collections.abc import Mapping
from datetime import datetime
from importlib.resources import files
from typing import Any

import aiosql

from gateway.store import people
from gateway.store.arrivals import HOUR_MS, rcpt_row
from gateway.store.columns import instant, milliseconds
from gateway.store.connection import Handles
from gateway.store.keys import opened
from gateway.store.reporting import Before, Captured, HeldOut

SQL = aiosql.from_path(str(files("gateway.store") / "sql" / "report.sql"), "sqlite3")

_END_OF_TIME = 1 << 62
_LAST_ID = b"\xff" * 16


def held_out(
    handles: Handles, controller_id: str, since: datetime | None, before: Before | None, n: int, addresses: bool,
    passed: bool = False,
) -> list[HeldOut]:  # fmt: skip
    """The next n copies that were kept out, newest first; `passed`: that were let through on observing instead."""
    at, message_id, copy_no = (milliseconds(before[0]), *before[1:]) if before else (_END_OF_TIME, _LAST_ID, 0)
    query = SQL.let_through if passed else SQL.held_out
    rows = query(
        handles.db, controller_id=controller_id, since=milliseconds(since) if since else 0, before_at=at,
        before_id=message_id, before_no=copy_no, n=n,
    )  # fmt: skip
    subjects = Subjects(handles, controller_id)
    return [
        HeldOut(
            at=instant(as_of), stream=stream, campaign=campaign, subject=subjects.read(message_id, subject, key),
            message_id=message_id, copy_no=copy_no, recipient_key=recipient_key,
            address=people.address(handles, controller_id, recipient_key) if addresses else None,
            verdict=verdict, reason_code=code, cite=cite, mode=mode, packs=packs,
        )
        for as_of, stream, campaign, subject, key, message_id, copy_no, recipient_key, verdict, code, cite, mode, packs
        in rows
    ]  # fmt: skip


class Subjects:
    """Opens subjects of one controller: sealed under the only recipient's key, or under the controller's."""

    def __init__(self, handles: Handles, controller_id: str) -> None:
        self._handles, self._controller_id = handles, controller_id
        self._own = handles.keys.controller(controller_id)

    def read(self, message_id: bytes, subject: bytes | None, key: bytes | None) -> str:
        """The subject; empty where it cannot be read any more (the person was erased)."""
        secret = self._own if key is None else self._handles.keys.readable(self._controller_id, [key]).get(key)
        plain = opened(secret.key if secret else None, subject, b"subject/" + message_id)
        return plain.decode(errors="replace") if plain else ""


def tallies(handles: Handles, controller_id: str) -> dict[tuple[str, str], dict[str, int]]:
    """All counters of a controller, by stream and campaign."""
    found: dict[tuple[str, str], dict[str, int]] = {}
    for stream, campaign, name, n in SQL.tallies(handles.db, controller_id=controller_id):
        found.setdefault((stream, campaign), {})[name] = n
    return found


def campaign(handles: Handles, controller_id: str, stream: str, campaign: str) -> tuple[datetime, datetime, str] | None:
    """First and last message of a campaign, and the subject of the last."""
    span = SQL.campaign_span(handles.db, controller_id=controller_id, stream=stream, campaign=campaign)
    if span is None or span[0] is None:
        return None
    first, last = (instant(int.from_bytes(message_id[:6], "big")) for message_id in span)
    subject = SQL.subject(handles.db, controller_id=controller_id, message_id=span[1])
    return first, last, Subjects(handles, controller_id).read(span[1], *subject)


def campaign_kind(handles: Handles, controller_id: str, stream: str, campaign: str) -> Mapping[str, Any]:
    """What a campaign's newest message was taken for; empty where there is none."""
    row = SQL.kind_of_newest(handles.db, controller_id=controller_id, stream=stream, campaign=campaign)
    return json.loads(row[0]) if row is not None else {}


def captured(
    handles: Handles, controller_id: str, before: tuple[bytes, int] | None, n: int, addresses: bool
) -> list[Captured]:
    """The next n captured copies, newest first."""
    before_id, before_no = before or (_LAST_ID, 0)
    subjects = Subjects(handles, controller_id)
    return [
        Captured(
            message_id=message_id, copy_no=copy_no, at=instant(ended_at), stream=stream, campaign=campaign_id,
            subject=subjects.read(message_id, subject, key), recipient_key=recipient_key,
            address=people.address(handles, controller_id, recipient_key) if addresses else None, size=size,
        )
        for message_id, copy_no, ended_at, stream, campaign_id, subject, key, recipient_key, size in SQL.captured(
            handles.db, controller_id=controller_id, before_id=before_id, before_no=before_no, n=n
        )
    ]  # fmt: skip


def copy(handles: Handles, controller_id: str, message_id: bytes, copy_no: int) -> Mapping[str, Any] | None:
    """One copy as it stands, its RCPT opened where the copy still waits or was captured."""
    row = SQL.copy(handles.db, controller_id=controller_id, message_id=message_id, copy_no=copy_no)
    if row is None:
        return None
    recipient_key, state, verdict, reason_code, basis, rcpt, as_of, packs, accepted_at = row
    hour = accepted_at // HOUR_MS
    plain = opened(handles.keys.hour(hour), rcpt, rcpt_row(message_id, copy_no)) if rcpt is not None else None
    return {
        "recipient_key": recipient_key, "state": state, "verdict": verdict, "reason_code": reason_code,
        "basis": basis, "rcpt": plain, "as_of": instant(as_of), "packs": packs,
    }  # fmt: skip
