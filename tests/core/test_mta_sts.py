"""A policy is read as RFC 8461 has it, and what is none is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.outbound.mta_sts import BadPolicy, parse

GOOD = "version: STSv1\r\nmode: enforce\r\nmx: mail.a.test\r\nmx: *.b.test\r\nmax_age: 604800\r\n"


def test_a_policy_is_read() -> None:
    policy = parse(GOOD)
    assert (policy.mode, policy.mx, policy.max_age) == ("enforce", ("mail.a.test", "*.b.test"), 604800)
    assert parse(GOOD.replace("\r\n", "\n").rstrip()) == policy, "line ends of either kind, the last one or none"
    assert parse("x-more: 1\n" + GOOD + "mode: none\nmax_age: 1\n") == policy, "the first counts, unknown ones do not"
    assert parse(GOOD.replace("mail.a.test", "  MAIL.A.test. ")) == policy
    assert parse("version: STSv1\nmode: none\nmax_age: 0").mx == ()


@pytest.mark.parametrize(
    ("host", "allowed"),
    [
        ("mail.a.test", True), ("MAIL.a.test.", True), ("x.mail.a.test", False), ("a.test", False),
        ("one.b.test", True), ("two.one.b.test", False), ("b.test", False), ("xb.test", False),
    ],
)  # fmt: skip
def test_a_star_stands_for_one_label(host: str, allowed: bool) -> None:
    assert parse(GOOD).allows(host) is allowed


@pytest.mark.parametrize(
    "text",
    [
        "", "hello", GOOD.replace("STSv1", "STSv2"), GOOD.replace("version: STSv1\r\n", ""),
        GOOD.replace("enforce", "Enforce"), GOOD.replace("mode: enforce\r\n", ""),
        GOOD.replace("604800", "31557601"), GOOD.replace("604800", "-1"), GOOD.replace("604800", "1e3"),
        GOOD.replace("604800", "\u0661"), GOOD.replace("max_age: 604800\r\n", ""), GOOD.replace("mx: ", "mx "),
        GOOD.replace("*.b.test", "*.*.test"), GOOD.replace("*.b.test", "m*.b.test"), GOOD.replace("*.b.test", "*"),
        GOOD.replace("*.b.test", "a b.test"), GOOD.replace("*.b.test", ""), GOOD + "mx: x.test\n" * 63,
        "version: STSv1\nmode: testing\nmax_age: 1\n", "<html>" + GOOD,
    ],
)  # fmt: skip
def test_what_is_no_policy_is_refused(text: str) -> None:
    with pytest.raises(BadPolicy):
        parse(text)


def test_white_space_costs_no_more_than_other_octets() -> None:
    assert parse(GOOD + "x:" + " " * 30_000 + "a" + " \t" * 15_000 + "b \n").mode == "enforce"


@given(st.text(alphabet="versionSTv1mdeforcaxg_:*. \r\n0123456789", max_size=200))
def test_any_text_is_a_policy_or_none(text: str) -> None:
    try:
        policy = parse(GOOD + text)
    except BadPolicy:
        return
    assert policy.mode == "enforce" and policy.max_age == 604800 and policy.allows("mail.a.test")
