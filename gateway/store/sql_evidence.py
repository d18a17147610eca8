"""The store's calls about ledger and erasure. See evidence.Evidence, call by call."""

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any

from gateway.store import arrivals, erasure, hash_lists, people, rebuild, sealing, write_backs
from gateway.store.connection import Handles, Turn
from gateway.store.contract import Arrival, StoreUnavailable
from gateway.store.evidence import ChainEnd, ChainRest, Erased, Erasure, KeptHead, Note, RebuiltPage
from gateway.store.sql_write_backs import SqlWriteBacks
from suppression.chain import Stored

EMPTY_TRIES, EMPTY_SECONDS = 5, 0.2
"""How often, and how far apart, the databases' logs are tried to be emptied, so that mail passes in between."""


class SqlEvidence(SqlWriteBacks):
    """What SqlStore promises besides people and queue."""

    async def note(
        self, controller_id: str, kind: str, public: Mapping[str, Any], private: Mapping[str, Any] | None = None, *,
        at: datetime,
    ) -> None:  # fmt: skip
        one = Note(controller_id=controller_id, kind=kind, public=public, private=private, at=at)

        def unit(handles: Handles) -> None:
            people.note(handles, [one])
            if kind == "mail_ruling":
                handles.db.call("answers")

        await self._enter(unit)

    async def note_change(self, name: str, value: str, notes: Sequence[Note]) -> bool:
        """Remember a value under a name, with the notes of its change; False where it stands already.

        Of several processes that learn of the same change one writes. The first value is no change: no note.
        """

        def unit(handles: Handles) -> bool:
            row = sealing.SQL.remembered(handles.db, name=name)
            if row is not None and row[0] == value:
                return False
            sealing.SQL.remember(handles.db, name=name, value=value)
            people.note(handles, notes if row is not None else ())
            return True

        return await self._enter(unit)

    async def ledgers(self) -> list[str]:
        return await self._read(sealing.controllers)

    async def chain_end(self, controller_id: str) -> ChainEnd:
        return await self._read(partial(sealing.tail, controller_id=controller_id))

    async def chain_entries(self, controller_id: str, *, after: bytes, upto: bytes, n: int) -> list[Stored]:
        return await self._read(
            partial(sealing.entries, controller_id=controller_id, after=after, upto=upto, n=n)
        )  # fmt: skip

    async def chain_rest(self, controller_id: str, *, after: bytes, n: int) -> ChainRest:
        return await self._read(partial(sealing.rest, controller_id=controller_id, after=after, n=n))

    async def heads(self, controller_id: str) -> list[KeptHead]:
        return await self._read(partial(sealing.heads, controller_id=controller_id))

    async def keep_heads(self, heads: Sequence[KeptHead], letters: Sequence[Arrival] = ()) -> int:
        """Keep signed heads; how many are new. Letters about them are queued with them, unless another process did."""

        def unit(handles: Handles) -> int:
            new = sealing.keep_heads(handles, heads)
            if new:
                arrivals.enqueue(handles, letters)
            return new

        return await self._write(unit)

    async def rebuild(self, controller_id: str, *, after: bytes, n: int, write: bool) -> RebuiltPage:
        unit = partial(rebuild.page, controller_id=controller_id, after=after, n=n, write=write)
        return await (self._write(unit, Turn.NOBODY) if write else self._read(unit))

    async def rebuild_lists(self, controller_id: str, *, after: bytes, n: int, write: bool) -> RebuiltPage:
        unit = partial(hash_lists.page, controller_id=controller_id, after=after, n=n, write=write)
        return await (self._write(unit) if write else self._read(unit))

    async def erase(self, erasure_: Erasure) -> Erased:
        """Everything readable goes in one transaction; then the key, so that a crash between leaves no unsaid gap."""

        def unit(handles: Handles) -> Erased:
            write_backs.erased(handles, self._told(erasure_.controller_id), erasure_)
            return erasure.erase(handles, erasure_)

        done = await self._enter(unit, Turn.NOBODY)
        keys = [(erasure_.controller_id, key) for key in erasure_.recipient_keys]
        await self._write(partial(erasure.forget, erased=keys), Turn.NOBODY)
        return done

    async def forget_erased(self) -> int:
        found = await self._read(erasure.unforgotten)
        if found:
            await self._write(partial(erasure.forget, erased=found), Turn.NOBODY)
        return len(found)

    async def empty_logs(self) -> bool:
        for _ in range(EMPTY_TRIES):
            with contextlib.suppress(StoreUnavailable):
                if await self._write_thread.run(erasure.empty_logs):
                    return True
            await asyncio.sleep(EMPTY_SECONDS)
        return False
