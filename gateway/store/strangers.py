"""Whoever is mailed or blocked, many at once: a key and a row with the address for those who are seen first.

In the order of their keys, so that two nodes which meet the same people wait for each other and not in a ring.
"""

import os
from collections.abc import Sequence
from typing import NamedTuple

from gateway.store import people
from gateway.store.ahead import profile_row
from gateway.store.connection import Handles
from gateway.store.keys import sealed
from suppression import ledger
from suppression.vault import SECRET_BYTES, PersonSecret


class Seen(NamedTuple):
    """Somebody who is mailed or blocked; the fields as in `people.see`."""

    controller_id: str
    recipient_key: bytes
    address: str
    at: int
    addressed: bool


def see_all(handles: Handles, seen: Sequence[Seen]) -> dict[tuple[str, bytes], PersonSecret]:
    """`people.see` for many, with a few statements for all who are on file, and for all nobody knows."""
    found: dict[tuple[str, bytes], PersonSecret] = {}
    for controller_id in sorted({one.controller_id for one in seen}):
        mine = {one.recipient_key: one for one in seen if one.controller_id == controller_id}
        for key, secret in _of_controller(handles, controller_id, mine).items():
            found[controller_id, key] = secret
    return found


def _of_controller(handles: Handles, controller_id: str, mine: dict[bytes, Seen]) -> dict[bytes, PersonSecret]:
    keys = sorted(mine)
    wrapped = handles.keys.wrapped(controller_id, keys)
    secrets = handles.keys.opened(controller_id, wrapped)
    nameless = [key for key in secrets if not mine[key].addressed]
    there = {row[0] for row in handles.db.of_many(people.SQL.profiles_of_many.sql, controller_id, nameless)}
    found = {key: secret for key, secret in secrets.items() if mine[key].addressed or key in there}
    found |= _made(handles, controller_id, [mine[key] for key in keys if key not in wrapped])
    for key in keys:
        if key not in found:
            one = mine[key]
            found[key] = people.see(handles, controller_id, key, one.address, one.at, addressed=one.addressed)
    return found


def _made(handles: Handles, controller_id: str, unknown: Sequence[Seen]) -> dict[bytes, PersonSecret]:
    """Keys and rows for those of whom nothing is stored at all: neither were they erased, nor is their key lost."""
    keys = [one.recipient_key for one in unknown]
    odd = {row[0] for row in handles.db.of_many(people.SQL.standings_of_many.sql, controller_id, keys)}
    odd |= {row[0] for row in handles.db.of_many(people.SQL.erased_of_many.sql, controller_id, keys)}
    new = {one.recipient_key: PersonSecret(os.urandom(SECRET_BYTES)) for one in unknown if one.recipient_key not in odd}
    if not new:
        return {}
    handles.keys.add_people([(controller_id, key, secret, b"") for key, secret in new.items()])
    handles.db.executemany(people.SQL.put_profiles.sql, [
        (
            controller_id, one.recipient_key,
            sealed(
                new[one.recipient_key].key, ledger.encode({"address": one.address}),
                profile_row(controller_id, one.recipient_key),
            ),
            one.at,
        )
        for one in unknown if one.recipient_key in new
    ])  # fmt: skip
    return new
