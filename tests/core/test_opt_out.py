"""gateway/mail/opt_out.py: what it finds, and that endless words do not hold it up."""

import pytest

from gateway.mail import opt_out


@pytest.mark.parametrize("word", ["a", "a.", "-", "a@", "http://", "@a."])
def test_an_endless_word_is_read_once(word: str) -> None:
    """Read again from each of its characters it would take minutes."""
    assert not opt_out.is_visible(word * (1_000_000 // len(word)))


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("unsubscribe: stop@acme.example", True),
        ("unsubscribe (x=stop@acme.example)", True),
        ("afmelden https://acme.example/u", True),
        ("unsubscribe@acme.example", True),
        ("unsubscribe at acme.example", False),
        ("write to info@acme.example", False),
    ],
)
def test_an_address_near_the_word_is_an_opt_out(text: str, found: bool) -> None:
    assert opt_out.is_visible(text) == found
