"""Amazon SES: the account's suppression list (API's JSON, CSV, or `address,REASON` without a header), and contacts.

A contact that unsubscribed from all is an opt-out from all; an OPT_OUT from a topic is one from the purpose of that
name. Contacts prove no consent.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Final

from gateway.files.cell import BadCell
from gateway.files.vendor import Format, Said, Scribe, address, flag

HEADER: Final = ("emailAddress", "reason")
"""The names of the cells of a file without a header."""
LINE: Final = re.compile(r'"?\s*[^\s,"]+@[^\s,"]+\s*"?,\s*"?(?:BOUNCE|COMPLAINT)"?')
_EMAIL: Final = ("emailaddress", "email_address")
_OUT: Final = re.compile(r"([^=|]*)=OPT_OUT(?:\||$)")


def _recognises(names: frozenset[str]) -> bool:
    return bool(names & set(_EMAIL)) and bool(
        names & {"reason", "unsubscribeall", "unsubscribe_all", "topicpreferences", "topicdefaultpreferences"}
    )


def read(row: Mapping[str, str], scribe: Scribe) -> Sequence[Said]:
    """One destination of the list, or one contact."""
    email = address(row, *_EMAIL)
    at = row.get("lastupdatetime") or row.get("last_update_time") or row.get("lastupdatedtimestamp") or ""
    if "reason" in row:
        if row["reason"].upper() == "BOUNCE":
            return [scribe.dead(email)]
        if row["reason"].upper() == "COMPLAINT":
            return [scribe.opt_out(email, at=at, reason="complaint")]
        raise BadCell("its reason must be BOUNCE or COMPLAINT.")
    everything = row.get("unsubscribeall", row.get("unsubscribe_all", ""))
    if flag(everything) is not False:
        return [scribe.opt_out(email, at=at)]
    topics = [found[1] for found in _OUT.finditer(row.get("topicpreferences", ""))]
    return [scribe.group(email, topic, at=at) for topic in topics] or scribe.pass_over("a contact without an opt-out")


FORMAT: Final = Format(
    name="ses", title="Amazon SES suppression list (emailAddress and reason) or contacts",
    columns=("EmailAddress", "Reason", "LastUpdateTime"), recognises=_recognises, read=read,
)  # fmt: skip
