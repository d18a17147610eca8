"""What the files of other tools have in common: rows that become rows of our own format.

A vendor's reader turns one row of its file into what that row says, as cells of the native columns; the native reader
does the rest, so that a record from elsewhere is judged like one of ours. What a file cannot say is left out, and what
is left out takes the value that blocks (RULES.md 2.1.3). Nothing is made up: the importing person may state it for all
rows (`Terms`), and the record says who stated it.
"""

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, tzinfo
from typing import Final, NamedTuple

from gateway.files import cell, moment
from gateway.files.native import Kind
from suppression.address import canonical

ORDER: Final[tuple[Kind, ...]] = ("suppressions", "people", "consents")
"""What is taken in first: an opt-out stands before anything that a consent of the same file could allow."""
YES: Final = frozenset({"1", "true", "yes", "y", "ja", "j", "oui", "o", "sí", "si", "t"})
NO: Final = frozenset({"", "0", "false", "no", "n", "nee", "nein", "non", "f", "null", "none"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What the importing person states for all rows of a file, because the file cannot carry it.

    `now`: the moment of the import, aware UTC. `zone`: of dates that name none. `given_column`: the column that holds
    when the person agreed, in lower case. `separate`: one choice for one purpose, outside the terms, nothing refused
    without it. `purposes_declared`: those of the controller's settings. `part`: the name of the file or of its member.
    """

    now: datetime
    zone: tzinfo = UTC
    purposes: tuple[str, ...] = ()
    wording: str = ""
    notice: str = ""
    method: str = ""
    action: str = ""
    source: str = ""
    separate: bool = False
    single_opt_in: bool = False
    given_column: str = ""
    by: str = ""
    purposes_declared: tuple[str, ...] = ()
    part: str = ""

    @property
    def stated(self) -> dict[str, str]:
        """What was stated, by name, for the record."""
        said = {
            "purpose": "|".join(self.purposes), "wording": self.wording, "notice": self.notice, "method": self.method,
            "action": self.action, "source": self.source, "given": self.given_column,
            "separate": "yes" if self.separate else "", "single_opt_in": "yes" if self.single_opt_in else "",
        }  # fmt: skip
        return {name: value for name, value in said.items() if value}


class Said(NamedTuple):
    """One statement of a row: its kind, and cells by native column."""

    kind: Kind
    cells: dict[str, str]


@dataclass(slots=True)
class Scribe:
    """Writes down what a row says. `notes` counts what the importing person should know of."""

    terms: Terms
    notes: Counter[str] = field(default_factory=Counter)

    def moment(self, text: str, *, late: bool = False) -> str:
        """An instant as a native cell; empty where the text is none."""
        if not text:
            return ""
        found = moment.read(text, self.terms.zone, late=late)
        if found is None:
            self.notes["dates that cannot be read for sure"] += 1
            return ""
        if not found.zoned:
            self.notes[f"dates without zone read as {zone_name(self.terms.zone)}"] += 1
        return found.text

    def opt_out(self, email: str, *, at: str = "", reason: str = "unsubscribe", purpose: str = "") -> Said:
        """An opt-out. One whose time is not known, or lies ahead, counts from the moment of the import."""
        since = self.moment(at, late=True)
        if since and datetime.fromisoformat(since) > self.terms.now:
            since = ""
        cells = {"email": email, "scope": "purpose" if purpose else "sender", "purpose": purpose, "reason": reason}
        return Said("suppressions", {**cells, "at": since})

    def group(self, email: str, name: str, *, at: str = "") -> Said:
        """An opt-out from a group, list or tag: from a purpose where it has a declared one's name, else from all."""
        known = next((own for own in self.terms.purposes_declared if own.lower() == name.strip().lower()), "")
        if name and not known:
            self.notes["opt-outs from a group that is no purpose here, taken as opt-outs from all marketing"] += 1
        return self.opt_out(email, at=at, purpose=known)

    def dead(self, email: str) -> Said:
        """An address that takes no mail."""
        return Said("people", {"email": email, "undeliverable": "true"})

    def person(self, email: str, *, name: str = "", external_id: str = "", language: str = "") -> Said:
        """Who it is, for staff. The language only where it is one."""
        try:
            spoken = cell.language(language.replace("_", "-")) if language else ""
        except cell.BadCell:
            spoken = ""
        short = {"name": " ".join(name.split())[: cell.LONGEST_TEXT], "external_id": external_id[: cell.LONGEST_TEXT]}
        return Said("people", {"email": email, **short, "language": spoken})

    def consent(self, email: str, *, origin: str, row: Mapping[str, str], given: str = "", confirmed: str = "") -> Said:
        """What a row proves of an agreement, completed by what was stated for all rows, and by whom.

        `given`, `confirmed`: native instants. A stated column of the time counts where the file itself has none.
        """
        terms = self.terms
        if not given and terms.given_column:
            given = self.moment(row.get(terms.given_column, ""))
        stated = terms.stated
        told = f"; stated at import by {terms.by}: {', '.join(stated)}" if stated else ""
        cells = {
            "email": email, "source": terms.source or "imported_legacy", "purposes": "|".join(terms.purposes),
            "given_at": given, "action": terms.action, "evidence.method": terms.method,
            "evidence.wording_version": terms.wording, "evidence.privacy_notice_version": terms.notice,
            "evidence.origin": origin + told,
        }  # fmt: skip
        if terms.separate:
            cells["bundled_with_terms"] = cells["conditional_on_service"] = "false"
            cells["granular"] = "true" if len(terms.purposes) == 1 else "false"  # one choice is one purpose's
        if confirmed:
            cells["double_opt_in.requested_at"], cells["double_opt_in.confirmed_at"] = given, confirmed
        elif terms.single_opt_in:
            cells["double_opt_in.required"] = "false"
        return Said("consents", cells)

    def pass_over(self, why: str) -> list[Said]:
        """The row says nothing that counts here."""
        self.notes[f"rows passed over: {why}"] += 1
        return []


Read = Callable[[Mapping[str, str], Scribe], Sequence[Said]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """One tool's files. `read` gets a row's cells by column name; it raises cell.BadCell for a row that is rejected.

    `bare`: a header that could be any list of people, and is this tool's list of opt-outs once somebody said that it
    holds opt-outs. `columns`: the names its JSON entries are written under in a file of rejected rows. `recognises`
    sees the names of a header as `plain` makes them.
    """

    name: str
    title: str
    columns: tuple[str, ...]
    recognises: Callable[[frozenset[str]], bool]
    read: Read
    bare: frozenset[str] = frozenset()


def plain(name: str) -> str:
    """A column's name as it is compared: small letters, one underscore for blanks and hyphens."""
    return re.sub(r"[\s\-_]+", "_", name.strip().lower()).strip("_")


def address(row: Mapping[str, str], *names: str) -> str:
    """The address of a row, under the first of the names it has; BadCell where it is none."""
    text = next((row[name] for name in names if row.get(name)), "")
    if not text:
        raise cell.BadCell("is empty. Write the address of the person.")
    if canonical(text) is None:
        raise cell.BadCell("is not an e-mail address. Write it as name@example.com.")
    return text


def flag(text: str) -> bool | None:
    """Yes or no in a few languages; None for anything else."""
    word = text.strip().lower()
    return True if word in YES else False if word in NO else None


def zone_name(zone: tzinfo) -> str:
    """How a zone is called."""
    return getattr(zone, "key", None) or str(zone)


_STATUS: Final = re.compile(r"(?<![0-9.])([245])\.([0-9]{1,3})\.([0-9]{1,3})(?![0-9.])")
_PASSING: Final = re.compile(
    r"spam|block|blacklist|blocklist|policy|reputation|quota|full|temporar|rate.?limit|throttl|greylist|try again|"
    r"timed? ?out|dmarc|spf|dkim|content|deferred",
    re.IGNORECASE,
)


def is_dead(code: str, text: str) -> bool:
    """Whether a bounce that a provider keeps on its list means that there is no such mailbox (RFC 3463).

    A full mailbox, a policy or a temporary refusal says nothing about the address. A permanent one that says nothing
    else does: the provider has given the address up too.
    """
    found = _STATUS.search(code) or _STATUS.search(text)
    if found is not None:
        status = tuple(map(int, found.groups()))
        return status[0] == 5 and (
            (status[1] == 1 and status[2] not in (7, 8)) or status[1:] in ((0, 0), (2, 1), (4, 4))
        )
    if code[:1] in ("2", "4"):
        return False
    return _PASSING.search(text) is None
