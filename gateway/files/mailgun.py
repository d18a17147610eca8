"""Mailgun's suppressions: unsubscribes with tags, bounces, complaints; CSV, or the API's JSON. Dates are RFC 5322.

The tag `*` is an opt-out from everything; another tag from the purpose of that name, and where there is none, from
everything too.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from gateway.files.vendor import Format, Said, Scribe, address, is_dead


def _recognises(names: frozenset[str]) -> bool:
    return "address" in names and bool(names & {"tags", "tag", "code", "error"})


def read(row: Mapping[str, str], scribe: Scribe) -> Sequence[Said]:
    """One entry of a list."""
    email = address(row, "address")
    at = row.get("created_at", "")
    if "code" in row or "error" in row:
        if not is_dead(row.get("code", ""), row.get("error", "")):
            return scribe.pass_over("refused for now or by policy, which says nothing about the address")
        return [scribe.dead(email)]
    if "tags" in row or "tag" in row:
        text = row.get("tags") or row.get("tag", "")
        tags = [tag.strip(" \"'[]") for tag in text.replace("|", ",").split(",")]
        named = [tag for tag in tags if tag and tag != "*"]
        if "*" in tags or not named:
            return [scribe.opt_out(email, at=at)]
        return [scribe.group(email, tag, at=at) for tag in named]
    return [scribe.opt_out(email, at=at, reason="complaint")]


FORMAT: Final = Format(
    name="mailgun", title="Mailgun suppressions (address, and tags, code or created_at)",
    columns=("address", "tags", "created_at"), recognises=_recognises, read=read,
    bare=frozenset({"address", "created_at"}),
)  # fmt: skip
