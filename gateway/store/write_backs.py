"""Write-back jobs: made with what they tell of, claimed, ended. Functions of a database thread's handles.

A job whose content does not open any more is given up by its worker: the person was erased meanwhile, and then what
still has to be said of them stands in jobs of their erasure.
"""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from importlib.resources import files
from typing import Any
from uuid import UUID

import aiosql

from gateway.store import people, suppressions
from gateway.store.ahead import new_id
from gateway.store.columns import instant, milliseconds
from gateway.store.connection import Handles
from gateway.store.contract import Act, Arrival, SuppressionRow
from gateway.store.evidence import Erasure
from gateway.store.keys import opened, sealed
from gateway.store.redated import APART
from gateway.store.telling import (
    KEPT_FOR,
    LEASE,
    LONGEST,
    ONE_CLICK,
    REMINDED_AFTER,
    TOLD_KEPT_FOR,
    TRIED_FOR,
    Drift,
    Event,
    Job,
    JobCount,
    JobEnd,
    JobRow,
    State,
    Target,
    ToolLink,
)
from suppression.fields import written
from suppression.rules import SUPPRESSION_SOURCES
from suppression.vault import PersonSecret, Unreadable

SQL = aiosql.from_path(str(files("gateway.store") / "sql" / "write_backs.sql"), "sqlite3")
_OF_ACTS: Mapping[str, Event] = {
    "restriction": "person.restricted", "restriction_lifted": "person.restriction_lifted",
    "rectification": "person.rectified",
}  # fmt: skip
"""Kinds of ledger entries that others are told of (GDPR art. 19)."""
OPT_OUTS = (*SUPPRESSION_SOURCES, "CONSENT_WITHDRAWN")
"""Codes of copies that somebody's own word kept out."""
_SAID_OF_ACTS = frozenset(("scope", "purpose", "from", "at", "ref"))


# What somebody said becomes jobs


def opted_out(
    handles: Handles, targets: Sequence[Target], row: SuppressionRow, message_id: bytes | None
) -> int:  # fmt: skip
    """Jobs for an opt-out that was placed now: for each target that it concerns, and for the tool's own addresses.

    None for whoever has no address on file: there is nobody then whom others know. None either while it is only
    assumed: who was told cannot be untold, and somebody is about to read the reply (settle.py). How many were made.
    """
    if row.assumed:
        return 0
    content = {
        "scope": row.scope, "purpose": row.purpose, "reason": row.reason, "source": row.source, "at": written(row.at),
        "ref": row.suppression_id.hex(),
    }  # fmt: skip
    made = _Making(handles, row.controller_id, row.recipient_key, row.at, row.suppression_id, address=row.address)
    made.tell(_concerned(made, targets, "opt_out.recorded", row.purpose, message_id), "opt_out.recorded", content)
    for purpose, host, link in made.links():
        if row.purpose in (None, purpose):
            made.add(ONE_CLICK, host, "opt_out.recorded", {**content, "url": link})
    return made.count


def lifted(handles: Handles, targets: Sequence[Target], row: SuppressionRow) -> int:
    """An opt-out no longer stands: who was not told of it yet is not, and who was hears of this too."""
    assert row.lifted_at is not None
    place = {"controller_id": row.controller_id, "recipient_key": row.recipient_key, "ref": row.suppression_id}
    told = {name for (name,) in SQL.told_of(handles.db, **place)}
    SQL.drop_told_of(handles.db, **place, at=milliseconds(row.lifted_at))
    content = {
        "scope": row.scope, "purpose": row.purpose, "at": written(row.lifted_at), "ref": row.suppression_id.hex()
    }  # fmt: skip
    made = _Making(handles, row.controller_id, row.recipient_key, row.lifted_at, row.suppression_id)
    told_too = [one for one in targets if one.name in told and "opt_out.lifted" in one.events]
    made.tell(told_too, "opt_out.lifted", content)
    return made.count


def acted(handles: Handles, targets: Sequence[Target], act: Act) -> int:
    """Who else has a person's data is told that it was corrected, restricted or released (GDPR art. 19)."""
    event = _OF_ACTS.get(act.kind)
    if event is None or not targets:
        return 0
    content = {name: value for name, value in act.public.items() if name in _SAID_OF_ACTS}
    if event == "person.rectified":
        content["changed"] = dict((act.private or {}).get("changed", {}))
    made = _Making(handles, act.controller_id, act.recipient_key, act.at, None)
    made.tell(_concerned(made, targets, event, None, None), event, {"at": written(act.at), **content})
    return made.count


