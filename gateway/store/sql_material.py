"""The store's calls about the material that proves consents. See material.Material, call by call."""

import json
from collections.abc import Collection
from datetime import datetime
from functools import partial

from gateway.store import attachments, hash_lists, meters, sources, wordings
from gateway.store.connection import Handles
from gateway.store.material import (
    Amiss,
    KeptAttachment,
    KeptMeter,
    KeptSource,
    KeptWording,
    LivingPage,
    MaterialPage,
    NewAttachment,
    Said,
    StandingPage,
)  # fmt: skip
from gateway.store.sql_base import SqlBase
from suppression.evidence import Wording
from suppression.proof_meter import Meter
from suppression.provenance import ListSource


class SqlMaterial(SqlBase):
    """What SqlStore promises about material."""

    async def keep_wording(self, controller_id: str, wording: Wording, *, at: datetime) -> bytes:
        return await self._enter(partial(wordings.keep, controller_id=controller_id, wording=wording, at=at))

    async def wording(self, controller_id: str, wanted: str | bytes) -> KeptWording | None:
        return await self._read(partial(wordings.kept, controller_id=controller_id, wanted=wanted))

    async def wordings(self, controller_id: str, *, after: str = "", n: int = 500) -> list[KeptWording]:
        return await self._read(partial(wordings.page, controller_id=controller_id, after=after, n=n))

    async def keep_source(self, controller_id: str, source: ListSource, *, at: datetime) -> None:
        await self._enter(partial(sources.keep, controller_id=controller_id, source=source, at=at))

    async def sources(self, controller_id: str, name: str | None = None) -> list[KeptSource]:
        """The newest version of each file, by name; or every version of the named one, newest first."""
        return await self._read(partial(sources.kept, controller_id=controller_id, name=name))

    async def attach(self, new: NewAttachment) -> bytes:
        return await self._enter(partial(attachments.keep, new=new))

    async def attachments(self, controller_id: str, recipient_key: bytes) -> list[KeptAttachment]:
        return await self._read(
            partial(attachments.kept, controller_id=controller_id, recipient_key=recipient_key)
        )  # fmt: skip

    async def attachment(self, controller_id: str, recipient_key: bytes, attachment_id: bytes) -> bytes | None:
        return await self._read(partial(
            attachments.content, controller_id=controller_id, recipient_key=recipient_key, attachment_id=attachment_id
        ))  # fmt: skip

    async def living(self, controller_id: str, subjects: Collection[bytes], *, after: bytes, n: int) -> LivingPage:
        return await self._read(
            partial(attachments.living, controller_id=controller_id, subjects=subjects, after=after, n=n)
        )  # fmt: skip

    async def compare_material(self, controller_id: str, *, after: bytes, n: int) -> MaterialPage:
        return await self._read(partial(compare, controller_id=controller_id, after=after, n=n))

    async def standing_page(self, controller_id: str, *, after: bytes, n: int) -> StandingPage:
        return await self._read(partial(meters.standings, controller_id=controller_id, after=after, n=n))

    async def meter(self, controller_id: str) -> KeptMeter | None:
        return await self._read(partial(meters.kept, controller_id=controller_id))

    async def begin_meter(self, controller_id: str, *, now: datetime, until: datetime) -> tuple[bool, bytes]:
        """Whether it is time to count this list; then nobody else does until `until`. And the newest entry's id."""
        due, newest = await self._read(partial(meters.due, controller_id=controller_id, now=now))
        if due:
            due = await self._write(partial(meters.begin, controller_id=controller_id, now=now, until=until))
        return due, newest

    async def keep_meter(
        self, controller_id: str, meter: Meter, *, entry_id: bytes, counted_at: datetime, due_at: datetime
    ) -> None:
        await self._write(partial(
            meters.keep, controller_id=controller_id, meter=meter, entry_id=entry_id, counted_at=counted_at,
            due_at=due_at,
        ))  # fmt: skip


def compare(handles: Handles, controller_id: str, after: bytes, n: int) -> MaterialPage:
    """The next n entries about material beside the pieces themselves, seen at one instant."""
    handles.db.execute("BEGIN")
    try:
        rows = list(wordings.SQL.entries_about_material(handles.db, controller_id=controller_id, after=after, n=n))
        amiss: list[Amiss] = []
        gone: list[tuple[bytes, Amiss]] = []
        for row in rows:
            said = _said(row)
            if said is None:
                continue  # an entry that makes no sense is the chain's business
            if said.kind == "evidence" and (missing := attachments.gone(handles, controller_id, said)) is not None:
                gone.append((said.subject, missing))
            else:
                amiss += _COMPARE[said.kind](handles, controller_id, said)
        if not after:
            for put_in in (wordings.put_in, sources.put_in, attachments.put_in, hash_lists.put_in):
                amiss += put_in(handles, controller_id)
    finally:
        handles.db.execute("COMMIT")
    return MaterialPage(
        entries=len(rows), amiss=tuple(amiss), gone=tuple(gone), after=rows[-1][0] if len(rows) == n else None
    )


def _said(row: tuple[bytes, int | None, int, str, bytes, str]) -> Said | None:
    entry_id, seq, at, kind, subject, public = row
    try:
        fields = json.loads(public)
    except ValueError:
        return None
    return Said(entry_id, seq, at, kind, subject, fields) if isinstance(fields, dict) else None


_COMPARE = {
    "wording": wordings.compare,
    "source": sources.compare,
    "evidence": attachments.compare,
    "hash_list": hash_lists.compare,
}
