"""The store's calls about proofs. See proof.Proofs, call by call."""

from collections.abc import Sequence
from functools import partial

from gateway.store import proving
from gateway.store.contract import Who
from gateway.store.proof import Passage, Place, ShownEntry
from gateway.store.sql_base import SqlBase
from suppression.chain import Stored


class SqlProof(SqlBase):
    """What SqlStore promises about proofs."""

    async def entries_shown(self, who: Who) -> list[ShownEntry]:
        return await self._read(partial(proving.entries_shown, who=who))

    async def wording_entries(self, controller_id: str, names: Sequence[str]) -> list[Stored]:
        return await self._read(partial(proving.wording_entries, controller_id=controller_id, names=names))

    async def passages_of(self, controller_id: str, recipient_key: bytes, *, after: Place, n: int) -> list[Passage]:
        unit = partial(proving.passages_of, controller_id=controller_id, recipient_key=recipient_key, after=after, n=n)
        return await self._read(unit)

    async def passages_in(
        self, controller_id: str, stream: str, campaign: str, *, after: Place, n: int, addresses: bool
    ) -> list[Passage]:
        unit = partial(
            proving.passages_in, controller_id=controller_id, stream=stream, campaign=campaign, after=after, n=n,
            addresses=addresses,
        )  # fmt: skip
        return await self._read(unit)
