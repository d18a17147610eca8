"""Lists of people who must not be mailed, by hash of their address. Functions of a thread's handles.

A hash somebody sent is kept under a key of this installation, as recipient keys are: the bare hash of an address is as
good as the address for whoever has a list of addresses. The ledger's entries name every key, at most KEYS each, so that
a row that is removed or dated later is found, and can be put back, and a list of a million is read without holding it.
Nothing takes one off a list, neither an erasure nor the undoing of an import.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from gateway.store import by_hash, people
from gateway.store.by_hash import SQL
from gateway.store.columns import instant
from gateway.store.connection import Handles
from gateway.store.evidence import Difference, Note, RebuiltPage
from gateway.store.material import Amiss, Said

ALGORITHMS: Final = ("md5", "sha256", "sha512")
"""As the table hash_algorithms takes them."""
KEYS: Final = 1000
"""Named by one entry at most, some 35 kB: what reads entries holds many at a time."""


def add(
    handles: Handles, controller_id: str, hashes: Sequence[tuple[str, bytes]], at: int, dry: bool
) -> list[bool]:  # fmt: skip
    """Put hashes, as algorithm and digest, on a controller's list, with their ledger entries. Which were new to it."""
    keys = [handles.keys.hash_keys(controller_id, algorithm, digest) for algorithm, digest in hashes]
    known = {row[0] for row in by_hash.rows(handles, controller_id, [key for some in keys for key in some])}
    new, added, algorithms = [], [], set()
    for (algorithm, _), some in zip(hashes, keys, strict=True):
        new.append(known.isdisjoint(some))
        known.add(some[0])
        if new[-1]:
            added.append(some[0])
            algorithms.add(algorithm)
    if added and not dry:
        _put(handles, controller_id, sorted(algorithms), added, at)
        people.note(handles, [
            Note(
                controller_id=controller_id, kind="hash_list", private=None, at=instant(at),
                public={"algorithms": sorted(algorithms), "keys": [key.hex() for key in added[first : first + KEYS]]},
            )
            for first in range(0, len(added), KEYS)
        ])  # fmt: skip
    return new


def compare(handles: Handles, controller_id: str, said: Said) -> Iterator[Amiss]:
    """Whether all that an entry put on the list is there, and counts from then on at the latest.

    From an earlier instant it may count: a row that was removed, brought again and put right is in two entries.
    """
    for wrong in _wrong(handles, controller_id, said.public, said.at):
        yield Amiss(entry_id=said.entry_id, seq=said.seq, what="hash list", text=wrong)


def put_in(handles: Handles, controller_id: str) -> Iterator[Amiss]:
    """Hashes that are in no entry: told by their number, since each is in one entry."""
    there, said = SQL.hashes_counted(handles.db, controller_id=controller_id)
    if there > said:
        text = f"{there - said} hashes on the list are in no entry: put in by hand"
        yield Amiss(entry_id=None, seq=None, what="hash list", text=text)


def page(handles: Handles, controller_id: str, after: bytes, n: int, write: bool) -> RebuiltPage:
    """What `compare` and `put_in` find, as rows of the projection, for the next n entries that name hashes.

    `write` puts back what is gone. What is in no entry stays, since nothing is taken off a list: that is told without.
    """
    texts = [] if after or write else [amiss.text for amiss in put_in(handles, controller_id)]
    entries = list(SQL.hash_list_entries(handles.db, controller_id=controller_id, after=after, n=n))
    for _, at, stored in entries:
        public = json.loads(stored)
        wrong = list(_wrong(handles, controller_id, public, at))
        texts += wrong
        if wrong and write:
            _put(handles, controller_id, *_named(public), at)
    return RebuiltPage(
        people=0, skipped=0, after=entries[-1][0] if len(entries) == n else None,
        differences=tuple(
            Difference(controller_id=controller_id, recipient_key=None, table="hash_suppressions", text=text)
            for text in texts
        ),
    )  # fmt: skip


def _wrong(handles: Handles, controller_id: str, public: Mapping[str, Any], at: int) -> Iterator[str]:
    algorithms, keys = _named(public)
    there = dict(by_hash.rows(handles, controller_id, keys))
    known = {row[0] for row in SQL.algorithms(handles.db, controller_id=controller_id)}
    gone, later = len(set(keys) - there.keys()), sum(since > at for since in there.values())
    if gone:
        yield f"{gone} of the {len(keys)} hashes that were put on the list are gone"
    if later:
        yield f"{later} of the {len(keys)} hashes that were put on the list count from a later time"
    for algorithm in sorted(set(algorithms) - known):
        yield f"hashes by {algorithm} are not looked for any more"


def _named(public: Mapping[str, Any]) -> tuple[list[str], list[bytes]]:
    """The algorithms and keys of an entry; none where it makes no sense, which is the chain's business."""
    try:
        algorithms = [one for one in ALGORITHMS if one in public["algorithms"]]
        return algorithms, [bytes.fromhex(key) for key in public["keys"]]
    except (KeyError, TypeError, ValueError):
        return [], []


def _put(handles: Handles, controller_id: str, algorithms: Sequence[str], keys: Sequence[bytes], at: int) -> None:
    for algorithm in algorithms:
        SQL.add_algorithm(handles.db, controller_id=controller_id, algorithm=algorithm)
    rows = [{"controller_id": controller_id, "hash_key": key, "at": at} for key in keys]
    handles.db.executemany(SQL.add_hash.sql, rows)
