"""The store over SQL, whatever the database: one writer per process, readers beside it.

What it never does: answer before the commit, write outside a group, or read a person without their key. Any error of
the driver becomes StoreUnavailable.
"""

import contextlib
from collections.abc import Sequence
from datetime import datetime
from functools import partial
from importlib.resources import files
from itertools import islice
from typing import Any

import aiosql

from gateway.store import intake, pairing, people, queue, queued, redated, suppressions, write_backs
from gateway.store.arrivals import enqueue
from gateway.store.columns import instant, milliseconds
from gateway.store.connection import Gatherer, Handles, Thread, Turn, Writer
from gateway.store.contract import (
    Act,
    Arrival,
    ClaimedCopy,
    Ending,
    Holder,
    Person,
    Statement,
    Stop,
    StoredMessage,
    StoreUnavailable,
    SuppressionRow,
    Taken,
    Who,
)  # fmt: skip
from gateway.store.corresponding import OwedLetter
from gateway.store.evidence import Note
from gateway.store.sql_access import SqlAccess
from gateway.store.sql_checks import SqlChecks
from gateway.store.sql_evidence import SqlEvidence
from gateway.store.sql_faults import SqlFaults
from gateway.store.sql_history import SqlHistory
from gateway.store.sql_holding import SqlHolding
from gateway.store.sql_hooks import SqlHooks
from gateway.store.sql_imported import SqlImported
from gateway.store.sql_letters import SqlLetters
from gateway.store.sql_material import SqlMaterial
from gateway.store.sql_pacing import SqlPacing
from gateway.store.sql_proof import SqlProof
from gateway.store.sql_rehearsal import SqlRehearsal
from gateway.store.sql_reports import SqlReports
from gateway.store.sql_returns import SqlReturns
from gateway.store.sql_rulings import SqlRulings
from gateway.store.sql_sign_ups import SqlSignUps
from gateway.store.sql_sts import SqlSts
from gateway.store.sql_waiting import SqlWaiting
from gateway.store.staff import Staff
from gateway.store.waiting import CopyKey

SCHEMA_VERSION = "3"
"""As the last line of schema.sql stamps it."""
SQL = aiosql.from_path(str(files("gateway.store") / "sql" / "settings.sql"), "sqlite3")


