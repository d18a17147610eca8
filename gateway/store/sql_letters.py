"""The store's calls about letters that are owed. See corresponding.Letters, call by call."""

from collections.abc import Sequence
from datetime import datetime
from functools import partial

from gateway.store import letters
from gateway.store.contract import Act, Arrival
from gateway.store.corresponding import OwedLetter
from gateway.store.sql_base import SqlBase


class SqlLetters(SqlBase):
    """What SqlStore promises about letters."""

    async def owe(self, letter: OwedLetter) -> bool:
        return await self._write(partial(letters.owe, letter=letter))

    async def letters_due(self, *, now: datetime, n: int) -> list[OwedLetter]:
        return await self._read(partial(letters.due, now=now, n=n))

    async def letters_to(self, controller_id: str, recipient_key: bytes) -> list[OwedLetter]:
        return await self._read(
            partial(letters.to_person, controller_id=controller_id, recipient_key=recipient_key)
        )  # fmt: skip

    async def settle_letters(
        self, owed: Sequence[OwedLetter], arrival: Arrival | None, acts: Sequence[Act], *, now: datetime
    ) -> bool:
        return await self._enter(partial(letters.settle, letters=owed, arrival=arrival, acts=acts, now=now))

    async def told_in_mail(self, controller_id: str, recipient_key: bytes) -> bool:
        return await self._read(
            partial(letters.told_in_mail, controller_id=controller_id, recipient_key=recipient_key)
        )  # fmt: skip

    async def put_off_letters(self, owed: Sequence[OwedLetter], until: datetime) -> None:
        await self._write(partial(letters.put_off, letters=owed, until=until))

    async def drop_letters(self, *, settled_before: datetime) -> None:
        await self._write(partial(letters.drop, settled_before=settled_before))
