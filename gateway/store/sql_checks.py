"""The store's calls about checks of our own mail. See checks.Checks, call by call."""

from collections.abc import Sequence
from importlib.resources import files

import aiosql

from gateway.store.checks import CheckNote, KeptChecks
from gateway.store.columns import instant, milliseconds
from gateway.store.connection import Handles
from gateway.store.sql_base import SqlBase

SQL = aiosql.from_path(str(files("gateway.store") / "sql" / "checks.sql"), "sqlite3")


class SqlChecks(SqlBase):
    """What SqlStore promises about checks."""

    async def note_checks(self, notes: Sequence[CheckNote]) -> None:
        def write(handles: Handles) -> None:
            for note in notes:
                SQL.note_check(
                    handles.db, controller_id=note.controller_id, kind=note.kind, name=note.name,
                    checked=note.checked, failed=note.failed, at=milliseconds(note.at), why=note.why,
                )  # fmt: skip

        if notes:
            await self._write(write)

    async def checks(self, controller_id: str) -> list[KeptChecks]:
        rows = await self._read(lambda h: list(SQL.checks(h.db, controller_id=controller_id)))
        return [
            KeptChecks(
                kind=kind, name=name, checked=checked, failed=failed, last_at=instant(last_at),
                failed_at=instant(failed_at) if failed_at is not None else None, why=why,
            )
            for kind, name, checked, failed, last_at, failed_at, why in rows
        ]  # fmt: skip
