"""The store's calls about sign-ups. See asking.SignUps, call by call."""

from datetime import datetime
from functools import partial

from gateway.store import sign_ups, write_backs
from gateway.store.asking import Asked, Asking, Confirming, Expired, SignUp
from gateway.store.connection import Handles, Turn
from gateway.store.sql_write_backs import SqlWriteBacks


class SqlSignUps(SqlWriteBacks):
    """What SqlStore promises about sign-ups."""

    async def ask(self, asking: Asking) -> Asked:
        return await self._enter(partial(sign_ups.ask, asking=asking))

    async def sign_up(self, controller_id: str, request_id: bytes) -> SignUp | None:
        return await self._read(partial(sign_ups.sign_up, controller_id=controller_id, request_id=request_id))

    async def sign_ups_of(self, controller_id: str, recipient_key: bytes) -> list[SignUp]:
        return await self._read(
            partial(sign_ups.sign_ups_of, controller_id=controller_id, recipient_key=recipient_key)
        )  # fmt: skip

    async def confirm(self, confirming: Confirming) -> bool:
        def unit(handles: Handles) -> bool:
            confirmed = sign_ups.confirm(handles, confirming)
            for row, _ in confirming.lifts if confirmed else ():
                write_backs.lifted(handles, self._told(row.controller_id), row)
            return confirmed

        return await self._enter(unit)

    async def expire(self, *, asked_before: datetime, now: datetime, n: int) -> Expired:
        return await self._enter(partial(sign_ups.expire, asked_before=asked_before, now=now, n=n), Turn.NOBODY)

    async def drop_traces(self, *, before: datetime, said_before: datetime, now: datetime, n: int) -> int:
        return await self._enter(
            partial(sign_ups.drop_traces, before=before, said_before=said_before, now=now, n=n)
        )  # fmt: skip
