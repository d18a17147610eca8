"""A controller's people, page by page, opened: whom an export is about. Functions of a database thread's handles."""

import json
from collections.abc import Mapping, Sequence

from gateway.store import people
from gateway.store.ahead import profile_row, standing_row
from gateway.store.connection import Handles
from gateway.store.contract import Who
from gateway.store.imported import Enrolled, RosterPage
from gateway.store.imports import SQL
from gateway.store.keys import opened
from suppression import standing


def page(handles: Handles, controller_id: str, after: bytes, n: int) -> RosterPage:
    """The next n people, by recipient key. Whose key is gone, or whose row does not open, is counted."""
    rows = [tuple(row) for row in SQL.roster(handles.db, controller_id=controller_id, after=after, n=n)]
    secrets = handles.keys.readable(controller_id, [row[0] for row in rows])
    facts = dict(handles.db.of_many(people.SQL.standings_of_many.sql, controller_id, list(secrets)))
    found = []
    for key, profile in rows:
        plain = opened(secrets[key].key, profile, profile_row(controller_id, key)) if key in secrets else None
        said = {} if plain is None else json.loads(plain)
        if said.get("address"):
            stands = opened(secrets[key].key, facts.get(key), standing_row(controller_id, key))
            found.append(Enrolled(
                recipient_key=key, address=said["address"], name=said.get("name", ""),
                external_id=said.get("external_id", ""),
                declared={} if stands is None else standing.load(stands).get("recipient", {}),
            ))  # fmt: skip
    return RosterPage(
        people=tuple(found), unreadable=len(rows) - len(found), after=rows[-1][0] if len(rows) == n else None
    )  # fmt: skip


def nameless(handles: Handles, controller_id: str) -> int:
    """How many people must not be mailed whose address is not on file: known by a link, erased, or by hand."""
    return int(SQL.nameless(handles.db, controller_id=controller_id)[0])


def documents(handles: Handles, wanted: Sequence[Who]) -> list[tuple[standing.Document, Mapping[str, str]]]:
    """The standing of each as it may be changed, and what is kept for staff; empty where there is none."""
    return [_known(handles, who) for who in wanted]


def _known(handles: Handles, who: Who) -> tuple[standing.Document, Mapping[str, str]]:
    secrets = handles.keys.readable(who.controller_id, who.recipient_keys)
    key = next((one for one in who.recipient_keys if one in secrets), None)
    if key is None:
        return {}, {}
    profile = people.SQL.profile(handles.db, controller_id=who.controller_id, recipient_key=key)
    plain = opened(secrets[key].key, profile[0] if profile else None, profile_row(who.controller_id, key))
    said = {} if plain is None else json.loads(plain)
    kept = {name: text for name, text in said.items() if name != "address"}
    return people.document(handles, secrets[key], who.controller_id, key), kept
