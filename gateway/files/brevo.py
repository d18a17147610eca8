"""Brevo's export of contacts: CSV with `;`, `,` or tab; the address stands in EMAIL.

What it proves: who is on the blocklist for e-mail. ADDED_TIME is when the contact was made, not when anybody agreed;
DOUBLE_OPT-IN says yes without saying when, which proves nothing. A blocklist flag that is neither yes nor no counts as
yes: an opt-out is never lost to a spelling.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from gateway.files.vendor import Format, Said, Scribe, address, flag

_BLOCKED: Final = ("emailblacklisted", "email_blacklisted", "email_blocklisted", "blocklisted", "blacklisted")
_OWN: Final = frozenset({
    *_BLOCKED, "contact_id", "added_time", "modified_time", "smsblacklisted", "sms_blacklisted", "double_opt_in",
    "list_ids", "listids", "landline_number", "ext_id",
})  # fmt: skip


def _recognises(names: frozenset[str]) -> bool:
    return "email" in names and bool(names & set(_BLOCKED) or len(names & _OWN) > 1)


def read(row: Mapping[str, str], scribe: Scribe) -> Sequence[Said]:
    """A contact."""
    email = address(row, "email")
    blocked = next((row[name] for name in _BLOCKED if name in row), None)
    if blocked is None:
        scribe.notes["rows that do not say who opted out: export the blocklist and import it too"] += 1
    elif flag(blocked) is not False:
        at = row.get("unsubscribed_at") or row.get("unsubscribe_date") or ""
        return [scribe.opt_out(email, at=at)]
    name = f"{row.get('firstname') or row.get('prenom', '')} {row.get('lastname') or row.get('nom', '')}"
    return [
        scribe.person(
            email, name=name, external_id=row.get("ext_id") or row.get("contact_id", ""),
            language=row.get("language", ""),
        ),
        scribe.consent(email, origin="Brevo contacts", row=row),
    ]  # fmt: skip


FORMAT: Final = Format(
    name="brevo", title="Brevo contacts (EMAIL and emailBlacklisted among the columns)",
    columns=("EMAIL", "emailBlacklisted", "FIRSTNAME", "LASTNAME"), recognises=_recognises, read=read,
)  # fmt: skip
