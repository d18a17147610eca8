"""useSend's suppressions: `Email,Reason,Created At`, the time as JavaScript writes it."""

from collections.abc import Mapping, Sequence
from typing import Final

from gateway.files.vendor import Format, Said, Scribe, address


def _recognises(names: frozenset[str]) -> bool:
    return {"email", "reason", "created_at"} <= names and not names & {"group_id", "status"}


def read(row: Mapping[str, str], scribe: Scribe) -> Sequence[Said]:
    """One suppression. A reason nobody knows is one of the controller's own: the person is kept out all the same."""
    email = address(row, "email")
    reason = row.get("reason", "").upper()
    if reason == "HARD_BOUNCE":
        return [scribe.dead(email)]
    return [
        scribe.opt_out(
            email, at=row.get("created_at", ""), reason="complaint" if reason == "COMPLAINT" else
            "unsubscribe" if reason == "UNSUBSCRIBE" else "admin",
        )
    ]  # fmt: skip


FORMAT: Final = Format(
    name="usesend", title="useSend suppressions (Email,Reason,Created At)",
    columns=("Email", "Reason", "Created At"), recognises=_recognises, read=read,
)  # fmt: skip
