"""What time alone asks of copies that wait: a report that they are late, where one was asked for, and their end.

It does not depend on the route being in use, nor on a copy's next try: a route that is down for days loses nobody a
report. Reports name all copies of a message that are looked at together (RFC 3464 2.3).
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime

from gateway import log
from gateway.mail.dsn import Reported, is_owed, reported
from gateway.mail.outcome import Outcome, alarm
from gateway.parcel import HandOver, Owed, Parcel
from gateway.store.contract import Ending


def told_together(hand_over: HandOver, endings: Iterable[Ending], owed: Sequence[Owed], now: datetime) -> list[Ending]:
    """Endings of copies, each report with the first one of its message."""
    by_message: dict[bytes, list[Owed]] = {}
    for one in owed:
        by_message.setdefault(one.parcel.original.message_id, []).append(one)
    found = []
    for ending in endings:
        some = by_message.pop(ending.message_id, None)
        if some is not None:
            about, why = [one.about for one in some], [one.why for one in some]
            ending = replace(ending, notice=hand_over.notice(some[0].parcel, about, now, why))
        found.append(ending)
    return found


def endings(hand_over: HandOver, route: str, parcels: Iterable[Parcel], now: datetime) -> list[Ending]:
    """How copies go on that may leave and are overdue: failed with the last answer they got, or waiting as before."""
    found: list[Ending] = []
    by_message: dict[bytes, list[Parcel]] = {}
    for parcel in parcels:
        by_message.setdefault(parcel.original.message_id, []).append(parcel)
    for copies in by_message.values():
        since, stream = copies[0].original.since, copies[0].original.stream
        over = now >= since + stream.retry_for
        some = [_failed(parcel, route, now) if over else _waits(parcel, now) for parcel in copies]
        owed = [
            _reported(parcel, now, over=over) for parcel in copies
            if is_owed("failed" if over else "delayed", parcel.rcpt.notify, parcel.mail_from)
        ]  # fmt: skip
        if owed:
            some[0] = replace(some[0], notice=hand_over.notice(copies[0], owed, now))
        found += some
    return found


def _failed(parcel: Parcel, route: str, now: datetime) -> Ending:
    log.failed(
        copy=parcel.name, route=route, stage="queue", code=None, enhanced="5.4.7", attempts=parcel.attempts
    )  # fmt: skip
    return parcel.ending("failed", now, said=_said(parcel), tried=False)


def _waits(parcel: Parcel, now: datetime) -> Ending:
    original = parcel.original
    return parcel.ending(
        "queued", now, due_at=(parcel.claimed.due_at if parcel.claimed else None) or now, tried=False,
        alarm_at=alarm(original.since, original.stream.retry_for, delay_asked=False, now=now),
    )  # fmt: skip


def _reported(parcel: Parcel, now: datetime, *, over: bool) -> Reported:
    said = Outcome(state="retry", code=None, enhanced="4.4.7", text=_said(parcel), stage="connect")
    return reported(
        parcel.rcpt.address, said, action="failed" if over else "delayed", orcpt=parcel.rcpt.orcpt,
        last_attempt=parcel.claimed.decided_at if parcel.claimed and parcel.attempts else None,
        retry_until=None if over else parcel.original.since + parcel.original.stream.retry_for,
    )  # fmt: skip


def _said(parcel: Parcel) -> str:
    said = parcel.claimed.said if parcel.claimed is not None else ""
    return said or "no server could be reached in time"
