"""What a remote SMTP server says: its replies, read from bytes that come in any pieces.

Purpose: turn octets from a server we do not trust into `Answer` values, without a socket.
It never keeps more than the limits below, whatever the server sends, and never guesses a code.
Failures: `BadAnswer` for what is no SMTP reply; the connection is then of no more use.

Source: RFC 5321 section 4.2 (reply lines, multi-line replies), RFC 2034 (enhanced codes in them). A bare LF as line
end is accepted, since some servers send it and nothing depends on it here.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

MAX_LINE = 4096
"""Octets of one reply line; RFC 5321 4.5.3.1.5 allows 512, real servers pass it."""
MAX_LINES = 256
"""Lines of one reply."""
MAX_REPLY = 64 * 1024
"""Octets of one reply, all its lines together."""

_ENHANCED = re.compile(r"([245])\.(\d{1,3})\.(\d{1,3})(?: |\Z)")
_CODE = re.compile(rb"[2-5][0-9][0-9]\Z")


class BadAnswer(Exception):
    """The server sent something that is no SMTP reply; `reason` says what, without quoting it.

    `before`: the replies that were complete by then. A server that says "250" to a message and then nonsense has it.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.before: Sequence[Answer] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One reply. `code` 200-599; `lines`: the raw text of each line behind code and separator, without line end."""

    code: int
    lines: tuple[bytes, ...]

    @property
    def enhanced(self) -> str | None:
        """The RFC 3463 code at the head of the first line; None: none, or one of another class than `code`."""
        found = _ENHANCED.match(self.lines[0].decode("ascii", "replace"))
        if found is None or found[1] != str(self.code)[0]:
            return None
        return found[0].rstrip()

    @property
    def text(self) -> str:
        """The words of all lines on one line, without the enhanced codes; undecodable octets become U+FFFD."""
        words = []
        for raw in self.lines:
            line = raw.decode("utf-8", "replace")
            found = _ENHANCED.match(line)
            words.append(line[found.end() :] if found else line)
        return " ".join(words).strip()


class AnswerReader:
    """Collects replies from bytes as they arrive. After a BadAnswer it must not be fed again."""

    __slots__ = ("_code", "_lines", "_rest", "_size")

    def __init__(self) -> None:
        self._rest = b""
        self._lines: list[bytes] = []
        self._code = b""
        self._size = 0

    def feed(self, data: bytes) -> list[Answer]:
        """The replies that `data` completes, in order. BadAnswer when the bytes are no SMTP replies."""
        answers: list[Answer] = []
        try:
            self._feed(data, answers)
        except BadAnswer as bad:
            bad.before = answers
            raise
        return answers

    def _feed(self, data: bytes, answers: list[Answer]) -> None:
        if self._rest:
            data = self._rest + data
        *lines, self._rest = data.split(b"\n")
        for line in lines:
            if len(line) > MAX_LINE:
                raise BadAnswer("reply line too long")
            if line.endswith(b"\r"):
                line = line[:-1]
            code, mark = line[:3], line[3:4]
            if not _CODE.match(code) or mark not in (b" ", b"-", b""):
                raise BadAnswer("reply without a code")
            if self._lines and code != self._code:
                raise BadAnswer("reply with two codes")
            self._code = code
            self._lines.append(line[4:])
            self._size += len(line)
            if self._size > MAX_REPLY:
                raise BadAnswer("reply too long")
            if mark == b"-":
                if len(self._lines) >= MAX_LINES:
                    raise BadAnswer("reply with too many lines")
                continue
            answers.append(Answer(code=int(code), lines=tuple(self._lines)))
            self._lines = []
            self._size = 0
        if len(self._rest) > MAX_LINE:
            raise BadAnswer("reply line too long")

    @property
    def pending(self) -> bool:
        """True when part of a reply has come but not its end."""
        return bool(self._rest or self._lines)
