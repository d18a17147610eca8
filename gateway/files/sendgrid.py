"""SendGrid's suppressions: bounces, blocks, invalid addresses, spam reports, unsubscribes and group unsubscribes.

CSV files of the web pages, or the JSON of the API. Which list a row is from is read off its columns; bounces and blocks
have the same ones, so what the remote server said decides whether the address is dead. A block says nothing about it.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from gateway.files.vendor import Format, Said, Scribe, address, is_dead

_COLUMNS: Final = frozenset({
    "email", "status", "reason", "created", "created_at", "ip", "group_id", "group_name", "group", "recipient_email",
    "unsubscribed_at", "date", "user_id",
})  # fmt: skip


def _recognises(names: frozenset[str]) -> bool:
    own = {"created", "group_id", "group_name", "recipient_email"}
    known = bool(names & {"email", "recipient_email"}) and bool(names & own) and names <= _COLUMNS
    return known and names != BARE


BARE: Final = frozenset({"email", "created"})
"""The columns of the unsubscribes, and of many a list of subscribers."""


def read(row: Mapping[str, str], scribe: Scribe) -> Sequence[Said]:
    """One entry of a list."""
    email = address(row, "email", "recipient_email")
    at = row.get("created") or row.get("created_at") or row.get("unsubscribed_at") or row.get("date") or ""
    part = scribe.terms.part.lower()
    if "ip" in row or "spam" in part:
        return [scribe.opt_out(email, at=at, reason="complaint")]
    if "status" in row or "block" in part or "bounce" in part:
        if "block" in part or not is_dead(row.get("status", ""), row.get("reason", "")):
            return scribe.pass_over("refused for now or by policy, which says nothing about the address")
        return [scribe.dead(email)]
    if "reason" in row or "invalid" in part:
        return [scribe.dead(email)]
    group = row.get("group_name") or row.get("group") or row.get("group_id") or ""
    return [scribe.group(email, group, at=at) if group else scribe.opt_out(email, at=at)]


FORMAT: Final = Format(
    name="sendgrid", title="SendGrid suppressions (CSV with email and created, or the API's JSON)",
    columns=("email", "created"), recognises=_recognises, read=read, bare=BARE,
)  # fmt: skip
