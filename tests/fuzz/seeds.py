"""What mutation starts from: odd mails, mail of tools, reports that come back, and trees that grow by chance."""

import base64
import random

from tests.mails import HTML, leaf, message, multipart
from tests.odd_mails import PAGES, odd_mails

_LINK = "https://tool.example/unsubscribe/0123456789abcdef"
_TYPES = ("mixed", "alternative", "related", "signed", "report", "digest", "encrypted", "x-other")
_CHARSETS = (
    "utf-8",
    "us-ascii",
    "iso-8859-1",
    "koi8-r",
    "iso-2022-jp",
    "shift_jis",
    "utf-16",
    "utf-7",
    "gb18030",
    "x-no",
)
_ENCODINGS = ("7bit", "8bit", "binary", "quoted-printable", "base64", "x-uuencode", "")


def seeds() -> list[bytes]:
    """The seed corpus, the same every time."""
    return [*odd_mails().values(), *_campaigns(), *_reports()]


def _campaigns() -> list[bytes]:
    page = HTML.replace(
        "</h1>", f'</h1><a href="{_LINK}">Afmelden</a><a href="https://t.example/r/{_carried()}/x">x</a>'
    )
    fields = (
        f"List-Unsubscribe: <{_LINK}>, <mailto:u.1.2.0123456789abcdef@t.example?subject=x>\r\n"
        "List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n"
        "X-Listmonk-Campaign: 0b9a1c6e-5f0d-4c0f-9b5a-0a1c8f3c2d11\r\n"
        'X-SMTPAPI: {"category": ["wijn"]}\r\nFeedback-ID: a:b:c:dddddd\r\nX-Consentgate-Purpose: newsletter\r\n'
        "DKIM-Signature: v=1; a=rsa-sha256; d=acme.example; s=x; h=from:to; bh=AA==; b=AA==\r\nPrecedence: bulk\r\n"
    )
    return [
        message(
            multipart("alternative", leaf(f"Afmelden: {_LINK}\r\n", cte=cte), leaf(page, "text/html", cte=cte)),
            more=fields,
        )
        for cte in ("8bit", "quoted-printable", "base64")
    ]


def _carried() -> str:
    return base64.urlsafe_b64encode(_LINK.encode()).decode().rstrip("=")


def _reports() -> list[bytes]:
    status = (
        b"Content-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; mx.example\r\n\r\n"
        b"Final-Recipient: rfc822; anna@example.org\r\nAction: failed\r\nStatus: 5.1.1\r\n"
        b"Diagnostic-Code: smtp; 550 5.1.1 <anna@example.org> unknown user\r\n"
    )
    feedback = (
        b"Content-Type: message/feedback-report\r\n\r\nFeedback-Type: abuse\r\nUser-Agent: x/1\r\nVersion: 1\r\n"
        b"Original-Rcpt-To: <anna@example.org>\r\n"
    )
    original = b"Content-Type: message/rfc822\r\n\r\n" + message(leaf(HTML, "text/html"))
    words = leaf("The following message could not be delivered:\r\n<anna@example.org>: mailbox full (452 4.2.2)\r\n")
    return [
        message(multipart("report; report-type=delivery-status", words, status, original)),
        message(multipart("report; report-type=feedback-report", words, feedback, original)),
        message(words, more="Auto-Submitted: auto-replied\r\n").replace(b"Subject: Wijn", b"Subject: Undelivered Mail"),
        message(leaf("Ik ben er niet tot maandag.\r\n"), more="Auto-Submitted: auto-replied\r\n"),
        message(leaf("Stop!\r\n\r\nOp 3 mei schreef Acme:\r\n> Wijn\r\n> afmelden\r\n"), more="In-Reply-To: <1@x>\r\n"),
    ]  # fmt: skip


def grown(chance: random.Random) -> bytes:
    """A message of parts in parts."""
    return message(
        _part(chance, depth=0), more=chance.choice(("", "Content-Language: fr\r\n", f"List-Unsubscribe: <{_LINK}>\r\n"))
    )


def _part(chance: random.Random, depth: int) -> bytes:
    if depth < 6 and chance.random() < 0.6 / (depth + 0.6):
        boundary = chance.choice(("b", "b1", "b1--", "--", "=_x", f"q{chance.randrange(99)}", "a b", "a:b"))
        parts = [_part(chance, depth + 1) for _ in range(chance.randrange(5))]
        whole = multipart(chance.choice(_TYPES), *parts, boundary=boundary)
        return whole if chance.random() < 0.8 else whole.removesuffix(f"--{boundary}--\r\n".encode())
    charset, cte = chance.choice(_CHARSETS), chance.choice(_ENCODINGS)
    text = chance.choice(tuple(PAGES.values())) + chance.choice(
        ("", "é", "日本", "-- \r\nAcme\r\n", _LINK, "{{unsubscribe_url}}")
    )
    data = text.encode("utf-8" if charset == "x-no" else charset, "replace")
    kind = chance.choice(
        ("text/plain", "text/html", "text/html", "text/x-amp-html", "image/png", "text/calendar; method=REQUEST")
    )
    more = chance.choice(
        ("", "", "", "Content-Disposition: attachment\r\n", "Content-ID: <r@x>\r\n", "Content-MD5: x\r\n")
    )
    return leaf(data, kind, cte=cte, charset=charset, more=more)
