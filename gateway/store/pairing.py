"""Whether database, keys database and installation key are those of one installation.

A recipient key follows from the installation key, and what is known of a person opens with the keys database. Beside a
wrong one of either, nobody is on the list of those who must not be mailed and nobody is restricted: everything would
look well, and the wrong people would get mail. So a secret in the keys database, which only the installation key opens,
has its mark in the database; no store opens without it (P5).
"""

import hmac
from typing import Final

from gateway.store.connection import Handles
from gateway.store.contract import StoreUnavailable
from suppression.vault import PersonSecret, Unreadable

_OWN: Final = ("", b"pair")
"""Where the secret stands in the keys database: with no controller, under what is no recipient key."""


def are_paired(handles: Handles) -> bool:
    """False for an installation that is new. StoreUnavailable where the three do not belong together."""
    row = handles.db.execute("SELECT value FROM meta WHERE name = 'pair'").fetchone()
    try:
        secret = handles.keys.person(*_OWN)
    except Unreadable:
        raise StoreUnavailable(
            "the installation key is not the one that the keys database was made with: put that one back, beside a "
            "newer one if there is one"
        ) from None
    if row is not None and secret is not None and hmac.compare_digest(row[0], _mark(secret)):
        return True
    new, keyless = not _has_people(handles), handles.keys.holds_only(*_OWN)
    if row is None and new and keyless:  # also where a start was cut off, which leaves the secret and nothing else
        return False
    if row is None and secret is None and not new and not keyless:  # from before there were marks
        return False
    raise StoreUnavailable(
        "the database and the keys database are not of one installation: put back those that belong together"
    )


def pair(handles: Handles) -> None:
    """Tie the three together, unless they are. A writing unit."""
    if not are_paired(handles):
        secret, _ = handles.keys.make_person(*_OWN)
        handles.db.execute("INSERT INTO meta (name, value) VALUES ('pair', ?)", (_mark(secret),))


def _has_people(handles: Handles) -> bool:
    return handles.db.execute("SELECT 1 FROM people UNION ALL SELECT 1 FROM standing LIMIT 1").fetchone() is not None


def _mark(secret: PersonSecret) -> str:
    return hmac.digest(secret.secret, b"pair", "sha256").hex()
