"""An attachment is in memory once, however many copies of its message are made."""

import base64
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.mail import dkim
from gateway.mail.mime import parse
from gateway.mail.plan import Wants, make_plan
from gateway.mail.rewrite import rewrite
from tests.judge import Case, judge
from tests.mails import HTML, PAGE, fill, leaf, links, message, multipart

SIGNER = dkim.load_signer("acme.example", "cg1", dkim.generate("rsa-sha256"))
KEYS = {b"cg1._domainkey.acme.example": dkim.public_record(SIGNER).encode()}
MIB = 1 << 20


def with_attachment(octets: int) -> bytes:
    text = base64.encodebytes(bytes(range(256)) * 4).replace(b"\n", b"\r\n")
    pdf = b"Content-Type: application/pdf\r\nContent-Transfer-Encoding: base64\r\n\r\n" + text * (octets // len(text))
    inner = multipart("alternative", leaf("Hoi\r\n"), leaf(HTML, "text/html", cte="quoted-printable"), boundary="in")
    return message(multipart("mixed", inner, pdf))


def test_planning_takes_the_message_once_more_and_a_copy_takes_next_to_nothing() -> None:
    raw = with_attachment(8 * MIB)
    tracemalloc.start()
    try:
        plan = make_plan(parse(raw), Wants(marketing=True, relay=True))
        copies = [rewrite(plan, fill())]  # reads back what it made, for which it puts the copy together
        first = tracemalloc.get_traced_memory()[1]
        tracemalloc.reset_peak()
        for n in range(20):
            copy = rewrite(plan, fill(links=links("A" * 98 + f"{n:02}")))
            assert dkim.sign(copy.head, copy.pieces, [SIGNER], at=1)
            copies.append(copy)
        more = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert first < 1.1 * len(raw)
    assert more < 2 * MIB
    assert len({copy.body for copy in copies}) == 21


def test_a_copy_in_pieces_is_a_whole_copy() -> None:
    raw = with_attachment(300_000)
    copy = rewrite(make_plan(parse(raw), Wants(marketing=True, relay=True)), fill())
    assert [type(piece) for piece in copy.pieces] == [bytes, memoryview, bytes]
    signature = dkim.sign(copy.head, copy.pieces, [SIGNER], at=1)
    assert signature == dkim.sign(copy.head, copy.body, [SIGNER], at=1)
    whole = signature + copy.head + b"\r\n" + copy.body
    verdict = judge(Case(before=raw, after=whole, link=PAGE, keys=KEYS))
    assert not verdict.faults
    assert verdict.edited == ["1.1", "1.2"]


@pytest.mark.parametrize("block", [1, 2, 3, 7, 256 * 1024])
@given(pieces=st.lists(st.lists(st.sampled_from(
    [b"\r\n", b"\r", b"\n", b" ", b"\t", b"  ", b"a", b".", b"word ", b" \r\n", b"\r\n\r\n"]), max_size=6
).map(b"".join), max_size=5))  # fmt: skip
def test_a_body_has_the_same_hash_whole_and_in_pieces(pieces: list[bytes], block: int) -> None:
    """However a body is cut, its hash is that of the whole; only its line ends must be CRLF."""
    whole = b"".join(pieces)
    if whole.count(b"\n") != whole.count(b"\r\n") or whole.count(b"\r") != whole.count(b"\r\n"):
        whole = whole.replace(b"\r\n", b"\n").replace(b"\r", b"").replace(b"\n", b"\r\n")
        pieces = [whole[at : at + 3] for at in range(0, len(whole), 3)]
    cut = [piece[at : at + block] for piece in pieces for at in range(0, len(piece), block)]
    assert dkim.body_digest([memoryview(piece) for piece in cut]) == dkim.body_digest(whole)
