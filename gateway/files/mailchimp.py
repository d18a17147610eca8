"""Mailchimp's audience export: a ZIP of CSV files for subscribed, unsubscribed, cleaned and non-subscribed contacts.

What it proves: OPTIN_TIME is when the sign-up form was sent, and CONFIRM_TIME after it, with the address it came from,
is the click in the confirmation mail. CONFIRM_TIME alone is when somebody added the contact, and proves nothing. It
holds no wording, no notice and no purpose. CC is the country of an IP address, so it declares none; IP addresses are
not kept (RULES.md 7.2). Notes and tags serve no decision.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Final

from gateway.files.vendor import Format, Said, Scribe, address

_EMAIL: Final = (
    "email_address", "email", "e_mail_address", "e_mailadres", "e_mail_adresse", "adresse_e_mail", "e_mail",
)  # fmt: skip
_COMPLAINT: Final = re.compile(r"spam|abuse|complain|inappropriate", re.IGNORECASE)
_LIST: Final = re.compile(r"non.?subscribed|unsubscribed|cleaned|subscribed")
_ORIGIN: Final = "Mailchimp audience"


def _recognises(names: frozenset[str]) -> bool:
    return bool(names & set(_EMAIL)) and (
        bool(names & {"leid", "euid"})
        or len(names & {"optin_time", "confirm_time", "member_rating", "last_changed"}) > 1
    )


def list_of(part: str, row: Mapping[str, str]) -> str:
    """Which of the lists a row is from: one that says when it left is not subscribed, whatever its file is called.

    Else the name of the file says so, else the columns, which then decide for the list that may not be mailed.
    """
    if row.get("unsub_time") or row.get("clean_time"):
        return "unsubscribed" if row.get("unsub_time") else "cleaned"
    named = _LIST.search(part.lower())
    if named is not None:
        return "nonsubscribed" if named[0].startswith("non") else named[0]
    return "unsubscribed" if "unsub_time" in row else "cleaned" if "clean_time" in row else "subscribed"


def read(row: Mapping[str, str], scribe: Scribe) -> Sequence[Said]:
    """A contact."""
    email = address(row, *_EMAIL)
    which = list_of(scribe.terms.part, row)
    if which == "unsubscribed":
        why = f"{row.get('unsub_reason', '')} {row.get('unsub_reason_other', '')}"
        reason = "complaint" if _COMPLAINT.search(why) else "unsubscribe"
        return [scribe.opt_out(email, at=row.get("unsub_time", ""), reason=reason)]
    if which == "cleaned":
        return [scribe.dead(email)]
    person = scribe.person(
        email, name=f"{row.get('first_name', '')} {row.get('last_name', '')}".strip() or row.get("name", ""),
        external_id=row.get("euid") or row.get("leid", ""), language=row.get("language") or row.get("mc_language", ""),
    )  # fmt: skip
    if which == "nonsubscribed":
        return [person]
    given = scribe.moment(row.get("optin_time", ""))
    confirmed = scribe.moment(row.get("confirm_time", "")) if given and row.get("confirm_ip") else ""
    return [
        person,
        scribe.consent(
            email, origin=_ORIGIN, row=row, given=given, confirmed=confirmed if confirmed > given else ""
        ),
    ]  # fmt: skip


FORMAT: Final = Format(
    name="mailchimp", title="Mailchimp audience export (ZIP or one of its CSV files)",
    columns=("Email Address", "First Name", "Last Name"), recognises=_recognises, read=read,
)  # fmt: skip
