"""When two addresses are the same person (RULES.md 2.1.8), and what is no address at all."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from suppression.address import canonical

SAME = [
    ("Anna@Example.ORG", "anna@example.org"),
    ("  anna@example.org\t", "anna@example.org"),
    ("anna@BÜCHER.example", "anna@xn--bcher-kva.example"),
    ("Strasse@example.org", "strasse@example.org"),
    ("STRAßE@example.org", "strasse@example.org"),
    ("re\u0301ne\u0301@example.org", "réné@example.org"),
    ('"anna"@example.org', "anna@example.org"),
    ('"anna berg"@example.org', '"anna berg"@example.org'),
]
APART = [("anna+x@example.org", "anna@example.org"), ("an.na@example.org", "anna@example.org")]
NONE = [
    "", "anna", "anna@", "@example.org", "anna@example..org", "anna@-example.org", "an na@example.org",
    "a..b@example.org", "anna@[192.0.2.1]", "anna\x00@example.org", "ann\ufffd@example.org", "ann\ud800@example.org",
    "anna@\udfff.example.org", "x" * 65 + "@example.org",
    "x@" + "a." * 127 + "example",
]  # fmt: skip


@pytest.mark.parametrize(("written", "compared"), SAME)
def test_one_mailbox_has_one_form(written: str, compared: str) -> None:
    assert canonical(written) == compared
    assert canonical(compared) == compared


@pytest.mark.parametrize(("one", "other"), APART)
def test_plus_tags_and_dots_tell_mailboxes_apart(one: str, other: str) -> None:
    assert canonical(one) is not None and canonical(one) != canonical(other)


@pytest.mark.parametrize("written", NONE)
def test_what_is_no_mailbox_has_no_form(written: str) -> None:
    assert canonical(written) is None


@given(st.text(max_size=80) | st.builds("{}@{}".format, st.text(max_size=70), st.text(max_size=40)))
def test_a_form_is_its_own_form(written: str) -> None:
    form = canonical(written)
    assert form is None or canonical(form) == form
