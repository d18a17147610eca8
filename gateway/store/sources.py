"""Files about lists of third parties, every version. Functions of a database thread's handles.

They name the staff who checked, so they are sealed under the controller's own key; the ledger has the digest of what is
stored.
"""

import hashlib
import json
from collections.abc import Iterator
from datetime import datetime
from importlib.resources import files

import aiosql

from gateway.store import people
from gateway.store.columns import instant, milliseconds
from gateway.store.connection import Handles
from gateway.store.evidence import Note
from gateway.store.keys import opened, sealed
from gateway.store.material import Amiss, KeptSource, NameTaken, Said
from suppression.ledger import encode
from suppression.provenance import ListSource

SQL = aiosql.from_path(str(files("gateway.store") / "sql" / "material.sql"), "sqlite3")


def keep(handles: Handles, controller_id: str, source: ListSource, at: datetime) -> None:
    """Keep the next version of a file, with its entry in the ledger. NameTaken where that version is there already."""
    newest = SQL.newest_source(handles.db, controller_id=controller_id, name=source.name)
    if source.version != (newest[0] or 0) + 1:
        raise NameTaken(f"the file about the list {source.name!r} was changed meanwhile, or exists; look at it again")
    secret = handles.keys.make_controller(controller_id)
    content = sealed(secret.key, encode(source.to_dict()), _source_row(controller_id, source.name, source.version))
    SQL.add_source(
        handles.db, controller_id=controller_id, name=source.name, version=source.version, content=content,
        at=milliseconds(at),
    )  # fmt: skip
    public = {
        "name": source.name, "version": source.version, "complete": source.complete,
        "sealed": hashlib.sha256(content).hexdigest(),
    }  # fmt: skip
    people.note(handles, [Note(controller_id=controller_id, kind="source", public=public, private=None, at=at)])


def kept(handles: Handles, controller_id: str, name: str | None) -> list[KeptSource]:
    """The newest version of each file, by name; or every version of one, newest first."""
    secret = handles.keys.controller(controller_id)
    if name is None:
        rows = SQL.newest_sources(handles.db, controller_id=controller_id)
    else:
        rows = SQL.versions_of_source(handles.db, controller_id=controller_id, name=name)
    found = []
    for title, version, content, at in rows:
        plain = opened(secret.key, content, _source_row(controller_id, title, version)) if secret is not None else None
        if plain is not None:
            found.append(KeptSource(source=ListSource.from_dict(json.loads(plain)), at=instant(at)))
    return found


def compare(handles: Handles, controller_id: str, said: Said) -> Iterator[Amiss]:
    """Whether the version of a file is what its entry says."""
    name, version = str(said.public.get("name")), said.public.get("version")
    row = SQL.source(handles.db, controller_id=controller_id, name=name, version=version)
    wrong = None
    if row is None:
        wrong = "is gone"
    elif not isinstance(row[0], bytes) or hashlib.sha256(row[0]).hexdigest() != said.public.get("sealed"):
        wrong = "was changed"
    elif row[1] != said.at:
        wrong = "says it was kept at another time"
    if wrong is not None:
        text = f"version {version} of the file about the list {name!r} {wrong}"
        yield Amiss(entry_id=said.entry_id, seq=said.seq, what="source", text=text)


def put_in(handles: Handles, controller_id: str) -> Iterator[Amiss]:
    """Versions that are in no entry."""
    there = set(SQL.all_sources(handles.db, controller_id=controller_id))
    if there:
        there -= set(SQL.sources_in_ledger(handles.db, controller_id=controller_id))
    for name, version in sorted(there):
        text = f"version {version} of the file about the list {name!r} is in no entry: put in by hand"
        yield Amiss(entry_id=None, seq=None, what="source", text=text)


def _source_row(controller_id: str, name: str, version: int) -> bytes:
    """What a sealed file is bound to."""
    return f"source/{controller_id}/{name}/{version}".encode()
