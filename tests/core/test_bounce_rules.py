"""The first rule that fits decides; an own file overrides, adds and drops; its mistakes are named with their line."""

from datetime import UTC, datetime
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.bounce_rules import SHIPPED, read_bounce_rules
from gateway.mail.event import Event, Reason, Recipient
from gateway.mail.judgement import (
    ALIVE,
    BounceRules,
    RulesError,
    Said,
    class_of,
    code_in,
    judge_live,
    load_rules,
    reply_code_in,
    telling_status,
)
from gateway.mail.outcome import judge, judge_failure
from gateway.mail.phrase import GAP, MOST, Phrases, plain
from tests.core.test_outcome import said as answer

RULES = read_bounce_rules()


def judged(text: str, rules: BounceRules = RULES, **said: str) -> tuple[str, bool]:
    result = rules.judge(Said(text=text, **said))  # type: ignore[arg-type]
    return result.reason, result.undeliverable


@pytest.mark.parametrize(
    ("text", "stage", "reason", "dead"),
    [
        ("550 5.1.1 no such user", None, "unknown-user", True),
        ("550 5.1.10 recipient not found", None, "unknown-user", True),
        ("550 5.1.2 bad destination host", None, "unknown-host", True),
        ("550 5.4.4 host or domain name not found", None, "unknown-host", True),
        ("550 5.4.310 DNS domain example.invalid does not exist", None, "unknown-host", True),
        ("556 5.1.10 domain does not accept mail (nullMX)", None, "no-mail-accepted", True),
        ("550 5.1.6 recipient no longer on server", None, "moved", True),
        ("550 5.4.1 Recipient address rejected: Access denied", None, "unknown-user", True),
        ("550 Unknown user", "rcpt", "unknown-user", True),
        ("550 No such user - bob", "rcpt", "unknown-user", True),
        ("550 Adresse d'un destinataire invalide", "rcpt", "unknown-user", True),
        ("550 Unknown user", "data", "unknown-user", False),
        ("550 Unknown user", None, "unknown-user", False),
        ("no such user here", "local", "unknown-user", True),
        ("550 Requested action not taken", "rcpt", "undefined", False),
        ("550 5.2.2 Mailbox full", "rcpt", "mailbox-full", False),
        ("552 user is over quota", "rcpt", "mailbox-full", False),
        ("550 5.1.1 mailbox is full", "rcpt", "mailbox-full", False),
        ("550 5.4.5 Daily sending quota exceeded", "rcpt", "rate-limited", False),
        ("550 5.1.1 sent to too many recipients this hour", "rcpt", "rate-limited", False),
        ("550 5.2.1 The account is disabled", "rcpt", "inactive", False),
        ("550 5.7.1 no mail for an unknown user", "rcpt", "unknown-user", False),
        ("550 5.7.1 rejected by our policy", "rcpt", "policy", False),
        ("550 5.7.26 fails SPF and DKIM", "rcpt", "authentication", False),
        ("554 5.7.1 Service unavailable; client host blocked using zen.spamhaus.org", "rcpt", "blocked", False),
        ("550 5.1.1 unknown user or listed by spamhaus", "rcpt", "blocked", False),
        ("550 5.7.1 looks like spam", "data", "spam", False),
        ("554 5.6.0 virus found", "data", "virus", False),
        ("552 5.3.4 message too big", "data", "too-large", False),
        ("554 5.7.1 <a@b.example>: Relay access denied", "rcpt", "relaying-denied", False),
        ("553 5.1.8 sender address does not exist", "rcpt", "policy", False),
        ("550 sender verify failed: user unknown", "rcpt", "policy", False),
        ("554 5.4.6 too many hops", "data", "loop", False),
        ("address is on our suppression list", None, "suppressed", False),
        ("550 5.1.1 account or domain may not exist", None, "unknown-host", False),
        ("no words that anybody knows", None, "undefined", False),
        ("", None, "undefined", False),
    ],
)  # fmt: skip
def test_what_is_said_means(text: str, stage: str | None, reason: str, dead: bool) -> None:
    result = RULES.judge(Said(text=text, stage=stage))  # type: ignore[arg-type]
    assert (result.reason, result.undeliverable) == (reason, dead)


@pytest.mark.parametrize(
    ("stage", "line", "reason", "dead"),
    [
        ("rcpt", "550 5.1.1 nobody here", "unknown-user", True),
        ("rcpt", "550 User unknown", "unknown-user", True),
        ("body", "550 User unknown", "unknown-user", False),
        ("body", "550 5.1.1 unknown", "unknown-user", True),
        ("mail", "550 5.1.1 sender unknown", "policy", False),
        ("mail", "550 5.1.1 go away", "unknown-user", False),
        ("rcpt", "450 4.1.1 user unknown for now", "unknown-user", False),
        ("ehlo", "550 5.1.1 who are you", "network", False),
        ("body", "250 2.0.0 fine", "delivered", False),
    ],
)
def test_live_answers_are_judged_by_the_same_rules(stage: str, line: str, reason: str, dead: bool) -> None:
    result = judge_live(RULES, judge(stage, answer(line)))  # type: ignore[arg-type]
    assert (result.reason, result.undeliverable) == (reason, dead)


