"""Rows of what came back: written, sealed, read. Functions of a database thread's handles."""

import json
from collections.abc import Sequence
from datetime import datetime
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import aiosql

from gateway.store import people
from gateway.store.ahead import new_id
from gateway.store.columns import instant, milliseconds
from gateway.store.connection import Handles
from gateway.store.keys import opened, sealed
from gateway.store.returned import Returned, ReturnedRow

if TYPE_CHECKING:
    from gateway.store.contract import Ending

SQL = aiosql.from_path(str(files("gateway.store") / "sql" / "returns.sql"), "sqlite3")
LAST_ID = b"\xff" * 16


def put(handles: Handles, returned: Returned) -> None:
    """Write one row. Of whoever was erased and stays away nothing is kept but that something came."""
    key = returned.recipient_key
    if key is not None and people.erased(handles, returned.controller_id, key):
        key = None
    SQL.add(
        handles.db, controller_id=returned.controller_id, report_id=returned.report_id, at=milliseconds(returned.at),
        digest=returned.digest, kind=returned.kind, source=returned.source, proven=int(returned.proven),
        bounce_class=returned.bounce_class, reason=returned.reason, status=returned.status, dead=int(returned.dead),
        task=returned.task, recipient_key=key, message_id=returned.message_id, copy_no=returned.copy_no,
        stream=returned.stream, campaign=returned.campaign, content=_sealed(handles, returned, key),
    )  # fmt: skip


def _sealed(handles: Handles, returned: Returned, key: bytes | None) -> bytes | None:
    """The content under the key of whom it is about; None for a person without one, so that nobody can read it."""
    if not returned.content or (key is None and returned.recipient_key is not None):
        return None
    secret = _key(handles, returned.controller_id, key, make=True)
    if secret is None:
        return None
    return sealed(secret, json.dumps(returned.content).encode(), _row(returned.controller_id, returned.report_id))


def _key(handles: Handles, controller_id: str, recipient_key: bytes | None, *, make: bool = False) -> bytes | None:
    if recipient_key is not None:
        person = handles.keys.readable(controller_id, [recipient_key]).get(recipient_key)
        return person.key if person is not None else None
    own = handles.keys.make_controller(controller_id) if make else handles.keys.controller(controller_id)
    return own.key if own is not None else None


def _row(controller_id: str, report_id: bytes) -> bytes:
    """What a sealed content is bound to."""
    return b"return/" + controller_id.encode() + b"/" + report_id


def refused(handles: Handles, ending: "Ending") -> None:
    """A refusal at hand-over, noted in the transaction that ends its copy."""
    said = ending.refused
    if said is None or ending.recipient_key is None:
        return
    put(handles, Returned(
        controller_id=ending.controller_id, report_id=new_id(), at=ending.at,
        digest=b"live/%d/" % ending.copy_no + ending.message_id, kind="bounce", source="live", proven=True,
        bounce_class=said.bounce_class, reason=said.reason, status=said.status, dead=said.undeliverable,
        recipient_key=ending.recipient_key, message_id=ending.message_id, copy_no=ending.copy_no,
        stream=ending.stream, campaign=ending.campaign, content={"said": said.said} if said.said else {},
    ))  # fmt: skip


def listed(
    handles: Handles, controller_id: str, since: datetime | None, kinds: Sequence[str], waiting: bool,
    recipient_key: bytes | None, past: bytes | None, n: int, addresses: bool,
) -> list[ReturnedRow]:  # fmt: skip
    """The next n rows behind `past`, the last one seen: newest first; those that wait for a person, oldest first."""
    place = {"controller_id": controller_id, "before": past or LAST_ID, "n": n}
    filters = {"since": milliseconds(since) if since else 0, "kinds": json.dumps(list(kinds))}
    if waiting:
        rows = list(SQL.waiting(handles.db, controller_id=controller_id, after=past or b"", n=n))
    elif recipient_key is not None:
        rows = list(SQL.of_person(handles.db, **place, **filters, recipient_key=recipient_key))
    else:
        rows = list(SQL.came_back(handles.db, **place, **filters))
    return [row_of(handles, controller_id, row, addresses=addresses) for row in rows]


def row_of(handles: Handles, controller_id: str, row: Sequence[Any], *, addresses: bool = False) -> ReturnedRow:
    """A row with its content opened."""
    report_id, at, kind, source, proven, bounce_class, reason, status, dead, task, key, *rest = row
    message_id, stream, campaign, content = rest
    plain = None
    if content is not None:
        plain = opened(_key(handles, controller_id, key), content, _row(controller_id, report_id))
    return ReturnedRow(
        controller_id=controller_id, report_id=report_id, at=instant(at), kind=kind, source=source,
        proven=bool(proven), bounce_class=bounce_class, reason=reason, status=status, dead=bool(dead), task=task,
        recipient_key=key, message_id=message_id, stream=stream, campaign=campaign,
        content=json.loads(plain) if plain is not None else {},
        address=people.address(handles, controller_id, key) if addresses and key is not None else None,
    )  # fmt: skip


def resealed(handles: Handles, row: ReturnedRow, more: dict[str, str]) -> bytes | None:
    """The row's content with more in it; None where nobody can read it any more."""
    key = _key(handles, row.controller_id, row.recipient_key)
    if key is None:
        return None
    return sealed(key, json.dumps({**row.content, **more}).encode(), _row(row.controller_id, row.report_id))
