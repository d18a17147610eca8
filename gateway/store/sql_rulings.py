"""The store's calls about rulings on similar products. See rulings.Rulings, call by call."""

import json
from datetime import datetime
from functools import partial

from gateway.store.columns import instant, milliseconds
from gateway.store.connection import Handles
from gateway.store.ruled import SQL
from gateway.store.rulings import KeptOut, SimilarRuling
from gateway.store.sql_base import SqlBase
from suppression import ledger
from suppression.vault import PersonSecret, Unreadable


class SqlRulings(SqlBase):
    """What SqlStore promises about rulings."""

    async def rulings(self, controller_id: str) -> list[SimilarRuling]:
        return await self._read(partial(_rulings, controller_id=controller_id))

    async def kept_out_as(
        self, controller_id: str, reason_code: str, *, since: datetime, look_at: int
    ) -> list[KeptOut]:  # fmt: skip
        rows = await self._read(lambda h: list(SQL.kept_out_as(
            h.db, controller_id=controller_id, reason_code=reason_code, since=milliseconds(since), look_at=look_at
        )))  # fmt: skip
        return [KeptOut(key, tuple(json.loads(kind).get("categories", ()))) for key, kind in rows]


def _rulings(handles: Handles, controller_id: str) -> list[SimilarRuling]:
    """All entries about similar products, oldest first."""
    secret = handles.keys.controller(controller_id)
    return [
        _ruling(controller_id, secret, row) for row in list(SQL.rulings(handles.db, controller_id=controller_id))
    ]  # fmt: skip


def _ruling(
    controller_id: str, secret: PersonSecret | None, row: tuple[bytes, int, str, bytes, bytes]
) -> SimilarRuling:
    entry_id, at, public, private, commitment = row
    entry = ledger.Entry(
        controller_id=controller_id, entry_id=entry_id, at=at, kind="ruling", subject=b"", public=public.encode(),
        private=private, commitment=commitment,
    )  # fmt: skip
    said = json.loads(public)
    try:
        hidden = ledger.read_private(entry, secret) if secret is not None else {}
    except Unreadable:
        hidden = {}
    return SimilarRuling(
        ruling_id=entry_id, at=instant(at), first=said["first"], other=said["other"], similar=said["similar"],
        state=said["state"], channel=said["by"], why=hidden.get("why", ""), by=hidden.get("by", ""),
        second=hidden.get("second", ""), proposal=bytes.fromhex(said["proposal"]) if said.get("proposal") else None,
    )  # fmt: skip
