"""A copy is never given up for what is our fault or passes, never retried for what is final."""

from datetime import UTC, datetime, timedelta
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.bounce_rules import read_bounce_rules
from gateway.mail import outcome
from gateway.mail.answer import Answer, AnswerReader
from gateway.mail.judgement import judge_live
from gateway.mail.outcome import (
    DELAY_TOLD,
    LAST_TRY,
    FailureKind,
    GiveUp,
    Outcome,
    Retry,
    Stage,
    after,
    alarm,
    judge,
    judge_failure,
    move,
)

T0 = datetime(2026, 3, 2, 10, 0, tzinfo=UTC)
TWO_DAYS = timedelta(days=2)
RULES = read_bounce_rules()
WAITING = judge_failure("connect", "refused")
REFUSED = judge("rcpt", Answer(code=550, lines=(b"5.7.1 no",)))


def said(line: str) -> Answer:
    [answer] = AnswerReader().feed(line.encode() + b"\r\n")
    return answer


@pytest.mark.parametrize(
    ("stage", "line", "state", "enhanced", "over", "dead"),
    [
        ("body", "250 2.0.0 queued as 4F1", "delivered", "2.0.0", False, False),
        ("body", "250 ok", "delivered", "2.0.0", False, False),
        ("rcpt", "450 4.2.0 greylisted", "retry", "4.2.0", False, False),
        ("rcpt", "450 later", "retry", "4.0.0", False, False),
        ("rcpt", "421 4.7.0 too many", "retry", "4.7.0", True, False),
        ("rcpt", "550 5.1.1 no such user", "failed", "5.1.1", False, True),
        ("rcpt", "550 5.1.10 null MX", "failed", "5.1.10", False, True),
        ("rcpt", "550 5.2.2 mailbox full", "failed", "5.2.2", False, False),
        ("rcpt", "550 5.7.1 user unknown to policy", "failed", "5.7.1", False, False),
        ("rcpt", "550 Requested action not taken", "failed", "5.0.0", False, False),
        ("rcpt", "550 User unknown", "failed", "5.0.0", False, True),
        ("rcpt", "550 No such mailbox here", "failed", "5.0.0", False, True),
        ("rcpt", "550 unknown user or blocked for spam", "failed", "5.0.0", False, False),
        ("rcpt", "550 4.1.1 of two minds", "failed", "5.0.0", False, False),
        ("rcpt", "552 too many recipients", "retry", "4.0.0", False, False),
        ("rcpt", "552 5.2.2 over quota", "failed", "5.2.2", False, False),
        ("body", "552 5.3.4 too big", "failed", "5.3.4", False, False),
        ("body", "554 5.7.1 spam", "failed", "5.7.1", False, False),
        ("body", "550 5.1.1 unknown", "failed", "5.1.1", False, True),
        ("mail", "550 5.1.1 sender unknown", "failed", "5.1.1", False, False),
        ("mail", "530 5.7.0 authenticate first", "retry", "4.0.0", True, False),
        ("mail", "503 5.5.1 sequence", "retry", "4.0.0", True, False),
        ("data", "250 what", "retry", "4.0.0", True, False),
        ("body", "354 what", "retry", "4.0.0", True, False),
        ("greeting", "554 5.7.1 no service", "retry", "4.0.0", True, False),
        ("ehlo", "550 bad name", "retry", "4.0.0", True, False),
        ("starttls", "454 4.7.0 no TLS", "retry", "4.7.0", True, False),
        ("auth", "535 5.7.8 wrong", "retry", "4.7.0", True, False),
    ],
)  # fmt: skip
def test_replies(stage: Stage, line: str, state: str, enhanced: str, over: bool, dead: bool) -> None:
    o = judge(stage, said(line))
    assert (o.state, o.enhanced, o.connection_over) == (state, enhanced, over)
    assert judge_live(RULES, o).undeliverable is dead
    assert o.code == int(line[:3]) and o.stage == stage
    # a reply that cannot be one to a final dot says nothing of the copy
    assert o.maybe_delivered is (stage == "body" and 300 <= o.code < 400)


