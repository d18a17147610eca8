"""An import is taken back (`consentgate import undo`): what it added goes, an opt-out it brought stays.

Each person it touched gets an entry in the ledger that says what their records are without it; nothing is deleted. What
the person or staff did since stays, and so does what other imports said. A row that changed nothing at the time belongs
to the import that brought it first. Cut short, it is simply run again. An import that still goes on while it is taken
back stands again when it ends, and is taken back once more.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final

from gateway.store.contract import Store
from gateway.store.imported import Import

PAGE: Final = 500
"""People a transaction: a bound on how long other processes wait."""


@dataclass(slots=True, kw_only=True)
class TakenBack:
    """What taking an import back did, in people. `already`: it had been taken back before, and nothing was left to do.

    `opted_out`: an opt-out it brought stays. `unknown`: nothing is left of them. `unreadable`: their entries cannot be
    read, so they were left as they are.
    """

    brought: Import
    already: bool = False
    changed: int = 0
    opted_out: int = 0
    unknown: int = 0
    unreadable: int = 0


async def take_back(
    store: Store, brought: Import, *, by: str, now: datetime, progress: Callable[[int], None] | None = None
) -> TakenBack:
    """Take one import back. `progress` is called with the people looked at.

    The ledger says of each person whether it was done; that the list of imports calls it undone decides nothing: a key
    may have come back since, and in no entry is that column. Raises StoreUnavailable: then it is done in part, and run
    again.
    """
    done = TakenBack(brought=brought)
    seen, latest = 0, brought
    after: bytes | None = b""
    while after is not None:
        page = await store.undo_import(brought.controller_id, brought.import_id, after=after, n=PAGE, at=now)
        done.changed += page.changed
        done.opted_out += page.opted_out
        done.unknown += page.unknown
        done.unreadable += page.unreadable
        after, seen = page.after, seen + page.people
        if progress is not None:
            progress(seen)
        if after is None:
            known, latest = latest, await _latest(store, brought)
            if latest.counts != known.counts:  # it ended meanwhile, and may have brought people who were passed by
                after, seen, done.unreadable = b"", 0, 0
    done.already = brought.undone_at is not None and not done.changed
    if done.already:
        return done
    done.brought = replace(latest, undone_at=now.astimezone(UTC))
    public = {
        "import": brought.import_id.hex(), "undone": True, "people": done.changed, "opted_out": done.opted_out,
        "unknown": done.unknown, "unreadable": done.unreadable,
    }  # fmt: skip
    await store.note(brought.controller_id, "import", public, {"by": by}, at=now)
    await store.put_import(done.brought)  # last: what the list says then has its entry, which `verify` looks for
    return done


async def _latest(store: Store, brought: Import) -> Import:
    every = await store.imports(brought.controller_id)
    return next(one for one in every if one.import_id == brought.import_id)
