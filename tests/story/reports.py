"""Mail that comes back about a copy, as servers, mailbox providers and people write it, and its way in."""

import re
import smtplib

from tests.story.relay import Relay
from tests.story.upstream import Mail

UNKNOWN = "smtp; 550 5.1.1 user unknown"


def bounced(
    mail: Mail,
    *,
    status: str = "5.1.1",
    said: str = UNKNOWN,
    action: str = "failed",
    address: str = "",
    mark: str = "1",
) -> bytes:
    """A delivery report as RFC 3464 has it, with the head of what came back. `mark`: tells one report from another."""
    head = mail.raw.partition(b"\r\n\r\n")[0].decode("utf-8", "replace")
    return "\r\n".join((
        "From: MAILER-DAEMON@mx.example.net", f"To: <{mail.mail_from}>", "Subject: Undelivered Mail Returned",
        f"Message-ID: <{mark}@mx.example.net>", "Auto-Submitted: auto-replied", "MIME-Version: 1.0",
        'Content-Type: multipart/report; report-type=delivery-status; boundary="=b"', "", "--=b",
        "Content-Type: text/plain", "", "Your message could not be delivered.", "--=b",
        "Content-Type: message/delivery-status", "", "Reporting-MTA: dns; mx.example.net", "",
        f"Final-Recipient: rfc822; {address or mail.recipient}", f"Action: {action}", f"Status: {status}",
        f"Diagnostic-Code: {said}", "", "--=b", "Content-Type: text/rfc822-headers", "", head, "--=b--", "",
    )).encode()  # fmt: skip


def complained(mail: Mail, kind: str = "abuse", *, token: bool = True) -> bytes:
    """Feedback as RFC 5965 has it, the recipient redacted."""
    head = mail.raw.partition(b"\r\n\r\n")[0].decode().replace(mail.recipient, "redacted@example.net")
    if not token:
        head = "From: news@acme.example\r\nSubject: nothing of ours"
    return "\r\n".join((
        "From: fbl@provider.example", "Subject: complaint", "MIME-Version: 1.0",
        'Content-Type: multipart/report; report-type=feedback-report; boundary="=f"', "", "--=f",
        "Content-Type: text/plain", "", "This is a report.", "--=f", "Content-Type: message/feedback-report", "",
        f"Feedback-Type: {kind}", "User-Agent: FBL/1", "Version: 1", "", "--=f", "Content-Type: message/rfc822", "",
        head, "", "gone", "--=f--", "",
    )).encode()  # fmt: skip


def replied(mail: Mail, text: str, *, subject: str = "Re: de nieuwsbrief", author: str = "", more: str = "") -> bytes:
    """What a person writes back."""
    head = f"From: Iemand <{author or mail.recipient}>\r\nTo: <{mail.mail_from}>\r\nSubject: {subject}\r\n{more}"
    return f"{head}Content-Type: text/plain; charset=utf-8\r\n\r\n{text}\r\n".encode()


def come_back(relay: Relay, to: str | list[str], report: bytes, *, sender: str = "") -> tuple[int, str]:
    """Hand mail to the return path; the reply to its first RCPT that was refused, else to DATA."""
    with smtplib.SMTP("127.0.0.1", relay.installation.return_port, timeout=30) as session:
        session.ehlo("mx.example.net")
        session.mail(sender)
        for one in [to] if isinstance(to, str) else to:
            code, said = session.rcpt(one)
            if code != 250:
                return code, said.decode()
        code, said = session.data(re.sub(rb"\r?\n", b"\r\n", report))
        return code, said.decode()


def told(relay: Relay, to: str | list[str], report: bytes, *, sender: str = "") -> None:
    """The same, and it has to be taken."""
    code, said = come_back(relay, to, report, sender=sender)
    assert code == 250, said