@given(st.sampled_from(get_args(Stage)), st.integers(200, 599), st.text(max_size=30))
def test_any_reply_has_an_outcome_and_4yz_never_ends_a_copy(stage: Stage, code: int, text: str) -> None:
    o = judge(stage, Answer(code=code, lines=(text.encode(),)))
    if 400 <= code < 500:
        assert o.state == "retry"
    if o.state == "failed":
        assert code >= 500 and stage in ("mail", "rcpt", "data", "body")
    if o.state == "delivered":
        assert 200 <= code < 300 and stage == "body"
    assert o.enhanced is not None
    assert o.enhanced[0] == {"delivered": "2", "failed": "5", "retry": "4"}[o.state]
    assert o.connection_over or code != 421


@pytest.mark.parametrize("kind", get_args(FailureKind))
def test_failures_without_a_reply(kind: FailureKind) -> None:
    o = judge_failure("data", kind)
    incapable = kind in (
        "needs_8bit", "needs_utf8", "too_large", "not_a_domain", "no_domain", "null_mx", "no_host", "loop",
    )  # fmt: skip
    assert o.state == ("failed" if incapable else "retry")
    assert o.connection_over is not incapable
    assert o.enhanced and o.enhanced[0] == ("5" if incapable else "4")
    assert o.text and not o.maybe_delivered


def test_a_reply_lost_after_the_final_dot_waits_and_is_flagged() -> None:
    for kind in ("lost", "timeout", "protocol"):
        o = judge_failure("body", kind)
        assert o.state == "retry" and o.maybe_delivered and "lost after final dot" in o.text


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("<bob@example.net>: unknown", "<[address]>: unknown"),
        ("bob@example.net... User unknown", "[address] User unknown"),
        ('"bob the@builder"@example.net no', "[address] no"),
        ("bob=40example.net bob%40example.net bob+40example.net", "[address] [address] [address]"),
        ("mailbox bob is full", "mailbox [address] is full"),
        ("Bob: bobby is not bob", "[address]: bobby is not [address]"),
        ("2.0.0 queued as 4F1A40", "2.0.0 queued as 4F1A40"),
        ("a\r\nb\x1b[2J", "a b [2J"),
        ("jürgen@exämple.de unbekannt", "[address] unbekannt"),
    ],
)
def test_addresses_are_taken_out(text: str, kept: str) -> None:
    assert outcome.without_addresses(text, "bob@example.net") == kept


@given(st.text(max_size=60), st.from_regex(r"[a-z0-9.]{1,20}", fullmatch=True), st.text(max_size=60))
def test_no_address_survives(before: str, local: str, behind: str) -> None:
    kept = outcome.without_addresses(f"{before} {local}@example.net {behind}")
    assert "@example.net" not in kept and len(kept) <= outcome.MAX_TEXT


def test_a_huge_text_is_cut() -> None:
    assert len(outcome.without_addresses("x@" * 200_000)) <= outcome.MAX_TEXT
    assert len(judge("rcpt", Answer(code=550, lines=(b"user " * 100_000,))).text) == outcome.MAX_TEXT


def test_the_address_of_the_recipient_is_not_in_the_outcome() -> None:
    o = judge("rcpt", said("550 5.1.1 bob does not live here, bob@example.net"), rcpt="bob@example.net")
    assert o.text == "[address] does not live here, [address]"


def test_delays_grow_and_end_with_one_last_try() -> None:
    tries, now, attempts = [], T0, 0
    while True:
        attempts += 1
        step = after(WAITING, attempts=attempts, first_at=T0, now=now, retry_for=TWO_DAYS, jitter=0.5)
        if isinstance(step, GiveUp):
            break
        tries.append(step.at - now)
        now = step.at
    assert step.expired and now == T0 + TWO_DAYS
    assert tries[:6] == [timedelta(minutes=m) for m in (1, 2, 5, 10, 20, 30)]
    assert tries[:-1] == sorted(tries[:-1])
    assert max(tries) == max(outcome.DELAYS)


