"""What recipients' domains ask for by MTA-STS, kept in the store: it holds over a restart, for all workers and nodes.

Without it whoever can hide a policy in the moment after a start would have mail sent in clear (RFC 8461 10.2).
A row's name is a keyed hash and its content is wrapped under the installation key: the domain of somebody's address may
be about that person. A policy that cannot be written down holds in memory, until the next time it is fetched.
"""

import json
import secrets
from collections.abc import Callable
from datetime import datetime, timedelta

from gateway import log
from gateway.outbound.mta_sts import Policy, Remembered
from gateway.store.contract import Store, StoreUnavailable
from gateway.store.sts import SealedPolicy
from suppression.vault import NONCE_BYTES, KeyRing, Unreadable, keyed_hash

MOST = 100_000
"""Domains whose policies are kept."""


class KeptPolicies:
    """The memory of one worker (outbound/mta_sts.Memory)."""

    def __init__(self, store: Store, ring: KeyRing, clock: Callable[[], datetime]) -> None:
        self._store, self._ring, self._clock = store, ring, clock
        self._keys = tuple(ring.derived("mta-sts").values())  # newest first

    async def recall(self, domain: str) -> Remembered | None:
        """Raises StoreUnavailable: then nobody knows what the domain asks for."""
        now = self._clock()
        for key in self._keys:
            found = await self._store.sts_policy(_name(key, domain), now=now)
            if found is None:
                continue
            try:
                said = json.loads(self._ring.unwrap(found.sealed, found.name))
            except Unreadable:
                continue
            policy = Policy(mode=said["mode"], mx=tuple(said["mx"]), max_age=said["max_age"])
            return Remembered(id=said["id"], policy=policy, seconds=(found.ends_at - now).total_seconds())
        return None

    async def keep(self, domain: str, what: Remembered) -> None:
        name, now = _name(self._keys[0], domain), self._clock()
        policy = what.policy
        said = json.dumps({"id": what.id, "mode": policy.mode, "mx": policy.mx, "max_age": policy.max_age})
        sealed = self._ring.wrap(said.encode(), name, secrets.token_bytes(NONCE_BYTES))
        try:
            await self._store.keep_sts_policy(SealedPolicy(
                name=name, sealed=sealed, fetched_at=now, ends_at=now + timedelta(seconds=what.seconds)
            ))  # fmt: skip
        except StoreUnavailable as down:
            log.store_unavailable(where="mta-sts", error=down)

    async def forget(self) -> None:
        """Drop what has ended, and what is too much. Raises StoreUnavailable."""
        await self._store.forget_sts_policies(now=self._clock(), most=MOST)


def _name(key: bytes, domain: str) -> bytes:
    return keyed_hash(key, domain.encode())[:16]
