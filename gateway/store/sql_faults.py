"""The store's calls about smarthosts that cannot be used. See faults.Faults, call by call."""

from collections.abc import Sequence
from importlib.resources import files

import aiosql

from gateway.store.columns import instant, milliseconds
from gateway.store.connection import Handles
from gateway.store.faults import HostFault, HostNote
from gateway.store.sql_base import SqlBase

SQL = aiosql.from_path(str(files("gateway.store") / "sql" / "faults.sql"), "sqlite3")


class SqlFaults(SqlBase):
    """What a store promises about smarthosts that cannot be used."""

    async def note_hosts(self, notes: Sequence[HostNote]) -> None:
        def write(handles: Handles) -> None:
            for note in sorted(notes, key=lambda note: (note.route, note.host)):
                if note.stage is None:
                    SQL.is_well(handles.db, route=note.route, host=note.host)
                else:
                    SQL.note_fault(
                        handles.db, route=note.route, host=note.host, stage=note.stage, code=note.code,
                        said=note.said, at=milliseconds(note.at),
                    )  # fmt: skip

        if notes:
            await self._write(write)

    async def host_faults(self) -> list[HostFault]:
        rows = await self._read(lambda h: list(SQL.faults(h.db)))
        return [
            HostFault(
                route=route, host=host, stage=stage, code=code, said=said, since=instant(since),
                last_at=instant(last_at),
            )
            for route, host, stage, code, said, since, last_at in rows
        ]  # fmt: skip
