"""A place gets as much as it takes, one that fails is left alone, and none takes the sessions of those that work."""

import math

import pytest

from gateway.mail.answer import Answer
from gateway.mail.outcome import Outcome, judge, judge_failure
from gateway.outbound.traffic import LATEST, PROMPT_SECONDS, PROVEN_SECONDS, REST, Ticket, Traffic, heard_of

AWAY = judge_failure("connect", "timeout")


def all_in(traffic: Traffic, domain: str, now: float) -> list[Ticket]:
    """As many as may go."""
    tickets = []
    while isinstance(ticket := traffic.admit(domain, now), Ticket):
        tickets.append(ticket)
    return tickets


@pytest.mark.parametrize(
    ("outcome", "heard"),
    [
        (judge("body", Answer(code=250, lines=(b"ok",))), "well"),
        (judge("rcpt", Answer(code=550, lines=(b"5.1.1 unknown",))), "well"),
        (judge("rcpt", Answer(code=452, lines=(b"4.2.2 full",))), "well"),
        (judge("rcpt", Answer(code=450, lines=(b"4.7.1 greylisted",))), "less"),
        (judge("body", Answer(code=451, lines=(b"4.7.500 busy",))), "less"),
        (judge("mail", Answer(code=421, lines=(b"4.7.0 rate",))), "away"),
        (judge("greeting", Answer(code=554, lines=(b"5.7.1 go away",))), "away"),
        (judge_failure("starttls", "tls_policy"), "away"),
        (judge_failure("body", "lost"), "away"),
        (judge_failure("mail", "needs_8bit"), "well"),
        (judge_failure("connect", "no_domain"), "nothing"),
        (AWAY, "away"),
    ],
)
def test_what_an_answer_says_about_the_server(outcome: Outcome, heard: str) -> None:
    assert heard_of(outcome) == heard


def test_a_window_begins_small_and_grows_with_what_is_taken() -> None:
    traffic, widths = Traffic(sessions=100, per_place=20), []
    for now in range(6):
        tickets = all_in(traffic, "a.test", now)
        widths.append(len(tickets))
        for ticket in tickets:
            traffic.done(ticket, "well", now + 0.5)
    assert widths == [2, 4, 8, 16, 20, 20]
    assert traffic.busy == 0


def test_a_server_that_wants_less_gets_less_and_grows_slowly_from_then_on() -> None:
    traffic = Traffic(sessions=100, per_place=20)
    for now in range(4):
        for ticket in all_in(traffic, "a.test", now):
            traffic.done(ticket, "well", now + 0.5)
    tickets = all_in(traffic, "a.test", 4)
    assert len(tickets) == 20
    for ticket in tickets:
        traffic.done(ticket, "less", 5)  # one setback: they were on their way together
    tickets = all_in(traffic, "a.test", 6)
    assert len(tickets) == 10
    for ticket in tickets:
        traffic.done(ticket, "well", 7)
    assert len(all_in(traffic, "a.test", 8)) == 10, "ten and nine tenths"


def test_greylisting_never_stops_a_place() -> None:
    traffic = Traffic(sessions=100, per_place=20)
    for now in range(50):
        [ticket, *_] = all_in(traffic, "a.test", now)
        traffic.done(ticket, "less", now + 0.5)
        traffic._places["a.test"].busy = 0
    assert traffic.resting == 0


def test_a_place_that_fails_rests_longer_and_longer_and_is_tried_with_one_copy() -> None:
    told: list[float] = []
    traffic = Traffic(sessions=100, per_place=20, rests=lambda place, seconds: told.append(seconds))
    now = 0.0
    for tries in range(12):
        tickets = all_in(traffic, "down.test", now)
        assert len(tickets) == (2 if tries == 0 else 1)
        for ticket in tickets:
            traffic.done(ticket, "away", now + 20, AWAY)
        now += 20
        waits = traffic.admit("down.test", now)
        if tries == 0:  # two at a time before, one now
            assert isinstance(waits, Ticket)
            traffic.done(waits, "away", now, AWAY)
            waits = traffic.admit("down.test", now)
        assert isinstance(waits, float) and waits > 0.5 * REST[0]
        now = traffic._places["down.test"].rests_until
    assert told == sorted(told, key=lambda seconds: round(math.log2(seconds / REST[0])))
    assert told[0] < 1.3 * REST[0] and 0.7 * REST[1] < told[-1] <= 1.3 * REST[1]
    assert traffic.why("down.test") is AWAY and traffic.resting == 1
    [last] = all_in(traffic, "down.test", now)
    traffic.done(last, "well", now)
    assert traffic.resting == 0 and traffic.why("down.test") is None
    assert len(all_in(traffic, "down.test", now)) == 1 + 1