def test_a_failure_without_an_answer_says_nothing_about_the_address() -> None:
    assert judge_live(RULES, judge_failure("rcpt", "timeout")).bounce_class == "delayed"
    assert not judge_live(RULES, judge_failure("rcpt", "needs_utf8")).undeliverable


@given(st.sampled_from(["5.2.2", "5.7.1", "5.7.26", "4.1.1"]), st.sampled_from(["rcpt", "data", None]), st.booleans())
def test_quota_and_policy_codes_never_kill_and_nothing_temporary_does(
    code: str, stage: str | None, words: bool
) -> None:
    text = f"{code[0]}50 {code} {'no such user, user unknown' if words else 'no'}"
    assert not RULES.judge(Said(text=text, status=code, stage=stage)).undeliverable  # type: ignore[arg-type]


@given(st.text(max_size=300), st.sampled_from(["5.1.1", "4.1.1", None, "2.0.0"]))
def test_judging_is_total_and_a_living_reason_is_alive(text: str, status: str | None) -> None:
    result = RULES.judge(Said(text=text, status=status))
    assert result.reason in get_args(Reason)
    assert not (result.undeliverable and (result.reason in ALIVE or result.bounce_class != "hard"))


def test_the_class_follows_action_and_status() -> None:
    assert [class_of("failed", s) for s in ("5.1.1", "4.4.7", None)] == ["hard", "soft", "hard"]
    assert class_of("delayed", "5.1.1") == "delayed"
    assert [class_of(a, "5.0.0") for a in ("delivered", "relayed", "expanded")] == ["none"] * 3  # type: ignore[arg-type]
    assert [class_of(None, s) for s in ("2.0.0", "4.0.0", "5.0.0", None)] == ["none", "soft", "hard", "hard"]


@pytest.mark.parametrize(
    ("text", "code", "basic"),
    [
        ("550 5.1.1 no", "5.1.1", 550),
        ("550-5.7.1 no", "5.7.1", 550),
        ("5.1.0 - Unknown address error 550-'5.2.2 full'", "5.2.2", 550),
        ("nobody (#5.1.1)", "5.1.1", None),
        ("at 10.5.1.1 or 192.0.2.55", None, None),
        ("version 5.1.1.2", None, None),
        ("550 no", None, 550),
        ("port 2525, 5500 times", None, None),
    ],
)
def test_codes_in_words(text: str, code: str | None, basic: int | None) -> None:
    assert (code_in(text), reply_code_in(text)) == (code, basic)


def test_the_servers_own_code_tells_more_unless_it_is_vague_or_of_another_class() -> None:
    assert telling_status("5.0.0", "550 5.2.2 full") == "5.2.2"
    assert telling_status("5.1.1", "550 5.0.0 no") == "5.1.1"
    assert telling_status("4.4.7", "550 5.2.2 full") == "4.4.7"
    assert telling_status(None, "no") is None


OWN = """
drop = ["suppressed-by-provider"]

[[rule]]
name = "our-partner"
reason = "mailbox-full"
says = ["no room at the inn", "wait * for space"]
reporter = ["*.partner.example"]

[[rule]]
name = "code-inactive"
reason = "unknown-user"
undeliverable = true
status = ["5.2.1"]
"""


def test_an_own_file_adds_overrides_and_drops(tmp_path: Path) -> None:
    file = tmp_path / "own.toml"
    file.write_text(OWN)
    own = read_bounce_rules(file)
    assert judged("550 5.1.1 No room, at the inn!", own, reporter="mx.partner.example")[0] == "mailbox-full"
    assert judged("550 5.1.1 wait a few days for space", own, reporter="mx.partner.example")[0] == "mailbox-full"
    assert judged("550 5.1.1 No room at the inn", own, reporter="mx.example")[0] == "unknown-user"
    assert (judged("550 5.2.1 gone"), judged("550 5.2.1 gone", own)) == (("inactive", False), ("unknown-user", True))
    assert (judged("on our suppression list")[0], judged("on our suppression list", own)[0]) == (
        "suppressed",
        "undefined",
    )
    assert next(rule.name for rule in own.rules) == "our-partner"
    assert len(own.rules) == len(RULES.rules)


