"""Mail of our own in every shape, and an independent reader of it: the standard library's parser."""

import base64
import email
import email.message
import email.policy
import re
from dataclasses import dataclass

from gateway.mail.footer import PREFERENCES, UNSUBSCRIBE, WHY, Footer, Links
from gateway.mail.mime import parse
from gateway.mail.plan import Plan, Wants, make_plan
from gateway.mail.rewrite import Fill, Rewritten, rewrite

FOOTER = Footer(
    text=f"Acme Wijnen B.V., Dam 1, Amsterdam\nAfmelden:\n{UNSUBSCRIBE}\nWaarom?\n{WHY}\nKeuzes:\n{PREFERENCES}\n",
    html=(
        f'<div><p>Acme Wijnen B.V. \u2013 Soci\u00e9t\u00e9</p>\n<p><a href="{UNSUBSCRIBE}">Afmelden</a> '
        f'<a href="{WHY}">Waarom?</a> <a href="{PREFERENCES}">Keuzes</a></p></div>\n'
    ),
)
FRENCH = Footer(text=f"Soci\u00e9t\u00e9 \u2013 d\u00e9sabonnement\u00a0: {UNSUBSCRIBE}", html=FOOTER.html)


def links(token: str = "A" * 100) -> Links:
    """Links of the usual length."""
    at = "https://mail.acme.example"
    return Links(
        page=f"{at}/u/{token}", one_click=f"{at}/o/{token}", mailto=f"mailto:unsub@b.acme.example?subject={token}",
        why=f"{at}/w/{token}", preferences=f"{at}/p/{token}",
    )  # fmt: skip


PAGE = links().page
HTML = "<html lang=nl><body><h1>Wijn</h1></body></html>\r\n"


def fill(**changes: object) -> Fill:
    """What one copy for anna needs."""
    values: dict[str, object] = {
        "links": links(), "footer": FOOTER, "recipient": "anna@example.org",
        "list_id": '"Acme wijn" <newsletter.acme.example>', "feedback_id": "c42:newsletter:acme:cgate",
        "add_date": b"Sat, 21 Nov 2026 10:00:00 +0000", "add_message_id": b"<new@acme.example>",
    }  # fmt: skip
    return Fill(**{**values, **changes})  # type: ignore[arg-type]


@dataclass(frozen=True, kw_only=True)
class Copy:
    """A copy and how it came about."""

    plan: Plan
    done: Rewritten
    raw: bytes

    @property
    def mail(self) -> email.message.EmailMessage:
        return read(self.raw)


def copied(raw: bytes, *, fill_in: Fill | None = None, **wants: object) -> Copy:
    """The copy of a message under these wishes; marketing unless said otherwise."""
    plan = make_plan(parse(raw), Wants(**{"marketing": True, **wants}))  # type: ignore[arg-type]
    done = rewrite(plan, fill_in or fill())
    return Copy(plan=plan, done=done, raw=done.head + b"\r\n" + done.body)


def read(raw: bytes) -> email.message.EmailMessage:
    """The message as the standard library reads it."""
    return email.message_from_bytes(raw, policy=email.policy.default)  # type: ignore[return-value]


def leaves(message: email.message.Message, path: str = "") -> dict[str, email.message.Message]:
    """Every leaf by its IMAP part number; what is forwarded is one leaf."""
    if message.get_content_maintype() != "multipart" or not isinstance(message.get_payload(), list):
        return {path or "1": message}
    found: dict[str, email.message.Message] = {}
    for number, part in enumerate(message.get_payload(), 1):
        found |= leaves(part, f"{path}.{number}" if path else str(number))  # type: ignore[arg-type]
    return found


def octets(part: email.message.Message) -> bytes:
    """A leaf's decoded body, or a forwarded message's own octets."""
    if part.get_content_maintype() == "message":
        return b"".join(inner.as_bytes(policy=email.policy.compat32) for inner in part.get_payload())  # type: ignore[union-attr]
    payload = part.get_payload(decode=True)
    assert isinstance(payload, bytes)
    return payload


def defects(message: email.message.Message) -> list[str]:
    """What the standard library finds wrong anywhere in the message."""
    return sorted(type(d).__name__ for part in message.walk() for d in part.defects)


def leaf(
    body: bytes | str,
    kind: str = "text/plain",
    *,
    cte: str | None = "7bit",
    charset: str | None = "utf-8",
    more: str = "",
) -> bytes:
    """A part: header, empty line, encoded body. `more`: further header fields, each with its CRLF."""
    data = body.encode(charset or "ascii") if isinstance(body, str) else body
    encoded = {"quoted-printable": _qp, "base64": _b64}.get(cte or "", bytes)(data)
    head = f"Content-Type: {kind}" + (f"; charset={charset}" if charset else "") + "\r\n"
    head += f"Content-Transfer-Encoding: {cte}\r\n" if cte else ""
    return (head + more + "\r\n").encode() + encoded


def multipart(kind: str, *parts: bytes, boundary: str = "b1", more: str = "") -> bytes:
    """A multipart of parts."""
    head = f'Content-Type: multipart/{kind}; boundary="{boundary}"\r\n{more}\r\n'.encode()
    delimiter = b"--" + boundary.encode()
    return head + b"".join(delimiter + b"\r\n" + part + b"\r\n" for part in parts) + delimiter + b"--\r\n"


def message(part: bytes, *, more: str = "", to: str = "anna@example.org") -> bytes:
    """A whole message around its root part."""
    return (
        f"From: Acme <news@acme.example>\r\nTo: {to}\r\nSubject: Wijn\r\nDate: Sat, 21 Nov 2026 09:00:00 +0000\r\n"
        f"Message-ID: <1@acme.example>\r\n{more}MIME-Version: 1.0\r\n"
    ).encode() + part


def field_lines(raw: bytes) -> list[bytes]:
    """Every header field with all its octets, by line folding alone."""
    head = raw.partition(b"\r\n\r\n")[0] + b"\r\n"
    return re.findall(rb"[^\r\n]+\r\n(?:[ \t][^\r\n]*\r\n)*", head)


def names(raw: bytes) -> list[str]:
    """The names of the header fields, lower case, in order."""
    return [line.partition(b":")[0].decode().lower() for line in field_lines(raw)]


def text_of(raw: bytes, path: str = "1") -> str:
    """A leaf as a person reads it."""
    part = leaves(read(raw))[path]
    return octets(part).decode(part.get_content_charset() or "ascii")


def _qp(data: bytes) -> bytes:
    """Quoted-printable of our own, unlike the product's: 40 octets a line, escapes in lower case."""
    lines = []
    for line in data.split(b"\r\n"):
        pieces = [bytes((c,)) if 32 < c < 127 and c != 61 else b"=%02x" % c for c in line]
        lines.append(b"=\r\n".join(b"".join(pieces[i : i + 40]) for i in range(0, max(len(pieces), 1), 40)))
    return b"\r\n".join(lines)


def _b64(data: bytes) -> bytes:
    return base64.encodebytes(data).replace(b"\n", b"\r\n").removesuffix(b"\r\n")
