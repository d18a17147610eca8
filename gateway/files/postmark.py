"""Postmark's suppressions of a stream: JSON of the API, or a CSV file with the same names."""

from collections.abc import Mapping, Sequence
from typing import Final

from gateway.files.cell import BadCell
from gateway.files.vendor import Format, Said, Scribe, address


def _recognises(names: frozenset[str]) -> bool:
    return bool(names & {"emailaddress", "email_address"}) and bool(names & {"suppressionreason", "suppression_reason"})


def read(row: Mapping[str, str], scribe: Scribe) -> Sequence[Said]:
    """One suppression. A manual one by the recipient is an opt-out, by anybody else it is the controller's own."""
    email = address(row, "emailaddress", "email_address")
    reason = (row.get("suppressionreason") or row.get("suppression_reason") or "").lower()
    at = row.get("createdat") or row.get("created_at") or ""
    if reason == "hardbounce":
        return [scribe.dead(email)]
    if reason == "spamcomplaint":
        return [scribe.opt_out(email, at=at, reason="complaint")]
    if reason == "manualsuppression":
        by_staff = row.get("origin", "").lower() in ("customer", "admin")
        return [scribe.opt_out(email, at=at, reason="admin" if by_staff else "unsubscribe")]
    raise BadCell("its reason must be HardBounce, SpamComplaint or ManualSuppression.")


FORMAT: Final = Format(
    name="postmark", title="Postmark suppressions (EmailAddress and SuppressionReason)",
    columns=("EmailAddress", "SuppressionReason", "Origin", "CreatedAt"), recognises=_recognises, read=read,
)  # fmt: skip
