"""Whatever comes in, something sensible comes out, at a cost that follows from the octets looked at alone."""

import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.bounce_rules import read_bounce_rules
from gateway.mail.came_back import FEW, MOST, open_message
from gateway.mail.delivery_report import MOST_RECIPIENTS
from gateway.mail.event import Action, BounceClass, Event, FeedbackType, Kind, Reason
from gateway.mail.human_reply import own_words
from gateway.mail.outcome import MAX_TEXT
from gateway.mail.returned import read
from tests.core.test_bounce_reports import HEADER, PLAIN, STANDARD, plain, report
from tests.core.test_feedback import MAIL
from tests.core.test_replies import QUOTES

RULES = read_bounce_rules()
NOW = datetime(2026, 3, 2, 10, 0, tzinfo=UTC)
ARF = (
    "Content-Type: multipart/report; report-type=feedback-report; boundary=b\n\n--b\n"
    "Content-Type: message/feedback-report\n\nFeedback-Type: abuse\n"
    f"--b\nContent-Type: message/rfc822\n\n{MAIL}\n--b--\n"
)
SEEDS = [
    *(report(part, words="<bob@example.net>: no", returned=MAIL) for part, _ in STANDARD.values()),
    *(plain(words) for words, _ in PLAIN.values()), *(f"Subject: Re: x\n\n{text}" for text in QUOTES.values()), ARF,
]  # fmt: skip


def sensible(event: Event) -> None:
    assert event.kind in get_args(Kind)
    assert event.feedback_type in (None, *get_args(FeedbackType))
    assert len(event.recipients) <= MOST_RECIPIENTS and len(event.original.tokens) <= FEW
    for one in event.recipients:
        assert one.action in (None, *get_args(Action)) and one.bounce_class in get_args(BounceClass)
        assert one.reason in get_args(Reason) and len(one.diagnostic) <= MAX_TEXT
        assert one.address is None or len(one.address) <= 600
        assert not one.undeliverable or one.bounce_class == "hard"
        assert one.status is None or one.status[0] in "245"


@given(st.binary(max_size=2000))
def test_random_octets_never_raise(raw: bytes) -> None:
    sensible(read(raw, rules=RULES, at=NOW))


@given(st.lists(st.sampled_from(["+2AA-", "+3wA-", "+2D3cAA-", "a", " ", "+"]), max_size=30).map("".join))
def test_what_is_read_can_be_written_down(spelt: str) -> None:
    """UTF-7 can spell halves of characters: a page that showed one would be an error."""
    raw = f"Subject: =?utf-7?q?{spelt.replace(' ', '_')}?=\nContent-Type: text/plain; charset=utf-7\n\n{spelt}\n"
    mail = open_message(raw.encode())
    for text in (mail.field(b"subject"), mail.written, own_words(mail)):
        assert text.encode().decode() == text


@given(st.text(max_size=500), st.text(max_size=500), st.sampled_from(["text/plain", "text/html", "multipart/mixed"]))
def test_any_text_from_a_daemon_never_raises(subject: str, text: str, kind: str) -> None:
    raw = f"From: MAILER-DAEMON@x.example\nSubject: {subject}\nContent-Type: {kind}\n\n{text}"
    sensible(read(raw.encode("utf-8", "surrogatepass"), rules=RULES, at=NOW))


@given(
    st.sampled_from(SEEDS),
    st.lists(st.tuples(st.floats(0, 1), st.integers(0, 30), st.binary(max_size=20)), max_size=8),
    st.booleans(),
)
@settings(max_examples=300)
def test_mutated_reports_never_raise(seed: str, changes: list[tuple[float, int, bytes]], crlf: bool) -> None:
    raw = seed.encode()
    for place, length, new in changes:
        at = int(place * len(raw))
        raw = raw[:at] + new + raw[at + length :]
    sensible(read(raw.replace(b"\n", b"\r\n") if crlf else raw, rules=RULES, at=NOW))


@given(st.sampled_from(SEEDS), st.floats(0, 1))
def test_a_report_cut_anywhere_is_read_as_far_as_it_goes(seed: str, place: float) -> None:
    sensible(read(seed.encode()[: int(place * len(seed))], rules=RULES, at=NOW))


@given(st.sampled_from(SEEDS))
def test_line_ends_do_not_matter(seed: str) -> None:
    unix, dos = seed.encode(), seed.encode().replace(b"\n", b"\r\n")
    assert read(unix, rules=RULES, at=NOW) == read(dos, rules=RULES, at=NOW)