def erased(handles: Handles, targets: Sequence[Target], wanted: Erasure) -> int:
    """What is still to be said of somebody before nobody here knows them any more; called before anything goes.

    Everybody who has their data is told (GDPR art. 19), and jobs that wait go on, all under a key of their own.
    """
    count = 0
    content = {"scope": "sender", "purpose": None, "at": written(wanted.at)}
    for key in wanted.recipient_keys:
        made = _Making(handles, wanted.controller_id, key, wanted.at, None, address=wanted.address, apart=True)
        if made.known or key == wanted.recipient_keys[0]:
            made.tell(_concerned(made, targets, "person.erased", None, None), "person.erased", content)
        for _, host, link in made.links():
            made.add(ONE_CLICK, host, "person.erased", {**content, "url": link})
        _set_apart(handles, wanted.controller_id, key)
        SQL.drop_ended(handles.db, controller_id=wanted.controller_id, recipient_key=key)
        SQL.drop_links(handles.db, controller_id=wanted.controller_id, recipient_key=key)
        count += made.count
    return count


def _concerned(
    made: "_Making", targets: Sequence[Target], event: Event, purpose: str | None, message_id: bytes | None
) -> list[Target]:
    return [
        one for one in targets
        if event in one.events and (purpose is None or one.purposes is None or purpose in one.purposes)
        and (one.streams is None or made.mailed_by(one.streams, message_id))
    ]  # fmt: skip


class _Making:
    """Jobs about one person at one instant. `address`: where it is known apart from what is on file."""

    def __init__(
        self, handles: Handles, controller_id: str, recipient_key: bytes, at: datetime, ref: bytes | None, *,
        address: str | None = None, apart: bool = False,
    ) -> None:  # fmt: skip
        self._handles, self._at, self._ref, self._apart = handles, at, ref, apart
        self._controller_id, self._recipient_key = controller_id, recipient_key
        self._place = {"controller_id": controller_id, "recipient_key": recipient_key}
        self._secret = handles.keys.readable(controller_id, [recipient_key]).get(recipient_key)
        on_file = people.address(handles, controller_id, recipient_key)
        self.known = on_file is not None
        self._address = on_file or address
        self._streams: set[str] | None = None
        self.count = 0

    def mailed_by(self, streams: frozenset[str], message_id: bytes | None) -> bool:
        """Whether the message at hand, or any other on record for this person, was mail of one of these streams."""
        if self._streams is None:
            self._streams = {row[0] for row in SQL.streams_of(self._handles.db, **self._place)}
            if message_id is not None:
                row = SQL.stream_of_message(
                    self._handles.db, controller_id=self._controller_id, message_id=message_id
                )  # fmt: skip
                self._streams |= {row[0]} if row is not None else set()
        return bool(self._streams & streams)

    def links(self) -> list[tuple[str, str, str]]:
        """The tool's own addresses for this person: purpose, host, URL."""
        found = []
        for stream, purpose, host, link in SQL.links(self._handles.db, **self._place):
            bound = link_row(self._controller_id, self._recipient_key, stream, purpose)
            plain = opened(self._secret.key, link, bound) if self._secret is not None else None
            if plain is not None:
                found.append((purpose, host, plain.decode()))
        return found

    def tell(self, targets: Sequence[Target], event: Event, content: Mapping[str, Any]) -> None:
        """One job for each target, where there is an address to tell."""
        for one in targets if self._address is not None else ():
            said = {"at": content["at"]} if one.terse else content
            self.add(one.name, one.host, event, {**said, "address": self._address})

    def add(self, target: str, host: str, event: Event, content: Mapping[str, Any]) -> None:
        """One job."""
        secret = self._key()
        if secret is None:
            return  # what is on file of them does not open: it is nobody's to tell
        job_id = new_id()
        kept = sealed(secret.key, json.dumps(content).encode(), _row(self._controller_id, job_id))
        SQL.add_job(
            self._handles.db, **self._place, job_id=job_id, target=target, host=host, event=event, ref=self._ref,
            at=milliseconds(self._at), due_at=milliseconds(self._at), until=milliseconds(self._at + TRIED_FOR),
            apart=int(self._apart), content=kept,
        )  # fmt: skip
        self.count += 1

    def _key(self) -> PersonSecret | None:
        if not self._apart:
            return self._secret
        return self._handles.keys.make_apart(self._controller_id, self._recipient_key)


def _set_apart(handles: Handles, controller_id: str, recipient_key: bytes) -> None:
    """What waits for a person goes on after their key is gone."""
    secret = handles.keys.readable(controller_id, [recipient_key]).get(recipient_key)
    for job_id, content in list(SQL.unsaid(handles.db, controller_id=controller_id, recipient_key=recipient_key)):
        plain = opened(secret.key, content, _row(controller_id, job_id)) if secret is not None else None
        if plain is None:
            SQL.drop_job(handles.db, controller_id=controller_id, job_id=job_id)
            continue
        apart = handles.keys.make_apart(controller_id, recipient_key)
        SQL.set_apart(
            handles.db, controller_id=controller_id, job_id=job_id,
            content=sealed(apart.key, plain, _row(controller_id, job_id)),
        )  # fmt: skip


