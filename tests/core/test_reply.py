"""Every reply is one clean line; the reply to a set of decisions follows RULES 2.4."""

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.mail import reply
from gateway.mail.reply import OnBlock, Reply, for_decisions, for_recipient

LEVEL = frozenset({"UNCLASSIFIED_MESSAGE", "PURPOSE_MISSING", "PRODUCT_CATEGORY_UNKNOWN"})
ID = "018f0000-0000-7000-8000-000000000001"


@dataclass(frozen=True)
class Said:
    verdict: str
    reason_code: str


ALLOWED = Said("allow", "ALLOW_OPT_IN")
OUT = Said("block", "SUPPRESSED_SENDER")
DEAD = Said("block", "ADDRESS_UNDELIVERABLE")
INVALID = Said("block", "RECIPIENT_INVALID")
UNCLASSIFIED = Said("block", "UNCLASSIFIED_MESSAGE")
NO_STORE = Said("defer", "EVIDENCE_STORE_UNAVAILABLE")
NO_KEY = Said("defer", "DKIM_UNAVAILABLE")


def after_data(decisions: list[Said], on_block: OnBlock) -> str:
    return for_decisions(decisions, on_block, ID, message_level=LEVEL).line


@pytest.mark.parametrize(
    ("decisions", "on_block", "line"),
    [
        ([ALLOWED], "record", f"250 2.0.0 Message queued as {ID}"),
        ([ALLOWED, OUT], "reject", f"250 2.0.0 Message queued as {ID}"),
        ([ALLOWED, UNCLASSIFIED], "reject", f"250 2.0.0 Message queued as {ID}"),
        ([ALLOWED, NO_KEY], "record", f"250 2.0.0 Message queued as {ID}"),
        ([UNCLASSIFIED], "record", f"550 5.7.1 UNCLASSIFIED_MESSAGE reference {ID}"),
        ([OUT, UNCLASSIFIED], "bounce", f"550 5.7.1 UNCLASSIFIED_MESSAGE reference {ID}"),
        ([OUT, OUT], "reject", f"550 5.7.1 SUPPRESSED_SENDER reference {ID}"),
        ([DEAD, OUT], "reject", f"550 5.7.1 SUPPRESSED_SENDER reference {ID}"),
        ([DEAD], "reject", "550 5.1.1 ADDRESS_UNDELIVERABLE"),
        ([INVALID], "record", "501 5.1.3 RECIPIENT_INVALID Recipient address is not valid"),
        ([INVALID, OUT], "record", f"250 2.0.0 {reply.OK_RECORDED.text} {ID}"),
        ([DEAD], "bounce", f"250 2.0.0 {reply.OK_RECORDED.text} {ID}"),
        ([NO_STORE, OUT], "record", "451 4.3.0 Store not available, try again"),
        ([UNCLASSIFIED, NO_KEY], "reject", "451 4.7.0 Signing key not available, try again"),
        ([], "record", "554 5.5.1 No valid recipients"),
    ],
)
def test_after_data(decisions: list[Said], on_block: OnBlock, line: str) -> None:
    assert after_data(decisions, on_block) == line


@pytest.mark.parametrize(
    ("decision", "on_block", "line"),
    [
        (ALLOWED, "reject", None),
        (OUT, "record", None),
        (OUT, "bounce", None),
        (OUT, "reject", f"550 5.7.1 SUPPRESSED_SENDER reference {ID}"),
        (UNCLASSIFIED, "reject", None),
        (DEAD, "reject", "550 5.1.1 ADDRESS_UNDELIVERABLE"),
        (DEAD, "record", None),
        (INVALID, "record", "501 5.1.3 RECIPIENT_INVALID Recipient address is not valid"),
        (NO_STORE, "record", "451 4.3.0 Store not available, try again"),
    ],
)
def test_at_rcpt(decision: Said, on_block: OnBlock, line: str | None) -> None:
    said = for_recipient(decision, on_block, ID, message_level=LEVEL)
    assert (said.line if said else None) == line


@given(
    st.lists(st.sampled_from([ALLOWED, OUT, DEAD, INVALID, UNCLASSIFIED, NO_STORE, NO_KEY]), min_size=1),
    st.sampled_from(["record", "reject", "bounce"]),
)
def test_a_250_ends_in_the_message_id_and_somebody_allowed_is_never_refused(
    decisions: list[Said], on_block: OnBlock
) -> None:
    said = for_decisions(decisions, on_block, ID, message_level=LEVEL)
    assert (said.code == 250) == said.line.endswith(" " + ID) or said.enhanced == "5.7.1"
    if ALLOWED in decisions:
        assert said.code == 250
    elif any(d.verdict == "defer" for d in decisions):
        assert said.code == 451
    elif UNCLASSIFIED in decisions:
        assert (said.code, said.enhanced) == (550, "5.7.1")


def test_the_table_holds_every_reply_with_the_moment_it_is_given() -> None:
    assert len(reply.TABLE) > 40
    for name, said in reply.TABLE.items():
        assert said.when, name
        assert said.line.isascii() and len(said.line) <= 510, name


@pytest.mark.parametrize(
    ("code", "enhanced", "text"),
    [(250, "5.0.0", "x"), (99, None, "x"), (250, "2.0", "x"), (250, None, "a\r\nb"), (250, None, "é")],
)
def test_what_is_not_one_clean_line_is_refused(code: int, enhanced: str | None, text: str) -> None:
    with pytest.raises(ValueError):
        Reply(code=code, enhanced=enhanced, text=text)


def test_a_message_id_of_two_words_is_refused() -> None:
    with pytest.raises(ValueError):
        reply.queued("two words")


def test_an_undeclared_name_cannot_break_the_line() -> None:
    assert reply.undeclared("wijn\r\n250 ok é").line == "550 5.7.1 Not declared for this login: wijn??250 ok ?"
