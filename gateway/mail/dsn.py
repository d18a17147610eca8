"""Delivery reports: the mail that tells a sender what became of a copy, and who is owed one.

Purpose: `make_dsn` writes a multipart/report (RFC 6522) with a delivery-status part (RFC 3464); `without_body` fits it
to servers that take less; `is_owed` is the table of when one is due (RFC 3461, RULES 2.4).
It never answers the null sender (loops, RFC 3834), never carries more of the original than was asked for, and lets no
value break out of its line. Words come from the caller, in the language of the reader.
Failures: ValueError for a report to the null sender, about nobody, or with naive times.
Known limit: a report on several messages is several reports.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from gateway.mail.headers import Unparsable, has_long_line
from gateway.mail.letter import date, field, head_of, multipart, text_part
from gateway.mail.mime import parse
from gateway.mail.outcome import Outcome
from gateway.mail.reply import OnBlock

Action = Literal["failed", "delayed", "relayed", "delivered"]
"""RFC 3464 2.3.3. `relayed`: handed to a server that will not report success itself (RFC 3461 5.2.2)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reported:
    """What is said of one recipient.

    `address`: the one we tried. `orcpt`: "type;xtext" as it came in, None without. `status`: RFC 3463.
    `diagnostic`: "smtp; 550 5.1.1 ..." (RFC 3464 2.3.6), None when no server said anything. `remote_mta`: host name of
    the server that spoke. `last_attempt`, `retry_until`: aware UTC; the latter for delayed copies only.
    """

    address: str
    orcpt: str | None = None
    action: Action
    status: str
    diagnostic: str | None = None
    remote_mta: str | None = None
    last_attempt: datetime | None = None
    retry_until: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """One report. `to`: the envelope sender of the message, not the null one. `sender`: address in From. `subject` and
    `text`: in `language` (RFC 5646 tag). `message_id`: of this report, with angle brackets. `at`, `arrived`: aware UTC,
    now and when the message came in. `envid`: xtext as given. `ret`: "FULL", "HDRS" or None, which is headers only."""

    to: str
    sender: str
    sender_name: str
    subject: str
    text: str
    language: str
    reporting_mta: str
    message_id: str
    at: datetime
    arrived: datetime
    envid: str | None
    ret: str | None
    recipients: tuple[Reported, ...]


def is_owed(
    event: Literal["failed", "blocked", "delayed", "relayed"],
    notify: Collection[str],
    mail_from: str,
    on_block: OnBlock = "record",
) -> bool:
    """Whether the sender is owed a report about one recipient.

    ```
    event     NOTIFY not given              NOTIFY given
    failed    yes                           FAILURE is in it
    blocked   not with on_block = record    FAILURE is in it, whatever on_block says (RULES 2.4)
    delayed   no                            DELAY is in it
    relayed   no                            SUCCESS is in it, and the next server offers no DSN (the caller looks)
    ```
    Never to the null sender. NOTIFY=NEVER is a NOTIFY that names nothing.
    """
    if not mail_from:
        return False
    if not notify:
        return event == "failed" or (event == "blocked" and on_block != "record")
    return {"failed": "FAILURE", "blocked": "FAILURE", "delayed": "DELAY", "relayed": "SUCCESS"}[event] in notify


def reported(
    address: str,
    outcome: Outcome,
    *,
    action: Action,
    orcpt: str | None = None,
    remote_mta: str | None = None,
    last_attempt: datetime | None = None,
    retry_until: datetime | None = None,
) -> Reported:
    """What an outcome says of a recipient. A copy given up while it waited gets 5.4.7, delivery time expired (RFC 3463
    3.5): a failed action has a final status."""
    status = outcome.enhanced or {"failed": "5.0.0", "delayed": "4.0.0"}.get(action, "2.0.0")
    if action == "failed" and not status.startswith("5"):
        status = "5.4.7"
    diagnostic = None
    if outcome.code is not None:
        diagnostic = " ".join(filter(None, (f"smtp; {outcome.code}", outcome.enhanced, outcome.text)))
    elif outcome.text:
        diagnostic = f"X-Consentgate; {outcome.text}"
    return Reported(
        address=address, orcpt=orcpt, action=action, status=status, diagnostic=diagnostic, remote_mta=remote_mta,
        last_attempt=last_attempt, retry_until=retry_until,
    )  # fmt: skip