class SqlStore(
    SqlEvidence,
    SqlAccess,
    SqlMaterial,
    SqlHistory,
    SqlRehearsal,
    SqlImported,
    SqlProof,
    SqlReports,
    SqlSignUps,
    SqlRulings,
    SqlHolding,
    SqlReturns,
    SqlLetters,
    SqlChecks,
    SqlHooks,
    SqlWaiting,
    SqlPacing,
    SqlSts,
    SqlFaults,
):
    """See contract.Store, call by call."""

    def __init__(self, *, write: Thread, fast: Thread, slow: Thread) -> None:
        """The connections, as in SqlBase."""
        super().__init__(write=write, fast=fast, slow=slow)
        self._numbers: dict[tuple[str, str, str], int] = {}
        self._names: dict[int, tuple[str, str, str]] = {}
        self._turns: dict[str, int] = {}  # by route, whose turn was served last

    async def open(self) -> None:
        """Connect. StoreUnavailable where the files are not there, or of another version."""
        for thread in self._threads:
            await thread.open()
        self._writer = Writer(self._write_thread)
        self._people: Gatherer[Sequence[Who], list[Person]] = Gatherer(self._read_people, limit=64)
        await self.check()
        if not await self._read(pairing.are_paired):
            await self._write(pairing.pair)

    async def close(self) -> None:
        if hasattr(self, "_writer"):
            with contextlib.suppress(StoreUnavailable):
                await self._seal_own()
            await self._writer.close()
            await self._people.close()
        for thread in reversed(self._threads):  # the writer last: it puts the write-ahead log away
            await thread.close()

    async def check(self) -> None:
        """Raise StoreUnavailable unless the database answers and has our schema."""
        found = await self._read(lambda h: h.db.execute("SELECT value FROM meta WHERE name = 'schema'").fetchone())
        if found is None or found[0] != SCHEMA_VERSION:
            raise StoreUnavailable("the database has another schema version: run `consentgate migrate`")

    # people and what they said

    async def _read_people(self, asked: Sequence[Sequence[Who]]) -> list[list[Person]]:
        wanted = [who for whos in asked for who in whos]
        found = iter(await self._fast_thread.run(partial(people.people, wanted=wanted)))
        return [list(islice(found, len(whos))) for whos in asked]

    async def people(self, wanted: Sequence[Who]) -> list[Person]:
        return await self._people.ask(wanted)

    async def record(self, acts: Sequence[Act]) -> list[bool]:
        def unit(handles: Handles) -> list[bool]:
            done = people.record(handles, acts)
            for act, changed in zip(acts, done, strict=True):
                if changed:
                    write_backs.acted(handles, self._told(act.controller_id), act)
            return done

        return await self._enter(unit)

    async def opt_out(
        self, acts: Sequence[Act], row: SuppressionRow, message_id: bytes | None, *, owed: OwedLetter | None = None
    ) -> SuppressionRow:
        def unit(handles: Handles) -> SuppressionRow:
            placed = suppressions.add(handles, acts, row, owed)
            if message_id is not None and placed is row:
                queue.count_opt_out(handles, row.controller_id, message_id)
            if placed is row:
                write_backs.opted_out(handles, self._told(row.controller_id), row, message_id)
            return placed

        return await self._enter(unit)

    async def lift(self, acts: Sequence[Act], row: SuppressionRow) -> bool:
        def unit(handles: Handles) -> bool:
            changed = suppressions.lift(handles, acts, row)
            if changed:
                write_backs.lifted(handles, self._told(row.controller_id), row)
            return changed

        return await self._enter(unit)

    async def suppressions_of(self, controller_id: str, recipient_key: bytes) -> list[SuppressionRow]:
        return await self._read(
            partial(suppressions.of_person, controller_id=controller_id, recipient_key=recipient_key)
        )

    async def suppression_page(
        self, controller_id: str, *, after: tuple[bytes, bytes], n: int, addresses: bool
    ) -> list[SuppressionRow]:
        return await self._read(
            partial(suppressions.page, controller_id=controller_id, after=after, n=n, addresses=addresses)
        )

    async def address(self, controller_id: str, recipient_key: bytes) -> str | None:
        return await self._read(partial(people.address, controller_id=controller_id, recipient_key=recipient_key))

    async def take_in(self, statements: Sequence[Statement], *, at: datetime, dry: bool) -> list[Taken]:
        if dry:
            return await self._read(partial(intake.take_in, statements=statements, at=at, dry=True))
        new = await self._read(partial(intake.unknown, statements=statements))
        prepared = intake.prepare(statements, new)
        return await self._enter(
            partial(intake.take_in, statements=statements, at=at, dry=False, prepared=prepared)
        )  # fmt: skip

    async def take_in_stops(self, stops: Sequence[Stop], *, at: datetime, dry: bool) -> list[Taken]:
        unit = partial(intake.take_in_stops, stops=stops, at=at, dry=dry)
        return await (self._read(unit) if dry else self._enter(unit))

    # the queue

    async def enqueue(self, *arrivals: Arrival) -> None:
        await self._writer.together(enqueue, arrivals, Turn.BESIDE)

    async def claim(self, worker: str, route: str, *, now: datetime, n: int) -> list[ClaimedCopy]:
        copies, self._turns[route] = await self._write(
            partial(queue.claim, worker=worker, route=route, now=now, n=n, after=self._turns.get(route, -1)),
            Turn.BESIDE,
        )
        return copies

    async def claim_overdue(self, worker: str, route: str, *, now: datetime, n: int) -> list[ClaimedCopy]:
        unit = partial(queue.claim_overdue, worker=worker, route=route, now=now, n=n)
        return await self._write(unit, Turn.BESIDE)

    async def message(self, controller_id: str, message_id: bytes) -> StoredMessage | None:
        return (await self.messages([(controller_id, message_id)]))[0]

    async def messages(self, wanted: Sequence[tuple[str, bytes]]) -> list[StoredMessage | None]:
        return await self._read(partial(queue.messages, wanted=wanted))

    async def finish(self, worker: str, endings: Sequence[Ending]) -> None:
        self._note_entries()  # an ending may teach something about a person
        learnt = any(one.dead_address or one.mailed or one.confirmation_of is not None for one in endings)
        unit = partial(queue.finish, worker=worker, endings=endings)
        await self._write(unit, Turn.ALONE if learnt else Turn.BESIDE)

    async def renew(self, worker: str, until: datetime) -> None:
        lease = milliseconds(until)
        await self._write(lambda h: queue.SQL.renew(h.db, worker=worker, lease_until=lease), Turn.BESIDE)

    async def take_back(self, worker: str, now: datetime) -> int:
        return await self._write(partial(queue.take_back, worker=worker, now=now))

    async def lease(self, worker: str) -> datetime | None:
        return await self._read(partial(queue.lease, worker=worker))

    async def holders(self) -> list[Holder]:
        return await self._fast_thread.run(queue.holders)

    async def take_over(self, over: Sequence[Holder], now: datetime) -> int:
        return await self._write(partial(queue.take_over, over=over, now=now))

    async def claimed(self, worker: str) -> list[CopyKey]:
        return await self._read(partial(queue.claimed, worker=worker))

    async def resume(self, worker: str, until: datetime) -> list[CopyKey]:
        unit = partial(queue.resume, worker=worker, lease_until=milliseconds(until))
        return await self._write(unit)  # in the turn of `take_over`: it is over or begins after this

    async def give_back(self, worker: str, keys: Sequence[CopyKey], now: datetime) -> int:
        return await self._write(partial(queue.give_back, worker=worker, keys=keys, now=now), Turn.BESIDE)

    async def redate(self, now: datetime) -> int:
        found = 0
        for line in await self._read(queued.lines):
            past: redated.Place | None = redated.beginning(now)
            while line.state == "queued" and past is not None:
                wrong, past = await self._read(partial(redated.page, line=line, past=past, now=now))
                if wrong:
                    found += await self._write(partial(redated.put_right, keys=wrong, now=now), Turn.BESIDE)
        await self._write(partial(write_backs.redate, now=now))
        return found

    async def next_due(self, route: str) -> datetime | None:
        return await self._read(partial(queue.next_due, route=route))

    async def waiting(self) -> int:
        return sum(one.waiting for one in await self.depths())

    async def sweep(self, *, now: datetime, captures_before: datetime) -> int:
        ended = await self._write(partial(queue.sweep, now=now, captures_before=captures_before))
        if await self._read(partial(queue.hours_over, now=now)):
            await self._write(partial(queue.drop_hours, now=now), Turn.NOBODY)
        return ended

    # names, staff

    async def number(self, controller_id: str, kind: str, name: str) -> int:
        wanted = (controller_id, kind, name)
        if wanted not in self._numbers:
            await self._write(partial(_add_number, wanted=wanted))
            await self._read_numbers()
        return self._numbers[wanted]

    async def name(self, number: int) -> tuple[str, str, str] | None:
        if number not in self._names:
            await self._read_numbers()
        return self._names.get(number)

    async def _read_numbers(self) -> None:
        rows = await self._read(lambda h: list(SQL.numbers(h.db)))
        self._names = {number: (controller_id, kind, name) for controller_id, kind, name, number in rows}
        self._numbers = {value: number for number, value in self._names.items()}

    async def staff(self, name: str) -> Staff | None:
        row = await self._read(lambda h: SQL.staff(h.db, name=name))
        return None if row is None else _staff(row)

    async def all_staff(self) -> list[Staff]:
        return [_staff(row) for row in await self._read(lambda h: list(SQL.all_staff(h.db)))]

    async def put_staff(self, staff: Staff, now: datetime, notes: Sequence[Note] = ()) -> None:
        row = {
            "name": staff.name, "password_hash": staff.password_hash, "roles": " ".join(staff.roles),
            "controllers": " ".join(staff.controllers), "changed_at": milliseconds(now),
        }  # fmt: skip

        def unit(handles: Handles) -> None:
            SQL.put_staff(handles.db, **row)
            people.note(handles, notes)

        await self._enter(unit)

    async def sign_out(self, name: str, now: datetime) -> None:
        at = milliseconds(now)
        await self._write(lambda h: SQL.sign_out(h.db, name=name, signed_out_at=at))

    async def remove_staff(self, name: str, notes: Sequence[Note] = ()) -> bool:
        def unit(handles: Handles) -> bool:
            removed = bool(SQL.remove_staff(handles.db, name=name))
            people.note(handles, notes if removed else ())
            return removed

        return await self._enter(unit)


def _add_number(handles: Handles, wanted: tuple[str, str, str]) -> None:
    controller_id, kind, name = wanted
    SQL.add_number(handles.db, controller_id=controller_id, kind=kind, name=name)


def _staff(row: Sequence[Any]) -> Staff:
    name, password_hash, roles, controllers, signed_out_at = row
    return Staff(
        name=name, password_hash=password_hash, roles=tuple(roles.split()), controllers=tuple(controllers.split()),
        signed_out_at=None if signed_out_at is None else instant(signed_out_at),
    )  # fmt: skip
