"""Mail that we write ourselves: header fields, and a letter in text and HTML.

Pure: texts and addresses in, bytes out. Nothing that is put into a field can begin another one, no line is longer than
a server has to take, and no machine answers: `Auto-Submitted` (RFC 3834 5) for those that keep to the standard,
`X-Auto-Response-Suppress` for Exchange, which does not; no `Precedence`, which says bulk to filters.
"""

import re
from base64 import b64encode, encodebytes
from binascii import b2a_qp
from dataclasses import dataclass
from datetime import datetime
from email.utils import format_datetime
from hashlib import sha256
from typing import Final, Literal

Automatic = Literal["auto-generated", "auto-replied"]
"""What RFC 3834 5 calls a letter: of its own accord, or in answer to a mail."""

SUPPRESSED: Final = "DR, RN, NRN, OOF, AutoReply"
"""What Exchange is asked not to send about our mail: reports of delivery and reading, out-of-office, rules; a report
that it failed (NDR) is wanted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """A message to one person. `text` and `html` say the same; `language` is that of both. `at` aware.

    `message_id` with its angle brackets. `html` empty: text alone. `attached`: files by name, with their content types.
    `answers`: Message-ID of the mail that this one answers, where there is one.
    """

    to: str
    sender: str
    sender_name: str
    subject: str
    text: str
    html: str
    language: str
    message_id: str
    at: datetime
    automatic: Automatic = "auto-generated"
    answers: str | None = None
    attached: tuple[tuple[str, str, bytes], ...] = ()


def make_letter(letter: Letter) -> bytes:
    """The letter with CRLF line ends. ValueError for a naive time."""
    head = head_of(
        to=letter.to, sender=letter.sender, sender_name=letter.sender_name, subject=letter.subject, at=letter.at,
        message_id=letter.message_id, automatic=letter.automatic, answers=letter.answers,
    )  # fmt: skip
    said = text_part("plain", letter.text)
    if letter.html:
        said = multipart("alternative", [said, text_part("html", letter.html)], letter.message_id)
    if letter.attached:
        said = multipart("mixed", [said, *(_file(*one) for one in letter.attached)], letter.message_id)
    return head + field("Content-Language", letter.language).encode() + said


def head_of(
    *, to: str, sender: str, sender_name: str, subject: str, at: datetime, message_id: str, automatic: Automatic,
    answers: str | None = None,
) -> bytes:  # fmt: skip
    """The fields that all our mail has, up to MIME-Version. The field of the content follows."""
    answered = [field("In-Reply-To", answers), field("References", answers)] if answers else []
    return "".join([
        field("From", f"{phrase(sender_name)} <{sender}>"),
        field("To", f"<{to}>"),
        field("Subject", words(subject)),
        field("Date", date(at)),
        field("Message-ID", message_id),
        *answered,
        field("Auto-Submitted", automatic),
        field("X-Auto-Response-Suppress", SUPPRESSED),
        field("MIME-Version", "1.0"),
    ]).encode()  # fmt: skip


def multipart(kind: str, parts: list[bytes], message_id: str) -> bytes:
    """A multipart with its Content-Type field. `kind`: the subtype, and parameters where it has some."""
    boundary = "=_" + sha256(message_id.encode() + b"\0".join(parts)).hexdigest()[:40]
    mark = f"--{boundary}".encode()
    head = field("Content-Type", f'multipart/{kind}; boundary="{boundary}"').encode()
    return head + b"\r\n" + b"".join(mark + b"\r\n" + part + b"\r\n" for part in parts) + mark + b"--\r\n"


def _file(name: str, content_type: str, content: bytes) -> bytes:
    """An attached file (RFC 2183). `name`: ASCII without quotation marks."""
    return (
        f'Content-Type: {content_type}\r\nContent-Disposition: attachment; filename="{name}"\r\n'
        "Content-Transfer-Encoding: base64\r\n\r\n"
    ).encode() + encodebytes(content).replace(b"\n", b"\r\n")


def text_part(kind: str, text: str) -> bytes:
    """A leaf of text with its head: UTF-8, quoted-printable, CRLF."""
    lines = [clean(line).rstrip() for line in text.strip().splitlines()]
    encoded = b2a_qp("".join(line + "\r\n" for line in lines).encode(errors="replace"), istext=True)
    return (
        f"Content-Type: text/{kind}; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n".encode()
        + encoded
    )


_NOT_TEXT = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]+")
_PLAIN_WORD: Final = 70
"""A longer word cannot be folded: it goes as encoded words, whatever it is made of."""
_ATEXT = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~ -]+\Z")


def clean(value: str) -> str:
    """Without line ends, other control characters, and halves of characters."""
    return _NOT_TEXT.sub(" ", value)


def field(name: str, value: str) -> str:
    """One header field, folded at spaces before 78 characters where it can be."""
    lines, line = [], f"{name}:"
    for word in clean(value).split():
        if len(line) + 1 + len(word) > 78 and len(line) > len(name) + 1:
            lines.append(line)
            line = ""
        line += f" {word}"
    return "\r\n".join([*lines, line]) + "\r\n"


def words(value: str) -> str:
    """Unstructured text as RFC 2047 words where it is not ASCII, or would be read as such words, or has a word too
    long to fold; 45 octets fill a word of at most 75."""
    value = clean(value)
    if value.isascii() and "=?" not in value and max(map(len, value.split()), default=0) <= _PLAIN_WORD:
        return value
    done, piece = [], ""
    for character in value:
        if len((piece + character).encode()) > 42:
            done.append(piece)
            piece = ""
        piece += character
    return " ".join(f"=?utf-8?b?{b64encode(word.encode()).decode()}?=" for word in [*done, piece])


def phrase(value: str) -> str:
    """A display name (RFC 5322 3.2.5)."""
    encoded = words(value)
    if encoded != clean(value):
        return encoded
    if _ATEXT.match(value):
        return value
    return '"' + clean(value).replace("\\", "\\\\").replace('"', '\\"') + '"'


def date(at: datetime) -> str:
    """RFC 5322 3.3. ValueError for a naive time."""
    if at.utcoffset() is None:
        raise ValueError("times must be aware")
    return format_datetime(at)
