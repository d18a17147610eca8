"""listmonk's export of subscribers: uuid, email, name, attributes, status, created_at, updated_at.

What it proves: who is on the blocklist. `enabled` says nothing about lists somebody unsubscribed from: the export of
all subscribers does not hold that, the export of one list by subscription status does. created_at is when the row was
made, not when anybody agreed.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from gateway.files.vendor import Format, Said, Scribe, address

_OPEN: Final = frozenset({"", "enabled"})


def _recognises(names: frozenset[str]) -> bool:
    return "email" in names and ("attributes" in names or {"uuid", "status"} <= names)


def read(row: Mapping[str, str], scribe: Scribe) -> Sequence[Said]:
    """A subscriber. A status nobody knows counts as an opt-out."""
    email = address(row, "email")
    status = row.get("status", "").lower()
    subscription = (row.get("subscription_status") or row.get("subscription") or "").lower()
    if status not in _OPEN:
        return [scribe.opt_out(
            email, at=row.get("updated_at", ""), reason="admin" if status == "disabled" else "unsubscribe"
        )]  # fmt: skip
    if subscription == "unsubscribed":
        return [
            scribe.opt_out(email, at=row.get("updated_at", ""), purpose=purpose)
            for purpose in scribe.terms.purposes or ("",)
        ]
    if "status" not in row:
        scribe.notes["rows that do not say who opted out: export the blocklist and import it too"] += 1
    return [
        scribe.person(email, name=row.get("name", ""), external_id=row.get("uuid", "")),
        scribe.consent(email, origin="listmonk subscribers", row=row),
    ]


FORMAT: Final = Format(
    name="listmonk", title="listmonk subscribers (email, name, attributes, status)",
    columns=("uuid", "email", "name", "attributes", "status", "updated_at"), recognises=_recognises, read=read,
)  # fmt: skip
