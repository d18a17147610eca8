"""The store's calls about mail that waits for an answer. See holding.Holding, call by call."""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import partial
from importlib.resources import files

import aiosql

from gateway.store import arrivals, queue, tallies
from gateway.store.columns import instant, milliseconds
from gateway.store.connection import Handles
from gateway.store.contract import Arrival
from gateway.store.holding import Answer, HeldMail, Seen
from gateway.store.keys import opened
from gateway.store.reports import Subjects
from gateway.store.sql_base import SqlBase

SQL = aiosql.from_path(str(files("gateway.store") / "sql" / "holding.sql"), "sqlite3")
_BYTES = 128
"""A bitmap on disk."""


class SqlHolding(SqlBase):
    """What SqlStore promises about held mail."""

    async def held_mail(self, controller_id: str, *, n: int) -> list[HeldMail]:
        return await self._read(partial(_held_mail, controller_id=controller_id, n=n))

    async def held_copies(self, controller_id: str, message_id: bytes) -> list[tuple[int, bytes | None]]:
        return await self._read(partial(_held_copies, controller_id=controller_id, message_id=message_id))

    async def expired_mail(self, *, now: datetime, n: int) -> list[tuple[str, bytes]]:
        return await self._read(lambda h: list(SQL.expired_mail(h.db, now=milliseconds(now), n=n)))

    async def let_go(self, controller_id: str, message_ids: Sequence[bytes], *, now: datetime) -> int:
        return await self._write(partial(_let_go, controller_id=controller_id, message_ids=message_ids, now=now))

    async def end_held(
        self, controller_id: str, message_id: bytes, *, state: str, reply: str, now: datetime, notice: Arrival | None
    ) -> int:
        return await self._write(partial(
            _end_held, controller_id=controller_id, message_id=message_id, state=state, reply=reply, now=now,
            notice=notice,
        ))  # fmt: skip

    async def mail_answers(self, *, known: bytes) -> tuple[bytes, Mapping[str, Sequence[Answer]]] | None:
        return await self._read(partial(_answers, known=known))

    async def join_seen(self, seen: Sequence[Seen]) -> list[Seen]:
        return await self._write(partial(_join_seen, seen=seen))

    async def forget_seen(self, *, before_slot: int) -> None:
        await self._write(lambda h: SQL.forget_seen(h.db, before=before_slot))


def _held_mail(handles: Handles, controller_id: str, n: int) -> list[HeldMail]:
    subjects = Subjects(handles, controller_id)
    return [
        HeldMail(
            controller_id=controller_id, message_id=message_id, stream=stream, campaign=campaign, skeleton=skeleton,
            likeness=likeness, signs=tuple(json.loads(signs)), subject=subjects.read(message_id, subject, key),
            at=instant(at), expires_at=instant(expires_at), copies=copies,
        )
        for message_id, stream, skeleton, likeness, signs, expires_at, at, campaign, subject, key, copies
        in SQL.held_mail(handles.db, controller_id=controller_id, n=n)
    ]  # fmt: skip


def _held_copies(handles: Handles, controller_id: str, message_id: bytes) -> list[tuple[int, bytes | None]]:
    row = queue.SQL.accepted_at(handles.db, controller_id=controller_id, message_id=message_id)
    if row is None:
        return []
    spool = handles.keys.hour(row[0] // arrivals.HOUR_MS)
    return [
        (copy_no, opened(spool, rcpt, arrivals.rcpt_row(message_id, copy_no)))
        for copy_no, rcpt in list(SQL.held_copies(handles.db, controller_id=controller_id, message_id=message_id))
    ]


def _let_go(handles: Handles, controller_id: str, message_ids: Sequence[bytes], now: datetime) -> int:
    gone = 0
    for message_id in message_ids:
        one = {"controller_id": controller_id, "message_id": message_id}
        if handles.db.execute(SQL.answered.sql, one).rowcount:
            rows = handles.db.execute(SQL.let_go.sql, {**one, "now": milliseconds(now)}).fetchall()
            gone += len(rows)
            _count(handles, controller_id, rows, waiting=1)
            handles.db.execute(SQL.let_message_go.sql, {**one, "now": milliseconds(now)})
    if gone:
        handles.db.call("work")
    return gone


def _end_held(
    handles: Handles, controller_id: str, message_id: bytes, state: str, reply: str, now: datetime,
    notice: Arrival | None,
) -> int:  # fmt: skip
    one = {"controller_id": controller_id, "message_id": message_id}
    if not handles.db.execute(SQL.answered.sql, one).rowcount:
        return 0
    rows = handles.db.execute(
        SQL.end_held.sql, {**one, "state": state, "reply": reply, "now": milliseconds(now)}
    ).fetchall()
    ended = len(rows)
    _count(handles, controller_id, rows, waiting=0)
    if ended:
        queue.close(handles, controller_id, message_id, ended)
    if notice is not None:
        arrivals.enqueue(handles, [notice])
    return ended


def _count(handles: Handles, controller_id: str, rows: Sequence[Sequence[str]], waiting: int) -> None:
    """Copies that are held no more, each a row of route and stream."""
    depths = tallies.Depths()
    for route, stream in rows:
        depths.add(controller_id, stream, route, waiting=waiting, held=-1)
    depths.write(handles)


def _answers(handles: Handles, known: bytes) -> tuple[bytes, Mapping[str, Sequence[Answer]]] | None:
    """All answers, where there is a newer one than is known; None where there is not."""
    newest = SQL.newest_answer(handles.db)[0] or b""
    if newest == known:
        return None
    found: dict[str, list[Answer]] = {}
    for controller_id, entry_id, at, public in SQL.mail_answers(handles.db):
        said = json.loads(public)
        found.setdefault(controller_id, []).append(Answer(
            answer_id=entry_id, at=instant(at), stream=said["stream"], skeleton=said["skeleton"],
            likeness=said["likeness"], signs=tuple(said["signs"]), service=said["service"],
        ))  # fmt: skip
    return newest, found


def _join_seen(handles: Handles, seen: Sequence[Seen]) -> list[Seen]:
    """Join bitmaps with those on disk, this window and the one before; what they amount to."""
    joined = []
    for one in seen:
        key = {"controller_id": one.controller_id, "stream": one.stream, "skeleton": one.skeleton}
        people = one.people | _bits(SQL.seen(handles.db, **key, slot=one.slot))
        SQL.put_seen(handles.db, **key, slot=one.slot, people=people.to_bytes(_BYTES, "big"))
        before = _bits(SQL.seen(handles.db, **key, slot=one.slot - 1))
        joined.append(Seen(
            controller_id=one.controller_id, stream=one.stream, skeleton=one.skeleton, slot=one.slot, people=people,
            before=before,
        ))  # fmt: skip
    return joined


def _bits(row: tuple[bytes] | None) -> int:
    return 0 if row is None else int.from_bytes(row[0], "big")
