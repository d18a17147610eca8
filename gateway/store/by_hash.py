"""Who must not be mailed because the hash of their address is on a list: the look-up of a thread's handles.

An address is hashed only where its controller has a list, and only with the algorithms of its lists.
"""

import hashlib
from collections.abc import Mapping, Sequence
from importlib.resources import files

import aiosql

from gateway.store.connection import Handles
from gateway.store.contract import Who

SQL = aiosql.from_path(str(files("gateway.store") / "sql" / "hash_lists.sql"), "sqlite3")


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
    return {owners[key]: at for key, at in rows(handles, controller_id, list(owners))}


def rows(handles: Handles, controller_id: str, keys: Sequence[bytes]) -> list[tuple[bytes, int]]:
    """Of several keys of hashes, those on the list, and since when (ms)."""
    return [(key, at) for key, at in handles.db.of_many(SQL.hashes_of_many.sql, controller_id, keys)]
