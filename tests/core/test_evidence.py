"""What proves a consent: wordings as values."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from suppression.evidence import NAME_LENGTH, WORDING_BYTES, Choice, Wording, WordingError
from suppression.fields import FactsError

SIGN_UP: dict[str, Any] = {
    "name": "form-1", "language": "nl", "layout": "<form>...</form>", "layout_type": "text/html",
    "choices": (Choice(purpose="newsletter", text="Ja, mail mij", ticked=False),), "notice_version": "p3",
    "notice_url": "https://acme.example/privacy",
}  # fmt: skip

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
said = texts.filter(str.strip)
wordings = st.builds(
    Wording,
    name=st.from_regex(r"[a-z0-9][a-z0-9 ._-]{0,20}[a-z0-9]", fullmatch=True),
    language=st.none() | st.sampled_from(["nl", "fr-BE"]),
    choices=st.lists(
        st.builds(Choice, purpose=st.none() | said, text=texts, ticked=st.none() | st.booleans()), max_size=3
    ).map(tuple),
    layout=said,
    layout_type=st.sampled_from(["text/plain", "text/html"]),
    notice_version=st.none() | said,
    notice_url=st.none() | said,
)


@given(wordings)
def test_a_wording_comes_back_from_the_bytes_that_are_kept(wording: Wording) -> None:
    """Invariant: content and name are the whole wording, and the same wording has the same bytes."""
    again = Wording.from_content(wording.name, wording.content())
    assert again == wording
    assert again.content() == wording.content()


@given(wordings, wordings)
def test_two_wordings_share_a_digest_only_when_they_say_the_same(one: Wording, other: Wording) -> None:
    assert (one.digest() == other.digest()) == (one.named("x") == other.named("x"))


def test_purposes_are_those_of_the_choices_each_once() -> None:
    boxes = [("events", True), ("newsletter", False), (None, False), ("events", None)]
    choices = tuple(Choice(purpose=purpose, text="yes", ticked=ticked) for purpose, ticked in boxes)
    assert Wording(**{**SIGN_UP, "choices": choices}).purposes == ("events", "newsletter")


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"name": " "}, "name"),
        ({"name": "a" * (NAME_LENGTH + 1)}, "name"),
        ({"name": "a\nb"}, "control characters"),
        ({"layout_type": "image/png"}, "text/plain or text/html"),
        ({"layout": " ", "choices": ()}, "without any text"),
        ({"layout": "x" * WORDING_BYTES}, "leave out pictures"),
        ({"layout": "\ud800"}, "UTF-8"),
    ],
)
def test_what_proves_nothing_is_no_wording(wrong: dict[str, Any], named: str) -> None:
    with pytest.raises(WordingError, match=named):
        Wording(**{**SIGN_UP, **wrong})


@pytest.mark.parametrize(
    ("given", "path"),
    [
        ([], "wording"),
        ({"layuot": "x"}, "wording.layuot"),
        ({"layout": 3}, "wording.layout"),
        ({"layout": "x", "language": ""}, "wording.language"),
        ({"layout": "x", "choices": {}}, "choices"),
        ({"layout": "x", "choices": [{"purpose": "a", "ticked": "no"}]}, "choices[0].ticked"),
        ({"layout": "x", "choices": [{"box": "a"}]}, "choices[0].box"),
    ],
)
def test_a_wrong_field_is_named(given: Any, path: str) -> None:
    with pytest.raises(FactsError) as refused:
        Wording.from_dict("form-1", given)
    assert refused.value.path == path


def test_bytes_that_were_changed_are_no_wording() -> None:
    with pytest.raises(FactsError):
        Wording.from_content("form-1", Wording(**SIGN_UP).content()[:-1])
