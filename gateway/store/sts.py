"""What every store promises about MTA-STS policies of recipients' domains (RFC 8461), which hold over a restart."""

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class SealedPolicy:
    """A policy of one domain. `name`: a keyed hash of the domain, which may be about a person. `ends_at`: aware UTC."""

    name: bytes
    sealed: bytes
    fetched_at: datetime
    ends_at: datetime


class StsPolicies(Protocol):
    """Part of contract.Store."""

    async def keep_sts_policy(self, policy: SealedPolicy) -> None:
        """Keep a domain's policy, in the place of the one before."""

    async def sts_policy(self, name: bytes, *, now: datetime) -> SealedPolicy | None:
        """The policy of a domain that has not ended."""

    async def forget_sts_policies(self, *, now: datetime, most: int) -> None:
        """Drop those that have ended; of the others keep the `most` that were fetched last."""