A_RULE = '[[rule]]\nname = "a"\nreason = "spam"\n'
MISTAKES = {
    "no TOML": ('[[rule]]\nname = a\n', "file", "Correct the line", 2),
    "unknown table": ("[rules]\n", "rules", "Known: rule, drop", 1),
    "unknown field": (A_RULE + 'colour = 1\n', "rule.1.colour", "Known: name, reason", 4),
    "no name": ('[[rule]]\nreason = "spam"\nsays = ["x"]\n', "rule.1.name", "Use lower-case letters", 1),
    "twice": ((A_RULE + 'says = ["x"]\n') * 2, "rule.2.name", "Give each rule", 6),
    "no such reason": ('[[rule]]\nname = "a"\nreason = "bad"\n', "rule.1.reason", "One of: unknown-user", 3),
    "no flag": (A_RULE + 'undeliverable = 1\nsays = ["x"]\n', "rule.1.undeliverable", "Write true", 4),
    "a living reason": (A_RULE + 'undeliverable = true\nsays = ["x"]\n', "rule.1.undeliverable", "Take it out", 4),
    "no code": (A_RULE + 'status = ["551"]\n', "rule.1.status", "Write a code", 4),
    "no stage": (A_RULE + 'stage = ["auth"]\n', "rule.1.stage", "One of: mail", 4),
    "no list": (A_RULE + 'says = "x"\n', "rule.1.says", "Write it as", 4),
    "no words": (A_RULE + 'says = ["*"]\n', "rule.1.says", "A phrase holds", 4),
    "a star in the midst": (A_RULE + 'label = ["a*b"]\n', "rule.1.label", "A * may stand", 4),
    "fits everything": (A_RULE , "rule.1", "Give it at least one", 1),
    "drops what is not there": ('drop = ["nothing"]\n', "drop", "Take it out", 1),
}  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_named_with_file_line_field_and_remedy(tmp_path: Path, mistake: str) -> None:
    text, field, remedy, line = MISTAKES[mistake]
    file = tmp_path / "own.toml"
    file.write_text(text)
    with pytest.raises(RulesError) as caught:
        read_bounce_rules(file)
    wrong = caught.value
    assert (wrong.file, wrong.field, wrong.line) == (str(file), field, line)
    assert wrong.remedy.startswith(remedy)
    assert str(wrong).startswith(f"{file}:{line}: {field}: ")


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(RulesError, match=r"own\.toml: file: cannot be read"):
        read_bounce_rules(tmp_path / "own.toml")
    (tmp_path / "own.toml").write_bytes(b"\xff")
    with pytest.raises(RulesError, match=r"own\.toml: file: is not UTF-8 text"):
        read_bounce_rules(tmp_path / "own.toml")


def test_the_rules_that_ship_stand_by_themselves() -> None:
    """Every rule can decide something: none is hidden behind one that asks for less."""
    assert len({rule.name for rule in RULES.rules}) == len(RULES.rules) > 50
    for number, rule in enumerate(RULES.rules):
        for earlier in RULES.rules[:number]:
            hidden = set(rule.says.written) & set(earlier.says.written)
            wider = not (earlier.unless or earlier.status or earlier.stage or earlier.reporter or earlier.label)
            assert not (hidden and wider), (rule.name, earlier.name, hidden)
        for longer in rule.says.written:
            shorter = [one for one in rule.says.written if one != longer and "*" not in one]
            assert not any(plain(one).rstrip() in plain(longer) for one in shorter if "*" not in longer), longer
    assert load_rules(SHIPPED.read_text("utf-8")).rules[0].name == RULES.rules[0].name


@pytest.mark.parametrize(
    ("text", "phrase", "there"),
    [
        ("User <bob@example.net> doesn't exist.", "user does not exist", True),
        ("BOÎTE AUX LETTRES PLEINE", "boite aux lettres pleine", True),
        ("Mailbox\tis\r\n FULL!", "mailbox is full", True),
        ("successfully done", "full", False),
        ("fully booked", "full", True),
        ("user bob of the house unknown", "user * unknown", True),
        ("user " + "x" * (GAP + 10) + " unknown", "user * unknown", False),
        ("この宛先不明です", "宛先不明", True),
        ("[address] unknown", "address", False),
    ],
)
def test_phrases(text: str, phrase: str, there: bool) -> None:
    assert Phrases([phrase]).within(plain(text)) is there


@given(st.text(max_size=200))
def test_plain_is_total_and_settles(text: str) -> None:
    assert plain(plain(text)).split() == plain(text).split()
    assert len(plain("x" * (2 * MOST))) <= MOST + 2


def test_an_event_has_an_instant_with_a_zone() -> None:
    with pytest.raises(ValueError, match="aware"):
        Event(kind="other", source="mail", at=datetime(2026, 3, 2))  # noqa: DTZ001
    assert Event(kind="other", source="mail", at=datetime(2026, 3, 2, tzinfo=UTC)).recipients == ()
    assert Recipient(address=None).bounce_class == "none"