@given(st.integers(1, 1000), st.floats(0, 1), st.integers(0, 10_000))
def test_a_retry_is_never_in_the_past_nor_behind_the_deadline(attempts: int, jitter: float, minutes: int) -> None:
    now = T0 + timedelta(minutes=minutes)
    step = after(WAITING, attempts=attempts, first_at=T0, now=now, retry_for=TWO_DAYS, jitter=jitter)
    if isinstance(step, Retry):
        assert now < step.at <= T0 + TWO_DAYS
    else:
        assert step.expired and now >= T0 + TWO_DAYS


def test_a_wait_that_is_over_by_a_clock_that_is_not_believed_goes_on() -> None:
    """The clock was set a year forward: it may be set back."""
    late = T0 + timedelta(days=365)
    for first_at, now in ((T0, late), (T0, T0 + TWO_DAYS)):
        step = after(
            WAITING, attempts=1, first_at=first_at, now=now, retry_for=TWO_DAYS, jitter=0.5, believed=False
        )  # fmt: skip
        assert step == Retry(at=now + timedelta(minutes=1))
    refused = after(REFUSED, attempts=1, first_at=T0, now=late, retry_for=TWO_DAYS, jitter=0.5, believed=False)
    assert refused == GiveUp(expired=False), "that is no question of time"


def test_jitter_spreads_and_a_refusal_ends() -> None:
    early, late = (after(WAITING, attempts=3, first_at=T0, now=T0, retry_for=TWO_DAYS, jitter=j) for j in (0.0, 1.0))
    assert early == Retry(at=T0 + timedelta(minutes=4)) and late == Retry(at=T0 + timedelta(minutes=6))
    assert after(REFUSED, attempts=1, first_at=T0, now=T0, retry_for=TWO_DAYS, jitter=0) == GiveUp(expired=False)


@pytest.mark.parametrize(
    ("what", "attempts", "now", "jitter"),
    [
        (outcome.SKIPPED, 1, T0, 0.0),
        (Outcome(state="delivered", code=250, enhanced="2.0.0", text="", stage="body"), 1, T0, 0.0),
        (WAITING, 0, T0, 0.0),
        (WAITING, 1, T0, 1.5),
        (WAITING, 1, T0.replace(tzinfo=None), 0.0),
    ],
)
def test_questions_without_an_answer(what: Outcome, attempts: int, now: datetime, jitter: float) -> None:
    with pytest.raises(ValueError):
        after(what, attempts=attempts, first_at=T0, now=now, retry_for=TWO_DAYS, jitter=jitter)


def test_every_state_is_reached_and_final_ones_are_never_left() -> None:
    reached = set(outcome.START) | set(outcome.TRANSITIONS.values())
    assert reached == set(get_args(outcome.QueueState))
    left = {state for state, _ in outcome.TRANSITIONS}
    assert left.isdisjoint(outcome.FINAL) and left | outcome.FINAL == reached
    assert {event for _, event in outcome.TRANSITIONS} == set(get_args(outcome.QueueEvent))


def test_what_the_table_does_not_allow_is_an_error() -> None:
    assert move("queued", "claim") == "claimed"
    with pytest.raises(ValueError, match="delivered copy cannot claim"):
        move("delivered", "claim")


def test_time_alone_asks_for_a_report_on_the_delay_and_then_for_the_end() -> None:
    """RFC 3461 4.1: only where DELAY was asked for; the end leaves room for the last try."""
    first, days = datetime(2026, 11, 21, 10, tzinfo=UTC), timedelta(days=2)
    told, end = first + DELAY_TOLD, first + days + LAST_TRY
    assert alarm(first, days, delay_asked=True, now=first) == told
    assert alarm(first, days, delay_asked=True, now=told) == end, "told once"
    assert alarm(first, days, delay_asked=False, now=first) == end
    assert alarm(first, timedelta(hours=1), delay_asked=True, now=first) == first + timedelta(hours=1) + LAST_TRY