def make_dsn(report: Report, original: bytes) -> bytes:
    """The report as a message with CRLF line ends, to be sent from the null sender.

    `original`: the message it is about, head and body; the whole of it goes along only with RET=FULL and a failure
    (RFC 3461 4.3), and without a line that no server has to take, since nothing in it may be re-encoded
    (RFC 2046 5.2.1): a report that cannot be sent says nothing. 8-bit when the original is, or when an
    address is not ASCII (RFC 6533).
    """
    if not report.to:
        raise ValueError("no report goes to the null sender")
    if not report.recipients:
        raise ValueError("a report is about somebody")
    utf8 = not all(text.isascii() for text in (report.to, *(r.address for r in report.recipients)))
    head = head_of(
        to=report.to, sender=report.sender, sender_name=report.sender_name, subject=report.subject, at=report.at,
        message_id=report.message_id, automatic="auto-replied", answers=_message_id(original),
    )  # fmt: skip
    text = field("Content-Language", report.language).encode() + text_part("plain", report.text)
    parts = [text, _status_part(report, utf8=utf8), _original_part(report, original, utf8=utf8)]
    return head + multipart("report; report-type=delivery-status", parts, report.message_id)


_MESSAGE_ID = re.compile(
    rb"(?:\A|\r\n)message-id:[ \t]*(?:\r\n[ \t]+)?(<[!-;=?-~]{1,900}>)[ \t]*(?:\r\n|\Z)", re.IGNORECASE
)


def _message_id(original: bytes) -> str | None:
    """What the report answers (RFC 3834 3.1.5), so that mail programs show it beside the message it is about."""
    found = _MESSAGE_ID.search(original.partition(b"\r\n\r\n")[0])
    return found[1].decode("ascii") if found else None


def _status_part(report: Report, *, utf8: bool) -> bytes:
    """RFC 3464 2.1: fields of the message, then a blank line and the fields of each recipient.

    ASCII alone, unless the report is one of RFC 6533: a server that takes no 8-bit content would refuse the report.
    """
    fields = [field("Reporting-MTA", f"dns; {report.reporting_mta}")]
    if report.envid is not None:
        fields.append(field("Original-Envelope-Id", _from_xtext(report.envid, utf8=utf8)))
    fields.append(field("Arrival-Date", date(report.arrived)))
    for r in report.recipients:
        fields.append("\r\n")
        if r.orcpt is not None:
            kind, _, address = r.orcpt.partition(";")
            fields.append(field("Original-Recipient", f"{kind}; {_from_xtext(address, utf8=utf8)}"))
        fields.append(field("Final-Recipient", f"{'utf-8' if not r.address.isascii() else 'rfc822'}; {r.address}"))
        fields.append(field("Action", r.action))
        fields.append(field("Status", r.status))
        if r.remote_mta:
            fields.append(field("Remote-MTA", f"dns; {r.remote_mta}"))
        if r.diagnostic:
            fields.append(field("Diagnostic-Code", r.diagnostic))
        if r.last_attempt:
            fields.append(field("Last-Attempt-Date", date(r.last_attempt)))
        if r.retry_until and r.action == "delayed":
            fields.append(field("Will-Retry-Until", date(r.retry_until)))
    data = "".join(fields).encode("utf-8" if utf8 else "ascii", "replace")
    kind = "message/global-delivery-status" if utf8 else "message/delivery-status"
    return _part_head(kind, data) + data


def _original_part(report: Report, original: bytes, *, utf8: bool) -> bytes:
    whole = report.ret == "FULL" and any(r.action == "failed" for r in report.recipients)
    if whole and not has_long_line(original, 0, len(original)):
        return _part_head("message/global" if utf8 else "message/rfc822", original) + original
    return _headers_part(original, utf8=utf8)


def _headers_part(original: bytes, *, utf8: bool) -> bytes:
    head = original.partition(b"\r\n\r\n")[0]
    if not head.endswith(b"\r\n"):
        head += b"\r\n"
    return _part_head("message/global-headers" if utf8 else "text/rfc822-headers", head) + head


def without_body(report: bytes) -> bytes:
    """A report with the header alone of an 8-bit message that it carries, for a server that takes no 8-bit content.

    Nothing in a message/rfc822 may be encoded (RFC 2046 5.2.1), its header as text/rfc822-headers may. As it is where
    it carries no such message.
    """
    try:
        parts = parse(report).parts()
    except Unparsable:
        return report
    for part in parts:
        if part.type == b"message/rfc822" and not part.body.isascii():
            return report[: part.start] + _headers_part(part.body, utf8=False) + report[part.end :]
    return report


def _part_head(kind: str, data: bytes) -> bytes:
    encoding = "7bit" if data.isascii() else "8bit"
    return f"Content-Type: {kind}\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n".encode()


_XTEXT = re.compile(r"\+([0-9A-F]{2})")


def _from_xtext(value: str, *, utf8: bool) -> str:
    """RFC 3461 4: +XX is an octet. What does not decode to text that may stand here is shown as it came."""
    try:
        octets = _XTEXT.sub(lambda m: chr(int(m[1], 16)), value).encode("latin-1")
        return octets.decode("utf-8" if utf8 else "ascii")
    except ValueError:
        return value