def test_every_file_of_the_corpus_is_read(corpus: Path) -> None:
    for folder in ("bounces", "complaints", "newsletters", "signed", "mime-torture", "smuggling"):
        for file in sorted((corpus / folder).iterdir()):
            if file.is_file():
                event = read(file.read_bytes(), rules=RULES, at=NOW)
                sensible(event)
                if folder == "newsletters":
                    assert event.kind in ("other", "auto-reply"), file.name


def calls(work: Callable[[], Any]) -> int:
    """How many calls, of Python's own functions too, a piece of work makes."""
    count = 0

    def counted(frame: object, event: str, argument: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(counted)
    try:
        work()
    finally:
        sys.setprofile(None)
    return count


DAEMON = b"From: MAILER-DAEMON@x.example\r\nSubject: failure notice\r\n\r\n"
PERSON = b"From: bob@x.example\r\nSubject: Re: news\r\n\r\n"
PAGE = b"From: bob@x.example\r\nSubject: Re: news\r\nContent-Type: text/html\r\n\r\n"
STATUS = report(HEADER).encode().partition(b"Reporting-MTA")[0]
# name: what stands before, and what is said over and over
HOSTILE = {
    "one word": (DAEMON, b"a"),
    "at signs": (DAEMON, b"@"),
    "half addresses": (DAEMON, b"a@"),
    "brackets": (DAEMON, b"<"),
    "addresses": (DAEMON, b"<a@b.example>:\r\n"),
    "blank lines": (DAEMON, b" \r\n"),
    "codes": (DAEMON, b"5.1.1."),
    "replies": (DAEMON, b"550 5.1.1 no\r\n"),
    "commands": (DAEMON, b"RCPT TO: <a@b> "),
    "phrases": (DAEMON, b"user "),
    "separators": (DAEMON, b"--- Original message\r\n"),
    "headers": (DAEMON, b"From: a\r\nTo: b\r\n"),
    "recipients": (STATUS, b"Final-Recipient: rfc822;a@b.example\r\nAction: failed\r\nStatus: 5.1.1\r\n\r\n"),
    "folds": (STATUS + b"Final-Recipient: rfc822;a@b\r\nDiagnostic-Code: x", b"\r\n x"),
    "fields": (STATUS, b"Diagnostic-Code: smtp; 550 no\r\n"),
    "quotes": (PERSON, b"> a\r\n"),
    "introductions": (PERSON, b"On a wrote "),
    "broken introductions": (PERSON, b"On a\r\nwrote x\r\n"),
    "rulers": (PERSON, b"_"),
    "dashes": (PERSON, b"-----\r\n"),
    "blocks": (PERSON, b"From: a\r\nSent: b\r\n"),
    "stops": (PERSON, b"stop "),
    "tags": (PAGE, b"<a "),
    "open tags": (PAGE, b"<"),
    "styles": (PAGE, b"<style>"),
    "comments": (PAGE, b"<!--"),
    "quotations": (PAGE, b"<blockquote>"),
    "classes": (PAGE, b"class="),
    "entities": (PAGE, b"&#1"),
    "tokens": (DAEMON, b"A" * 83 + b" "),
    "return paths": (DAEMON, b"b+aaaa"),
    "nothing": (b"", b"\0"),
    "returns": (b"", b"\r"),
    "long header": (b"X: ", b"y"),
    "subjects": (b"Subject: ", b"Re: "),
    "authors": (b"From: ", b"<"),
    "failed": (b"X-Failed-Recipients: ", b"a@b.example,"),
    "ids": (b"References: ", b"<a"),
    "parts": (b"Content-Type: multipart/mixed; boundary=x\r\n\r\n", b"--x\r\n\r\na\r\n"),
    "messages": (b"", b"Content-Type: message/rfc822\r\n\r\n"),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_five_megabytes_of_malice_cost_what_one_does(kind: str) -> None:
    """Nothing behind the first octets is looked at, and within them the work grows no faster than the octets.

    What calls do not show, a pattern that goes back and forth within one search, would keep this test from ending.
    """
    before, repeated = HOSTILE[kind]

    def cost(octets: int) -> int:
        raw = before + repeated * (octets // len(repeated))
        return calls(lambda: sensible(read(raw, rules=RULES, at=NOW)))

    cost(10_000)  # phrases are brought into form when first looked for
    small, whole, beyond = cost(MOST // 8), cost(MOST), cost(5 * MOST)
    assert beyond <= whole * 1.1 + 1000
    assert whole <= 10 * small + 100_000
