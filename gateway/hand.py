"""What a worker has in hand of what the store says that it claimed.

The two come apart on bad days. A process that stood still for longer than its lease finds that others took what it had;
it must not send that too, now that it has a lease again. And a claim whose COMMIT was not answered may have been
written: nobody here knows of those copies, and since the lease goes on nobody else would take them.
"""

from collections.abc import Collection, Sequence

from gateway.store.contract import ClaimedCopy
from gateway.store.waiting import CopyKey


class Hand:
    """The claimed copies of one worker, all lanes together, by the claim through which it has them.

    `claim`: what the store gave; None for a copy that was claimed as it was accepted.
    """

    def __init__(self) -> None:
        self._copies: dict[CopyKey, ClaimedCopy | None] = {}
        self._unknown: frozenset[CopyKey] = frozenset()

    def take(self, key: CopyKey, claim: ClaimedCopy | None) -> None:
        """The store says that it is ours. Whatever we had of it before was lost meanwhile."""
        self._copies[key] = claim

    def has(self, key: CopyKey, claim: ClaimedCopy | None) -> bool:
        """Whether it is still ours through this claim."""
        return key in self._copies and self._copies[key] is claim

    def put_down(self, key: CopyKey) -> None:
        """What came of it is written."""
        self._copies.pop(key, None)

    def keep(self, ours: Collection[CopyKey]) -> None:
        """After our lease ran out: of what we had, these are still ours."""
        for key in self._copies.keys() - set(ours):
            del self._copies[key]

    def strays(self, ours: Sequence[CopyKey]) -> list[CopyKey]:
        """Those of all that is ours by the store which nobody has in hand, now and when this was asked before."""
        unknown = frozenset(ours) - self._copies.keys()
        both = sorted(unknown & self._unknown)
        self._unknown = unknown
        return both
