"""However the bytes of a reply are cut, the same replies come out; nonsense is never taken for a reply."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.mail.answer import MAX_LINE, MAX_LINES, MAX_REPLY, Answer, AnswerReader, BadAnswer

CASES = [
    (b"250 2.1.0 ok\r\n", [(250, "2.1.0", "ok")]),
    (b"250-mx.example\r\n250-SIZE 1000\r\n250 8BITMIME\r\n", [(250, None, "mx.example SIZE 1000 8BITMIME")]),
    (b"550-5.1.1 No such\r\n550 5.1.1 mailbox\r\n", [(550, "5.1.1", "No such mailbox")]),
    (b"250 2.1.0 a\r\n250 2.1.5 b\r\n354 go\r\n", [(250, "2.1.0", "a"), (250, "2.1.5", "b"), (354, None, "go")]),
    (b"250 ok\n", [(250, None, "ok")]),
    (b"250\r\n", [(250, None, "")]),
    (b"250 \r\n", [(250, None, "")]),
    (b"550 4.7.1 of two minds\r\n", [(550, None, "of two minds")]),
    (b"550 5.1.1x ok\r\n", [(550, None, "5.1.1x ok")]),
    (b"450 4.2.0\r\n", [(450, "4.2.0", "")]),
    (b"250 caf\xc3\xa9 \xff\r\n", [(250, None, "café �")]),
]


@pytest.mark.parametrize(("data", "said"), CASES)
def test_whole_and_byte_by_byte_and_with_more_behind_it(data: bytes, said: list[tuple[int, str | None, str]]) -> None:
    def shown(answers: list[Answer]) -> list[tuple[int, str | None, str]]:
        return [(a.code, a.enhanced, a.text) for a in answers]

    assert shown(AnswerReader().feed(data)) == said
    reader = AnswerReader()
    assert shown([a for i in range(len(data)) for a in reader.feed(data[i : i + 1])]) == said
    assert not reader.pending
    reader = AnswerReader()
    assert shown(reader.feed(data + b"22")) == said
    assert reader.pending and shown(reader.feed(b"1 bye\r\n")) == [(221, None, "bye")]


@pytest.mark.parametrize(
    "data",
    [
        b"hello\r\n",
        b"\r\n",
        b"250_ok\r\n",
        b"2500 ok\r\n",
        b"199 no\r\n",
        b"650 no\r\n",
        b"25 no\r\n",
        b" 250 no\r\n",
        "²50 no\r\n".encode("latin-1"),
        b"250-a\r\n550 b\r\n",
        b"250 " + b"x" * MAX_LINE + b"\r\n",
        b"x" * (MAX_LINE + 1),
        b"250-x\r\n" * (MAX_LINES + 1),
        (b"250-" + b"x" * 1000 + b"\r\n") * (MAX_REPLY // 1000 + 1),
    ],
)
def test_nonsense_is_refused(data: bytes) -> None:
    with pytest.raises(BadAnswer):
        AnswerReader().feed(data)


def test_what_was_said_before_the_nonsense_was_said() -> None:
    for nonsense in (b"\r\n", b"x" * (MAX_LINE + 1), b"x" * (MAX_LINE + 1) + b"\r\n"):
        with pytest.raises(BadAnswer) as bad:
            AnswerReader().feed(b"250-a\r\n250 2.0.0 ok\r\n354 go\r\n" + nonsense)
        assert [answer.code for answer in bad.value.before] == [250, 354]


@given(st.lists(st.binary(max_size=300), max_size=30))
def test_any_bytes_give_answers_or_a_refusal_and_never_a_growing_buffer(pieces: list[bytes]) -> None:
    reader = AnswerReader()
    for piece in pieces:
        try:
            answers = reader.feed(piece)
        except BadAnswer:
            break
        assert all(200 <= answer.code <= 599 and "\n" not in answer.text for answer in answers)
        assert len(reader._rest) <= MAX_LINE and len(reader._lines) < MAX_LINES