def test_a_copy_that_waits_is_not_told_that_it_may_have_been_taken() -> None:
    """That was said of another copy, which was on its way when the server went."""
    traffic = Traffic(sessions=100, per_place=20)
    [ticket, *_] = all_in(traffic, "lost.test", 0.0)
    traffic.done(ticket, "away", 1.0, judge_failure("body", "lost"))
    why = traffic.why("lost.test")
    assert why is not None and why.state == "retry"
    assert not why.maybe_delivered and "twice" not in why.text


def test_dead_domains_leave_sessions_to_those_that_work() -> None:
    traffic = Traffic(sessions=40, per_place=20)
    [good, other] = all_in(traffic, "good.test", 0)
    traffic.done(good, "well", 1)
    traffic.done(other, "well", 1)
    stuck = [ticket for n in range(1000) for ticket in all_in(traffic, f"dead{n}.test", 1)]
    assert len(stuck) == 30, "three of four sessions"
    assert len(all_in(traffic, "good.test", 2)) == 4
    later = traffic.admit("dead999.test", 2)
    assert isinstance(later, float) and later > 0
    assert not all_in(traffic, "good.test", 2)
    assert len(all_in(traffic, "new.test", 2 + PROVEN_SECONDS)) == 0


def test_domains_that_take_a_copy_in_minutes_leave_sessions_to_the_prompt_ones() -> None:
    """A server may say each of its answers octet by octet, and say yes in the end."""
    traffic = Traffic(sessions=40, per_place=20)
    for now in range(4):
        for ticket in all_in(traffic, "good.test", now):
            traffic.done(ticket, "well", now + 0.5)
    for ticket in [ticket for n in range(20) for ticket in all_in(traffic, f"slow{n}.test", 10)]:
        traffic.done(ticket, "well", 10 + PROMPT_SECONDS + 1)
    stuck = [ticket for n in range(1000) for ticket in all_in(traffic, f"slow{n}.test", 80)]
    assert len(stuck) == 30, "three of four sessions"
    assert len(all_in(traffic, "good.test", 80)) == 20, "its whole window"


def test_what_has_to_wait_is_spread_over_time() -> None:
    traffic = Traffic(sessions=100, per_place=10)
    for now in range(100):
        for ticket in all_in(traffic, "big.test", now):
            traffic.done(ticket, "well", now + 0.9)
    assert len(all_in(traffic, "big.test", 100)) == 10
    waits = [traffic.admit("big.test", 100.0) for _ in range(10_000)]
    assert all(isinstance(one, float) for one in waits)
    spread = sorted(one for one in waits if isinstance(one, float))
    # ten a second were taken lately, two per session are hoped for: about twenty a second are asked back
    assert 150 <= len([one for one in spread if one <= 10]) <= 250
    assert spread[-1] <= 1.1 * LATEST


def test_domains_served_together_are_one_place() -> None:
    traffic = Traffic(sessions=100, per_place=20)
    first = [traffic.admit(f"shop{n}.test", 0) for n in range(3)]
    found = [traffic.moved(ticket, f"shop{n}.test", "mx.host.test", 0) for n, ticket in enumerate(first)
             if isinstance(ticket, Ticket)]  # fmt: skip
    assert found[:2] == [0.0, 0.0] and found[2] > 0
    assert traffic.busy == 2
    assert isinstance(traffic.admit("shop2.test", 1), float), "known by now"
    for ticket in first:
        assert isinstance(ticket, Ticket)
        traffic.done(ticket, "away", 5, AWAY)
        traffic.done(ticket, "away", 5, AWAY)
    assert traffic.busy == 0


def test_a_million_domains_take_no_more_memory_than_the_most_that_are_kept() -> None:
    traffic = Traffic(sessions=100, per_place=20, places=1000)
    [kept, _] = all_in(traffic, "in-use.test", 0)
    for n in range(20_000):
        ticket = traffic.admit(f"d{n}.test", n)
        assert isinstance(ticket, Ticket)
        assert traffic.moved(ticket, f"d{n}.test", f"mx{n}.test", n) == 0.0
        traffic.done(ticket, "away" if n % 2 else "well", n, AWAY)
    assert len(traffic._places) <= 1000 and len(traffic._sites) <= 1000
    assert "in-use.test" in traffic._places
    assert 0 <= traffic.resting <= 1000
    traffic.done(kept, "well", 20_000)