def _row(controller_id: str, job_id: bytes) -> bytes:
    """What the content of a job is bound to."""
    return b"write_back/" + controller_id.encode() + b"/" + job_id


# The tool's own addresses


def link_row(controller_id: str, recipient_key: bytes, stream: str, purpose: str) -> bytes:
    """What a sealed address is bound to."""
    return b"tool_link/" + "/".join((controller_id, recipient_key.hex(), stream, purpose)).encode()


def remember(handles: Handles, secret: PersonSecret, arrival: Arrival, link: ToolLink) -> None:
    """Keep the tool's address for the one person of a message, in place of the one before it.

    Where that person had opted out the tool does not know, or forgot: it is told, and again after a while.
    """
    copy, at = arrival.copies[0], milliseconds(arrival.at)
    place = {"controller_id": arrival.controller_id, "recipient_key": copy.recipient_key}
    if people.erased(handles, arrival.controller_id, copy.recipient_key):
        return  # nothing new is kept about whoever is erased and stays away
    bound = link_row(arrival.controller_id, copy.recipient_key, arrival.stream, link.purpose)
    SQL.put_link(
        handles.db, **place, stream=arrival.stream, purpose=link.purpose, message_id=arrival.message_id, at=at,
        host=link.host, link=sealed(secret.key, link.url.encode(), bound),
    )  # fmt: skip
    if copy.ruling.decision.reason_code not in OPT_OUTS:
        return
    if _assumed_only(handles, arrival.controller_id, copy.recipient_key):
        return
    since = milliseconds(arrival.at - REMINDED_AFTER)
    if SQL.reminded(handles.db, **place, target=ONE_CLICK, host=link.host, since=since) is None:
        made = _Making(handles, arrival.controller_id, copy.recipient_key, arrival.at, None)
        made.add(ONE_CLICK, link.host, "opt_out.recorded", {
            "scope": "purpose" if link.purpose else "sender", "purpose": link.purpose or None,
            "at": written(arrival.at), "url": link.url,
        })  # fmt: skip


def _assumed_only(handles: Handles, controller_id: str, recipient_key: bytes) -> bool:
    """Whether nothing keeps a person out but an unclear reply that nobody has read."""
    standing = [one for one in suppressions.of_person(handles, controller_id, recipient_key) if one.lifted_at is None]
    return bool(standing) and all(one.assumed for one in standing)


# Jobs and their workers


def hosts_due(handles: Handles, now: datetime) -> list[str]:
    """Hosts that have jobs due."""
    return [row[0] for row in SQL.hosts_due(handles.db, now=milliseconds(now))]


def claim(handles: Handles, worker: str, host: str, now: datetime, n: int) -> list[Job]:
    """Take the n jobs of a host that are due longest."""
    claimed = []
    for row in list(SQL.due(handles.db, host=host, now=milliseconds(now), n=n)):
        controller_id, job_id, recipient_key, target, event, at, until, attempts, apart, content = row
        SQL.claim(
            handles.db, controller_id=controller_id, job_id=job_id, worker=worker,
            lease_until=milliseconds(now + LEASE),
        )  # fmt: skip
        claimed.append(Job(
            controller_id=controller_id, job_id=job_id, target=target, host=host, event=event, at=instant(at),
            until=instant(until), attempts=attempts + 1,
            content=_content(handles, controller_id, recipient_key, job_id, bool(apart), content),
        ))  # fmt: skip
    return claimed


def _content(
    handles: Handles, controller_id: str, recipient_key: bytes, job_id: bytes, apart: bool, stored: bytes | None
) -> Mapping[str, Any] | None:
    try:
        if apart:
            secret = handles.keys.apart(controller_id, recipient_key)
        else:
            secret = handles.keys.person(controller_id, recipient_key)
    except Unreadable:
        return None
    plain = opened(secret.key, stored, _row(controller_id, job_id)) if secret is not None else None
    return None if plain is None else json.loads(plain)


def end(handles: Handles, worker: str, ended: JobEnd) -> bool:
    """Write what became of a job, if this worker still holds it. Whether it was one of somebody erased, and over."""
    place = {"controller_id": ended.controller_id, "job_id": ended.job_id}
    held = {**place, "worker": worker, "attempts": ended.attempts, "said": ended.said}
    if ended.state == "waiting":
        assert ended.due_at is not None
        SQL.again(handles.db, **held, due_at=milliseconds(ended.due_at))
        return False
    SQL.end_job(handles.db, **held, state=ended.state, at=milliseconds(ended.at))
    row = SQL.job(handles.db, **place)
    return row is not None and row[0] == 1


