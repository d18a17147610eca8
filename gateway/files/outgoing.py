"""What is known of people as files that other tools, and we ourselves, read.

What a reader reads a writer writes: what is written native is read back as it was. A cell that a spreadsheet would run
as a formula gets a tab in front, inside quotation marks: readers of addresses trim it, whereas an apostrophe would make
another address.
"""

import csv
import hashlib
import io
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Literal

from gateway.files import native
from gateway.files.native import Kind
from suppression.facts import Consent, Suppression

Held = Literal["suppressions", "consents", "people"]
_MARK: Final = re.compile(r"(?:#[0-9a-f]{12})+$")
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")
"""What a spreadsheet would run as a formula (OWASP, CSV injection)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One person as an export sees them at `now` (aware UTC). `facts`: the recipient's, by schema name."""

    address: str
    name: str
    external_id: str
    language: str
    country: str
    billing_country: str
    dead: bool
    facts: Mapping[str, Any]
    consents: Sequence[Consent]
    suppressions: Sequence[Suppression]
    now: datetime

    def opt_outs(self) -> list[Suppression]:
        """Those in force, or to come, that have no end: a pause is none, and what was lifted is none any more."""
        return [one for one in self.suppressions if one.lifted_at is None]

    def complained(self) -> bool:
        """Whether one of the opt-outs is a complaint."""
        return any(one.reason == "complaint" for one in self.opt_outs())

    def since(self) -> datetime:
        """When the first opt-out began."""
        return min(one.at for one in self.opt_outs())


