"""The store's calls about imports as wholes. See imported.Imported, call by call."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import partial

from gateway.store import hash_lists, imports, intake, roster
from gateway.store.columns import milliseconds
from gateway.store.connection import Turn
from gateway.store.contract import Taken, Who
from gateway.store.imported import Import, RosterPage, UndonePage
from gateway.store.sealed_rows import SealedBatch
from gateway.store.sql_base import SqlBase
from suppression.standing import Document


class SqlImported(SqlBase):
    """What SqlStore promises about imports."""

    async def put_import(self, brought: Import) -> None:
        await self._write(partial(imports.put_import, brought=brought))

    async def imports(self, controller_id: str) -> Sequence[Import]:
        return await self._read(partial(imports.imports, controller_id=controller_id))

    async def take_in_sealed(self, batch: SealedBatch, *, at: datetime) -> list[Taken]:
        return await self._enter(partial(intake.take_in_sealed, batch=batch, at=at))

    async def add_hashes(
        self, controller_id: str, hashes: Sequence[tuple[str, bytes]], *, at: datetime, dry: bool
    ) -> list[bool]:
        unit = partial(hash_lists.add, controller_id=controller_id, hashes=hashes, at=milliseconds(at), dry=dry)
        return await (self._read(unit) if dry else self._enter(unit))

    async def undo_import(
        self, controller_id: str, import_id: bytes, *, after: bytes, n: int, at: datetime
    ) -> UndonePage:
        unit = partial(
            imports.undo_page, controller_id=controller_id, import_id=import_id, after=after, n=n, at=milliseconds(at)
        )
        return await self._enter(unit, Turn.NOBODY)

    async def roster(self, controller_id: str, *, after: bytes, n: int) -> RosterPage:
        return await self._read(partial(roster.page, controller_id=controller_id, after=after, n=n))

    async def nameless(self, controller_id: str) -> int:
        return await self._read(partial(roster.nameless, controller_id=controller_id))

    async def documents(self, wanted: Sequence[Who]) -> list[tuple[Document, Mapping[str, str]]]:
        return await self._read(partial(roster.documents, wanted=wanted))
