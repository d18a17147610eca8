"""The store's calls about the past. See history.Past, call by call."""

from collections.abc import Sequence
from datetime import datetime
from functools import partial

from gateway.store import entries, people
from gateway.store.contract import Who
from gateway.store.history import Decided, History, Profile
from gateway.store.sql_base import SqlBase


class SqlHistory(SqlBase):
    """What SqlStore promises about the past."""

    async def histories(self, wanted: Sequence[Who]) -> list[History]:
        return await self._read(partial(entries.histories, wanted=wanted)) if wanted else []

    async def profile(self, controller_id: str, recipient_key: bytes) -> Profile | None:
        return await self._read(partial(people.profile, controller_id=controller_id, recipient_key=recipient_key))

    async def addresses(self, controller_id: str, recipient_keys: Sequence[bytes]) -> dict[bytes, str]:
        unit = partial(entries.addresses, controller_id=controller_id, recipient_keys=recipient_keys)
        return await self._read(unit)

    async def decided(self, controller_id: str, message_id: bytes, copy_no: int) -> Decided | None:
        return await self._read(
            partial(entries.decided, controller_id=controller_id, message_id=message_id, copy_no=copy_no)
        )

    async def decided_of_message(
        self, controller_id: str, message_id: bytes, *, after: int, n: int
    ) -> list[Decided]:  # fmt: skip
        unit = partial(entries.decided_of_message, controller_id=controller_id, message_id=message_id, after=after, n=n)
        return await self._read(unit)

    async def decided_after(
        self, controller_id: str, *, after: tuple[bytes, int], upto: bytes, n: int
    ) -> list[Decided]:  # fmt: skip
        unit = partial(entries.decided_after, controller_id=controller_id, after=after, upto=upto, n=n)
        return await self._read(unit)

    async def decided_about(
        self, controller_id: str, recipient_keys: Sequence[bytes], *, since: datetime, n: int
    ) -> list[Decided]:
        unit = partial(
            entries.decided_about, controller_id=controller_id, recipient_keys=recipient_keys, since=since, n=n
        )
        return await self._read(unit)
