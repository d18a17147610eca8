"""The ledger's chain: entries get their places, and the end of each chain is kept. See suppression/chain.py.

Entries are committed unsealed by whoever acts. `seal` gives them their places in a transaction of its own, in the order
of their ids; transactions that write are serial, so that several processes may call it and no chain forks. It goes on
only behind an end record that is genuine: where somebody changed that, entries stay unsealed and `verify` says so.
"""

import itertools
from collections.abc import Sequence
from importlib.resources import files
from typing import Final

import aiosql

from gateway.store.connection import Handles
from gateway.store.evidence import ChainEnd, ChainRest, KeptHead, Sealing
from suppression import chain
from suppression.chain import Head, Stored, Tail

SQL = aiosql.from_path(str(files("gateway.store") / "sql" / "ledger.sql"), "sqlite3")
DAY_MS: Final = 86_400_000
BATCH: Final = 500
"""Entries sealed in one transaction: a bound on how long mail waits for it."""
_NO_PLACE: Final = (None, None, None, None)
PAGE_BYTES: Final = 4_000_000
"""Of what the entries of a page say, from which on it is full: a bound on memory (bytes)."""


def seal(handles: Handles, n: int = BATCH) -> Sealing:
    """Seal at most n entries."""
    sealed, refused = 0, []
    for controller_id in _ledgers(handles):
        end = tail(handles, controller_id)
        if end.tail is not None and last_entry_id(handles, controller_id) == end.tail.entry_id:
            continue
        if not end.genuine:
            refused.append(controller_id)
            continue
        sealed += _seal(handles, controller_id, end.tail, n - sealed)
        if sealed >= n:
            break
    return Sealing(entries=sealed, refused=tuple(refused))


def _seal(handles: Handles, controller_id: str, end: Tail | None, n: int) -> int:
    after = end.entry_id if end is not None else b""
    rows = map(
        Stored._make, handles.db.execute(SQL.unsealed.sql, {"controller_id": controller_id, "after": after, "n": n})
    )
    places = chain.seal(rows, end, controller_id)
    if not places:
        return 0
    handles.db.executemany(
        SQL.seal_entry.sql,
        [
            {"controller_id": controller_id, "entry_id": entry_id, "seq": seq, "previous": previous, "hash": made}
            for entry_id, seq, previous, made in places
        ],
    )
    _end(handles, controller_id, places[-1])
    return len(places)


def add(handles: Handles, controller_id: str, entries: Sequence[Stored]) -> None:
    """Write entries that have no place yet with their places, in the order given: sealing later would write them twice.

    For those who write many at once. Where others wait for their places before them, or the end record is not genuine,
    these wait too.
    """
    places = _places(handles, controller_id, entries) or itertools.repeat(_NO_PLACE)
    handles.db.executemany(
        SQL.add_entries.sql,
        [
            (
                controller_id, one.entry_id, seq, one.at, one.kind.decode(), one.subject, one.public.decode(),
                one.private, one.commitment, previous, made,
            )
            for one, (_, seq, previous, made) in zip(entries, places, strict=False)
        ],
    )  # fmt: skip


def _places(handles: Handles, controller_id: str, entries: Sequence[Stored]) -> list[chain.Sealed]:
    """Places for entries, and the end of the chain moved behind them; empty where they have to wait."""
    end = tail(handles, controller_id)
    last = last_entry_id(handles, controller_id)
    if end.genuine and last is not None and (end.tail is None or end.tail.entry_id != last):
        _seal(handles, controller_id, end.tail, BATCH)
        end = tail(handles, controller_id)
    if not end.genuine or (None if end.tail is None else end.tail.entry_id) != last:
        return []
    places = chain.seal(entries, end.tail, controller_id)
    _end(handles, controller_id, places[-1])
    return places


