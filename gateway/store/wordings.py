"""Wordings: what people were shown, once by its digest. Functions of a database thread's handles."""

import hashlib
from collections.abc import Iterator
from datetime import datetime
from importlib.resources import files

import aiosql

from gateway.store import people
from gateway.store.columns import instant, milliseconds
from gateway.store.connection import Handles
from gateway.store.evidence import Note
from gateway.store.material import Amiss, KeptWording, NameTaken, Said
from suppression.evidence import Wording

SQL = aiosql.from_path(str(files("gateway.store") / "sql" / "material.sql"), "sqlite3")


def keep(handles: Handles, controller_id: str, wording: Wording, at: datetime) -> bytes:
    """Keep a wording with its entry in the ledger, unless it is kept already; its digest.

    NameTaken where the name stands for another content.
    """
    digest = wording.digest()
    row = SQL.wording_name(handles.db, controller_id=controller_id, name=wording.name)
    if row is not None:
        if row[0] != digest:
            raise NameTaken(f"the name {wording.name!r} stands for another wording already; give this one a new name")
        return digest
    SQL.add_wording(handles.db, controller_id=controller_id, digest=digest, content=wording.content())
    SQL.add_wording_name(
        handles.db, controller_id=controller_id, name=wording.name, digest=digest, first_at=milliseconds(at)
    )
    public = {"name": wording.name, "digest": digest.hex()}
    people.note(handles, [Note(controller_id=controller_id, kind="wording", public=public, private=None, at=at)])
    return digest


def kept(handles: Handles, controller_id: str, wanted: str | bytes) -> KeptWording | None:
    """A wording by its name, or by its digest under the first of its names; None where it is not on file as it was."""
    if isinstance(wanted, str):
        row = SQL.wording_by_name(handles.db, controller_id=controller_id, name=wanted)
    else:
        row = SQL.wording_by_digest(handles.db, controller_id=controller_id, digest=wanted)
    return None if row is None else _kept(*row)


def page(handles: Handles, controller_id: str, after: str, n: int) -> list[KeptWording]:
    """The next n wordings, by name."""
    rows = SQL.wordings(handles.db, controller_id=controller_id, after=after, n=n)
    return [found for row in rows if (found := _kept(*row)) is not None]


def _kept(name: str, digest: bytes, content: bytes, first_at: int) -> KeptWording | None:
    """A row as a wording; None for one that was tampered with: nobody is shown that as what they were shown."""
    if hashlib.sha256(content).digest() != digest:
        return None
    return KeptWording(wording=Wording.from_content(name, content), digest=digest, first_at=instant(first_at))


def compare(handles: Handles, controller_id: str, said: Said) -> Iterator[Amiss]:
    """Whether a wording is what its entry says."""
    name, digest = str(said.public.get("name")), str(said.public.get("digest"))
    row = SQL.wording_rows(handles.db, controller_id=controller_id, name=name)
    wrong = None
    if row is None:
        wrong = "is gone"
    elif not isinstance(row[0], bytes) or row[0].hex() != digest:
        wrong = "stands for another content than the one that was kept"
    elif row[2] is None:
        wrong = "has lost its content"
    elif not isinstance(row[2], bytes) or hashlib.sha256(row[2]).hexdigest() != digest:
        wrong = "was changed: its content has another digest than the one that was kept"
    elif row[1] != said.at:
        wrong = "says it was first kept at another time"
    if wrong is not None:
        yield Amiss(entry_id=said.entry_id, seq=said.seq, what="wording", text=f"the wording {name!r} {wrong}")


def put_in(handles: Handles, controller_id: str) -> Iterator[Amiss]:
    """Wordings that are in no entry."""
    named = {row[0] for row in SQL.wording_names(handles.db, controller_id=controller_id)}
    if named:
        named -= {row[0] for row in SQL.wordings_in_ledger(handles.db, controller_id=controller_id)}
    for name in sorted(named):
        text = f"the wording {name!r} is in no entry: put in by hand"
        yield Amiss(entry_id=None, seq=None, what="wording", text=text)
    for row in SQL.nameless_wordings(handles.db, controller_id=controller_id):
        text = f"the wording with digest {bytes(row[0]).hex()} has no name: put in by hand, or its name was removed"
        yield Amiss(entry_id=None, seq=None, what="wording", text=text)