def let_go(handles: Handles) -> int:
    """With the last thing that had to be said of somebody who was erased goes the key it was sealed under.

    In a transaction of its own, behind the one that says so: a crash between the two leaves nothing unsaid. How many.
    """
    over = list(SQL.all_said(handles.db))
    for controller_id, recipient_key in over:
        handles.keys.forget_apart(controller_id, recipient_key)
        SQL.let_go(handles.db, controller_id=controller_id, recipient_key=recipient_key)
    return len(over)


def take_back(handles: Handles, worker: str, now: datetime) -> int:
    """What this worker held before it restarted; how many jobs."""
    return int(SQL.take_back(handles.db, worker=worker, now=milliseconds(now)))


def redate(handles: Handles, now: datetime) -> int:
    """After the clock was set back: jobs that would wait until the time of before are due; how many."""
    return int(
        SQL.redate(
            handles.db, now=milliseconds(now), apart=milliseconds(now + APART), latest=milliseconds(now + LONGEST)
        )
    )  # fmt: skip


def stop_keeping(handles: Handles, now: datetime) -> int:
    """Drop what could not be said of people who were erased long ago; how many jobs."""
    return int(SQL.stop_keeping(handles.db, before=milliseconds(now - KEPT_FOR)))


def sweep(handles: Handles, now: datetime, n: int) -> int:
    """Forget jobs that ended long ago, n at most; how many."""
    before, told_before = milliseconds(now - KEPT_FOR), milliseconds(now - TOLD_KEPT_FOR)
    old = list(SQL.swept(handles.db, before=before, told_before=told_before, n=n))
    for controller_id, job_id in old:
        SQL.drop_job(handles.db, controller_id=controller_id, job_id=job_id)
    return len(old)


def change(
    handles: Handles, controller_id: str, job_id: bytes | None, target: str | None, to: State, now: datetime
) -> int:
    """Try jobs again now, or drop them: one, those of a target, or all that are not done. How many."""
    found = SQL.changeable(handles.db, controller_id=controller_id, job_id=job_id, target=target)
    changed = 0
    for (one,) in list(found):
        place = {"controller_id": controller_id, "job_id": one, "now": milliseconds(now)}
        if to == "waiting":
            changed += int(SQL.try_again(handles.db, **place, until=milliseconds(now + TRIED_FOR)))
            continue
        changed += int(SQL.drop_one(handles.db, **place))
    return changed


# What staff see


def newest(handles: Handles, controller_id: str, state: State | None, n: int) -> list[JobRow]:
    """The n newest jobs of a controller."""
    return [
        JobRow(
            controller=controller_id, job_id=str(UUID(bytes=job_id)), target=target, host=host, event=event,
            state=found, at=instant(at), due_at=instant(due_at) if found == "waiting" else None, attempts=attempts,
            said=said, ended_at=None if ended_at is None else instant(ended_at), recipient=key.hex(),
        )
        for job_id, target, host, event, found, at, due_at, attempts, said, ended_at, key in SQL.newest(
            handles.db, controller_id=controller_id, state=state, n=n
        )
    ]  # fmt: skip


def hosts_told(handles: Handles, controller_id: str, recipient_key: bytes) -> list[str]:
    """HOST:PORT of the systems that were told of a person, as far as that is still on record."""
    rows = SQL.hosts_told(handles.db, controller_id=controller_id, recipient_key=recipient_key)
    return [host for (host,) in rows]


def counts(handles: Handles, controller_id: str) -> list[JobCount]:
    """How many jobs of each target are in each state."""
    return [
        JobCount(
            controller=controller_id, target=target, state=state, jobs=jobs, oldest=instant(oldest),
            newest=instant(newest), said=said,
        )
        for target, state, jobs, oldest, newest, said in SQL.counts(handles.db, controller_id=controller_id)
    ]  # fmt: skip


_DRIFT = SQL.drift.sql.replace("CODES", ", ".join(f"'{code}'" for code in OPT_OUTS))


def drift(handles: Handles, controller_id: str, since: datetime) -> list[Drift]:
    """How each login went on mailing people who had opted out."""
    rows = handles.db.execute(_DRIFT, {"controller_id": controller_id, "since": milliseconds(since)})
    return [
        Drift(
            controller=controller_id, login=login, stream=stream, tried=tried, people=met, told=told,
            told_people=told_people, last_at=instant(last_at),
        )
        for login, stream, tried, met, told, told_people, last_at in rows
    ]  # fmt: skip