Rows = Callable[[Entry], Iterator[Sequence[str]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Writer:
    """How one tool's file of one kind is written: `header` empty for none. `text` writes a row, None for CSV."""

    header: Sequence[str]
    rows: Rows
    delimiter: str = ","
    shape: Literal["csv", "lines", "postmark"] = "csv"

    @property
    def begin(self) -> str:
        """What stands before the first row."""
        if self.shape == "postmark":
            return '{"Suppressions": ['
        return line(self.header, self.delimiter) if self.header else ""

    @property
    def end(self) -> str:
        """What stands after the last."""
        return "\n]}\n" if self.shape == "postmark" else ""

    def text(self, cells: Sequence[str], first: bool) -> str:
        """One row. `first`: no other stands before it."""
        if self.shape == "lines":
            return cells[0] + "\n"
        if self.shape == "postmark":
            entry = dict(zip(self.header, cells, strict=True))
            return ("" if first else ",") + "\n" + json.dumps(entry, ensure_ascii=False)
        return line(cells, self.delimiter)


def harmless(cells: Iterable[str], *, mark: str = "'") -> list[str]:
    """Cells of a CSV file that a spreadsheet shows and does not run: `mark` goes before what would be a formula."""
    return [mark + cell if cell.startswith(_FORMULA) else cell for cell in cells]


def line(cells: Sequence[str], delimiter: str = ",") -> str:
    """One line of CSV (RFC 4180) in which no cell is a formula."""
    text = io.StringIO()
    safe = harmless(cells, mark="\t")
    writer = csv.writer(text, delimiter=delimiter, lineterminator="\r\n")
    if safe != list(cells):
        writer = csv.writer(text, delimiter=delimiter, lineterminator="\r\n", quoting=csv.QUOTE_ALL)
    writer.writerow(safe)
    return text.getvalue()


def stamp(at: datetime) -> str:
    """An instant in UTC."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list | tuple):
        return "|".join(map(str, value)) or "|"
    return "" if value is None else str(value)


def _flat(record: Mapping[str, Any], within: str = "") -> dict[str, str]:
    cells: dict[str, str] = {}
    for name, value in record.items():
        cells |= _flat(value, f"{within}{name}.") if isinstance(value, Mapping) else {within + name: _plain(value)}
    return cells


def _by_column(kind: Kind, cells: Mapping[str, str]) -> Sequence[str]:
    return [cells.get(column, "") for column in native.columns(kind)]


def _native_suppressions(entry: Entry) -> Iterator[Sequence[str]]:
    for one in entry.opt_outs():
        yield _by_column("suppressions", {
            "email": entry.address, "scope": one.scope, "purpose": one.purpose or "", "reason": one.reason,
            "at": stamp(one.at),
        })  # fmt: skip


def _native_consents(entry: Entry) -> Iterator[Sequence[str]]:
    """Each as it counts now, withdrawals told. The mark that tells records with one id apart is made anew when read."""
    for one in entry.consents:
        record = {**one.to_dict(), "id": _MARK.sub("", one.id)}
        yield _by_column("consents", {"email": entry.address, **_flat(record)})


def _native_people(entry: Entry) -> Iterator[Sequence[str]]:
    """What was declared. Of whom nothing was declared there is no row: it would declare what absence means."""
    said = (
        entry.facts,
        entry.dead,
        entry.country,
        entry.billing_country,
        entry.language,
        entry.name,
        entry.external_id,
    )
    if not any(said):
        return
    facts = {name: _plain(value) for name, value in entry.facts.items() if name in native.RECIPIENT}
    yield _by_column("people", {
        "email": entry.address, **facts, "undeliverable": "true" if entry.dead else "", "country": entry.country,
        "billing_country": entry.billing_country, "language": entry.language, "name": entry.name,
        "external_id": entry.external_id,
    })  # fmt: skip


def _mailchimp_opt_outs(entry: Entry) -> Iterator[Sequence[str]]:
    if entry.opt_outs():
        reason = "spam" if entry.complained() else ""
        yield [entry.address, entry.name, entry.since().strftime("%Y-%m-%d %H:%M:%S"), reason, entry.external_id]


def _mailchimp_contacts(entry: Entry) -> Iterator[Sequence[str]]:
    """Who may be written to at all: what is imported there is subscribed there."""
    if entry.opt_outs() or entry.dead:
        return
    given = [one.given_at for one in entry.consents if one.given_at is not None]
    asked = [one.double_opt_in.confirmed_at for one in entry.consents if one.double_opt_in.confirmed_at is not None]
    times = [max(some).strftime("%Y-%m-%d %H:%M:%S") if some else "" for some in (given, asked)]
    yield [entry.address, entry.name, *times, entry.country, entry.external_id]


def _brevo_opt_outs(entry: Entry) -> Iterator[Sequence[str]]:
    if entry.opt_outs():
        yield [entry.address, "true", entry.external_id]


def _brevo_contacts(entry: Entry) -> Iterator[Sequence[str]]:
    yield [
        entry.address,
        entry.name,
        entry.language,
        "true" if entry.opt_outs() or entry.dead else "false",
        entry.external_id,
    ]


def _sendgrid_opt_outs(entry: Entry) -> Iterator[Sequence[str]]:
    if entry.opt_outs():
        yield [entry.address, str(int(entry.since().timestamp()))]


def _mailgun_opt_outs(entry: Entry) -> Iterator[Sequence[str]]:
    for one in entry.opt_outs():
        yield [entry.address, one.purpose or "*", one.at.astimezone(UTC).strftime("%a, %d %b %Y %H:%M:%S GMT")]


def _ses_opt_outs(entry: Entry) -> Iterator[Sequence[str]]:
    """The list knows two reasons. An opt-out is written as a complaint: both keep the person out for good."""
    if entry.opt_outs():
        yield [entry.address, "COMPLAINT"]
    elif entry.dead:
        yield [entry.address, "BOUNCE"]


def _postmark_opt_outs(entry: Entry) -> Iterator[Sequence[str]]:
    if entry.opt_outs():
        by_person = any(one.reason in ("unsubscribe", "objection") for one in entry.opt_outs())
        reason = "SpamComplaint" if entry.complained() else "ManualSuppression"
        yield [
            entry.address,
            reason,
            "Recipient" if by_person or entry.complained() else "Customer",
            stamp(entry.since()),
        ]
    elif entry.dead:
        yield [entry.address, "HardBounce", "Recipient", stamp(entry.now)]


def _listmonk(entry: Entry) -> Iterator[Sequence[str]]:
    status = "blocklisted" if entry.opt_outs() else "disabled" if entry.dead else "enabled"
    at = stamp(entry.since()) if entry.opt_outs() else ""
    yield [entry.external_id, entry.address, entry.name, "{}", status, at]


def _listmonk_opt_outs(entry: Entry) -> Iterator[Sequence[str]]:
    if entry.opt_outs():
        yield from _listmonk(entry)


def _usesend_opt_outs(entry: Entry) -> Iterator[Sequence[str]]:
    if entry.opt_outs():
        by_person = any(one.reason in ("unsubscribe", "objection") for one in entry.opt_outs())
        reason = "COMPLAINT" if entry.complained() else "UNSUBSCRIBE" if by_person else "MANUAL"
        yield [entry.address, reason, stamp(entry.since())]
    elif entry.dead:
        yield [entry.address, "HARD_BOUNCE", stamp(entry.now)]


def _hashed_opt_outs(entry: Entry) -> Iterator[Sequence[str]]:
    if entry.opt_outs():
        yield [hashlib.sha256(entry.address.encode()).hexdigest()]


_LISTMONK: Final = ("uuid", "email", "name", "attributes", "status", "updated_at")
WRITERS: Final[Mapping[tuple[str, Held], Writer]] = {
    ("native", "suppressions"): Writer(header=native.columns("suppressions"), rows=_native_suppressions),
    ("native", "consents"): Writer(header=native.columns("consents"), rows=_native_consents),
    ("native", "people"): Writer(header=native.columns("people"), rows=_native_people),
    ("mailchimp", "suppressions"): Writer(
        header=("Email Address", "First Name", "UNSUB_TIME", "UNSUB_REASON", "EUID"), rows=_mailchimp_opt_outs
    ),
    ("mailchimp", "people"): Writer(
        header=("Email Address", "First Name", "OPTIN_TIME", "CONFIRM_TIME", "CC", "EUID"), rows=_mailchimp_contacts
    ),
    ("brevo", "suppressions"): Writer(
        header=("EMAIL", "emailBlacklisted", "EXT_ID"), rows=_brevo_opt_outs, delimiter=";"
    ),
    ("brevo", "people"): Writer(
        header=("EMAIL", "FIRSTNAME", "LANGUAGE", "emailBlacklisted", "EXT_ID"), rows=_brevo_contacts, delimiter=";"
    ),
    ("sendgrid", "suppressions"): Writer(header=("email", "created"), rows=_sendgrid_opt_outs),
    ("mailgun", "suppressions"): Writer(header=("address", "tags", "created_at"), rows=_mailgun_opt_outs),
    ("ses", "suppressions"): Writer(header=(), rows=_ses_opt_outs),
    ("postmark", "suppressions"): Writer(
        header=("EmailAddress", "SuppressionReason", "Origin", "CreatedAt"), rows=_postmark_opt_outs, shape="postmark"
    ),
    ("listmonk", "suppressions"): Writer(header=_LISTMONK, rows=_listmonk_opt_outs),
    ("listmonk", "people"): Writer(header=_LISTMONK, rows=_listmonk),
    ("usesend", "suppressions"): Writer(header=("Email", "Reason", "Created At"), rows=_usesend_opt_outs),
    ("hashes", "suppressions"): Writer(header=(), rows=_hashed_opt_outs, shape="lines"),
}  # fmt: skip
"""By format and kind: what each tool can take."""
