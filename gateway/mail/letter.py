"""Mail that we write ourselves: header fields, and a letter in text and HTML.

Pure: texts and addresses in, bytes out. Nothing that is put into a field can begin another one.
"""

import re
from base64 import b64encode, encodebytes
from binascii import b2a_qp
from dataclasses import dataclass
from datetime import datetime
from email.utils import format_datetime
from hashlib import sha256


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """A message to one person. `text` and `html` say the same; `language` is that of both. `at` aware.

    `message_id` with its angle brackets. `html` empty: text alone. `attached`: files by name, with their content types.
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
    attached: tuple[tuple[str, str, bytes], ...] = ()


def make_letter(letter: Letter) -> bytes:
    """The letter with CRLF line ends and `Auto-Submitted: auto-generated` (RFC 3834 5): no machine answers it."""
    head = [
        field("From", f"{phrase(letter.sender_name)} <{letter.sender}>"),
        field("To", f"<{letter.to}>"),
        field("Subject", words(letter.subject)),
        field("Date", date(letter.at)),
        field("Message-ID", letter.message_id),
        field("Auto-Submitted", "auto-generated"),
        field("MIME-Version", "1.0"),
        field("Content-Language", letter.language),
    ]
    said = text_part("plain", letter.text)
    if letter.html:
        said = _multipart("alternative", [said, text_part("html", letter.html)], letter.message_id)
    if letter.attached:
        said = _multipart("mixed", [said, *(_file(*one) for one in letter.attached)], letter.message_id)
    return "".join(head).encode() + said


def _multipart(kind: str, parts: list[bytes], message_id: str) -> bytes:
    boundary = "=_" + sha256(message_id.encode() + b"".join(parts)).hexdigest()[:40]
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
    lines = text.strip().splitlines()
    encoded = b2a_qp("".join(line.rstrip() + "\r\n" for line in lines).encode(), istext=True)
    return (
        f"Content-Type: text/{kind}; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n".encode()
        + encoded
    )


_NOT_TEXT = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
_ATEXT = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~ -]+\Z")


def clean(value: str) -> str:
    """Without line ends and other control characters."""
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
    """Unstructured text as RFC 2047 words where it is not ASCII; 45 octets fill a word of at most 75."""
    if value.isascii():
        return value
    done, piece = [], ""
    for character in clean(value):
        if len((piece + character).encode()) > 42:
            done.append(piece)
            piece = ""
        piece += character
    return " ".join(f"=?utf-8?b?{b64encode(word.encode()).decode()}?=" for word in [*done, piece])


def phrase(value: str) -> str:
    """A display name (RFC 5322 3.2.5)."""
    if not value.isascii():
        return words(value)
    if _ATEXT.match(value):
        return value
    return '"' + clean(value).replace("\\", "\\\\").replace('"', '\\"') + '"'


def date(at: datetime) -> str:
    """RFC 5322 3.3. ValueError for a naive time."""
    if at.utcoffset() is None:
        raise ValueError("times must be aware")
    return format_datetime(at)