def _end(handles: Handles, controller_id: str, last: chain.Sealed) -> None:
    made = Tail(controller_id, last.seq, last.entry_id, last.hash)
    SQL.put_tail(
        handles.db, controller_id=controller_id, seq=made.seq, entry_id=made.entry_id, hash=made.hash,
        mac=handles.keys.tails.mac(made),
    )  # fmt: skip


def _ledgers(handles: Handles) -> list[str]:
    found = [""] if last_entry_id(handles, "") is not None else []
    after = ""
    while (row := SQL.next_ledger(handles.db, after=after)) is not None and row[0] is not None:
        after = row[0]
        found.append(after)
    return found


def controllers(handles: Handles) -> list[str]:
    """Every controller the database has anything of that belongs to a ledger; "" stands for none in particular."""
    found = [""] if SQL.knows_everywhere(handles.db)[0] else []
    after = ""
    while (row := SQL.next_controller(handles.db, after=after)) is not None and row[0] is not None:
        after = row[0]
        found.append(after)
    return found


def tail(handles: Handles, controller_id: str) -> ChainEnd:
    """Where a controller's chain ends. A chain that never began has no tail, and that is genuine."""
    row = SQL.tail(handles.db, controller_id=controller_id)
    if row is None:
        return ChainEnd(tail=None, genuine=SQL.began(handles.db, controller_id=controller_id) is None)
    seq, entry_id, made, mac = row
    end = Tail(controller_id, seq, entry_id, made)
    return ChainEnd(tail=end, genuine=handles.keys.tails.genuine(end, mac))


def entries(handles: Handles, controller_id: str, after: bytes, upto: bytes, n: int) -> list[Stored]:
    """The next entries in the order of their ids, after one and up to another: at most n, and few where they are long.

    None means that there is none.
    """
    named = {"controller_id": controller_id, "after": after, "upto": upto, "n": n}
    found, size = [], 0
    for row in map(Stored._make, handles.db.execute(SQL.entries.sql, named)):
        found.append(row)
        size += len(row.public or b"") + len(row.private or b"")
        if size >= PAGE_BYTES:
            break
    return found


def rest(handles: Handles, controller_id: str, after: bytes, n: int) -> ChainRest:
    """The end of a chain and what stands behind it, seen at one instant. `after`: the id of the end seen before."""
    handles.db.execute("BEGIN")
    try:
        end = tail(handles, controller_id)
        rows = list(SQL.behind(handles.db, controller_id=controller_id, after=after, n=n))
        orphaned = end.tail is None and bool(SQL.rests_on_ledger(handles.db, controller_id=controller_id)[0])
    finally:
        handles.db.execute("COMMIT")
    return ChainRest(
        end=end, unsealed=tuple((key, at) for key, at, sealed in rows if not sealed),
        claiming=tuple(key for key, _, sealed in rows if sealed), orphaned=orphaned,
    )  # fmt: skip


def heads(handles: Handles, controller_id: str) -> list[KeptHead]:
    """The signed heads of a controller, oldest first."""
    return [
        KeptHead(head=Head(controller_id, seq, made, at), public_key=public_key, signature=signature)
        for seq, made, at, public_key, signature in SQL.heads(handles.db, controller_id=controller_id)
    ]


def last_entry_id(handles: Handles, controller_id: str) -> bytes | None:
    """The id of the newest entry, sealed or not; None where there is none."""
    row = SQL.last_entry(handles.db, controller_id=controller_id)
    return None if row is None else bytes(row[0])


def keep_heads(handles: Handles, kept: Sequence[KeptHead]) -> int:
    """Keep signed heads, but for those of a chain that has one of the same day; how many are new."""
    new = 0
    for one in kept:
        last = SQL.last_head(handles.db, controller_id=one.head.controller_id)
        if last is None or (last[0] < one.head.seq and last[1] // DAY_MS != one.head.at // DAY_MS):
            new += SQL.add_head(
                handles.db, controller_id=one.head.controller_id, seq=one.head.seq, hash=one.head.hash, at=one.head.at,
                public_key=one.public_key, signature=one.signature,
            )  # fmt: skip
    return new
