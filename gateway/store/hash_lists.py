"""Lists of people who must not be mailed, by hash of their address, in SQLite. Functions of a thread's handles.

A hash somebody sent is kept under a key of this installation, as recipient keys are: the bare hash of an address is as
good as the address for whoever has a list of addresses. An address is hashed at a look-up only where its controller has
a list, and only with the algorithms of its lists.
"""

import hashlib
from collections.abc import Mapping, Sequence
from importlib.resources import files

import aiosql

from gateway.store.connection import Handles
from gateway.store.contract import Who
from gateway.store.keys import of_many

SQL = aiosql.from_path(str(files("gateway.store") / "sql" / "hash_lists.sql"), "sqlite3")


def add(
    handles: Handles, controller_id: str, hashes: Sequence[tuple[str, bytes]], at: int, dry: bool
) -> list[bool]:  # fmt: skip
    """Put hashes, as algorithm and digest, on a controller's list. Which of them were new to it."""
    keys = [handles.keys.hash_keys(controller_id, algorithm, digest) for algorithm, digest in hashes]
    known = {row[0] for row in _rows(handles, controller_id, [key for some in keys for key in some])}
    new = []
    for (algorithm, _), some in zip(hashes, keys, strict=True):
        new.append(known.isdisjoint(some))
        known.add(some[0])
        if new[-1] and not dry:
            SQL.add_algorithm(handles.db, controller_id=controller_id, algorithm=algorithm)
            SQL.add_hash(handles.db, controller_id=controller_id, hash_key=some[0], at=at)
    return new


def listed(handles: Handles, controller_id: str, whos: Sequence[Who]) -> Mapping[str, int]:
    """Of several people those whose address is on a list by its hash: since when (ms), by address."""
    algorithms = [row[0] for row in handles.db.execute(SQL.algorithms.sql, {"controller_id": controller_id})]
    if not algorithms:
        return {}
    owners: dict[bytes, str] = {}
    for who in whos:
        for algorithm in algorithms if who.address else ():
            digest = hashlib.new(algorithm, (who.address or "").encode(), usedforsecurity=False).digest()
            owners.update(dict.fromkeys(handles.keys.hash_keys(controller_id, algorithm, digest), who.address or ""))
    return {owners[key]: at for key, at in _rows(handles, controller_id, list(owners))}


def _rows(handles: Handles, controller_id: str, keys: Sequence[bytes]) -> list[tuple[bytes, int]]:
    return [(key, at) for key, at in of_many(handles.db, SQL.hashes_of_many.sql, controller_id, keys)]
