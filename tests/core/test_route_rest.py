"""A route backs off as a whole: longer with each failure, by one trial at a time, never for what a copy was told."""

import pytest

from gateway.mail.answer import Answer
from gateway.mail.outcome import SKIPPED, Outcome, Stage, judge, judge_failure
from gateway.route_rest import FIRST_SECONDS, LONGEST_SECONDS, SPREAD, Rest, is_down


def answered(stage: Stage, code: int) -> Outcome:
    return judge(stage, Answer(code=code, lines=(b"so",)))


REFUSED = judge_failure("connect", "refused")


@pytest.mark.parametrize(("outcome", "down"), [
    (REFUSED, True), (judge_failure("ehlo", "timeout"), True), (answered("greeting", 554), True),
    (answered("auth", 535), True), (answered("mail", 421), True), (answered("mail", 451), False),
    (answered("rcpt", 421), False), (answered("rcpt", 451), False), (answered("rcpt", 550), False),
    (judge_failure("body", "lost"), False), (judge_failure("mail", "needs_utf8"), False), (SKIPPED, False),
])  # fmt: skip
def test_what_says_that_no_server_can_be_used(outcome: Outcome, down: bool) -> None:
    assert is_down(outcome) is down


def test_rests_grow_up_to_a_bound_and_what_fails_meanwhile_counts_once() -> None:
    rest, now, waited = Rest(), 1000.0, []
    for failure in range(1, 13):
        assert rest.heard(REFUSED, now) == "begins"
        assert rest.heard(REFUSED, now) is None, "of another session, at the same time"
        assert rest.failures == failure
        waited.append(rest.seconds(now))
        now += waited[-1]
        assert rest.seconds(now) == 0
    assert FIRST_SECONDS * (1 - SPREAD) <= waited[0] <= FIRST_SECONDS * (1 + SPREAD)
    assert waited[3] > 3 * waited[0]
    assert max(waited) <= LONGEST_SECONDS * (1 + SPREAD)


def test_one_answer_about_a_copy_ends_the_rest_and_silence_says_nothing() -> None:
    rest = Rest()
    assert rest.heard(answered("body", 250), 1.0) is None, "it worked all the time"
    rest.heard(REFUSED, 1.0)
    for nothing in (SKIPPED, judge_failure("body", "lost")):
        assert rest.heard(nothing, 9.0) is None and rest.failures == 1
    assert rest.heard(answered("rcpt", 550), 9.0) == "ends"
    assert (rest.failures, rest.seconds(9.0)) == (0, 0)
