"""A conversation with one system over HTTP, as values: each request, each answer, and what it came to.

A dialogue is a generator: it yields requests, is sent their answers, and returns a Verdict. It does no I/O, and knows
no clock; whoever runs it (write_back.py) does both.
"""

import json
from base64 import b64encode
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Outcome = Literal["done", "later", "never"]
LONGEST_WAIT = 6 * 3600
"""Seconds that a system may ask us to wait, at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One HTTP request. `url` is absolute. Not shown by repr: it holds personal data, and passwords."""

    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"]
    url: str
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""

    def __repr__(self) -> str:
        return f"Request({self.method})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came back. `headers` with names in lower case. `cut`: the body was longer, and the rest was not read."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = field(default=b"", repr=False)
    cut: bool = False

    def json(self) -> Any:
        """The body as JSON; None where it is none."""
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError):
            return None

    @property
    def good(self) -> bool:
        return 200 <= self.status <= 299


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What a dialogue came to. `note`: a few words for staff, without personal data. `after`: seconds it asks to wait.

    "done": the system knows. "later": try again. "never": it said that it wants no such calls.
    """

    outcome: Outcome
    note: str
    after: int | None = None


Dialogue = Generator[Request, Answer, Verdict]


def judge(answer: Answer, *, done: str = "") -> Verdict:
    """What an answer means that ends a dialogue. A redirect is no success: whom it leads to nobody checked.

    Everything but 2xx and 410 is tried again: most 4xx are a wrong setting, at one end or the other, and get mended.
    """
    if answer.good:
        return Verdict(outcome="done", note=done or str(answer.status))
    if answer.status == 410:
        return Verdict(outcome="never", note="410 gone")
    return Verdict(outcome="later", note=str(answer.status), after=_wait(answer))


def judge_api(answer: Answer, *, done: str) -> Verdict:
    """The same for an API, whose word is JSON or nothing (204). A page of 200, as a proxy or a login before the tool
    has it, told nobody; nor did an answer that speaks of errors, whatever its status."""
    if answer.good and answer.status != 204:
        said = answer.json()
        if not isinstance(said, dict) or said.get("errors"):
            return Verdict(outcome="later", note=f"{answer.status}, but not as the API answers")
    return judge(answer, done=done)


def _wait(answer: Answer) -> int | None:
    """Retry-After in seconds (RFC 9110 10.2.3); a date is not heeded, since clocks differ."""
    asked = answer.headers.get("retry-after", "").strip()
    if answer.status in (429, 503) and asked.isascii() and asked.isdigit():
        return min(int(asked[:9]), LONGEST_WAIT)
    return None


def basic(username: str, password: str) -> tuple[str, str]:
    """The header of a login (RFC 7617)."""
    return "Authorization", "Basic " + b64encode(f"{username}:{password}".encode()).decode("ascii")


def as_json(content: Mapping[str, Any]) -> bytes:
    """A body, the same for the same content."""
    return json.dumps(content, ensure_ascii=False, separators=(",", ":"), sort_keys=True).encode()


JSON_TYPE = ("Content-Type", "application/json")
