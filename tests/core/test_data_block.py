"""gateway/inbound/data_block.py: where a message ends and what of it is taken (RFC 5321 4.1.1.4, 4.5.2)."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from gateway.inbound.data_block import DataBlock
from gateway.mail import reply
from gateway.mail.reply import Reply

ODD = st.lists(
    st.sampled_from([b"\r", b"\n", b"\r\n", b".", b"..", b"\r\n.\r\n", b"\0", b"a", b"Subject: x"]), max_size=25
)
LINES = st.lists(st.text(alphabet=".ab \x85\x0b\x0c€", max_size=8), max_size=8)


def stuffed(content: bytes) -> bytes:
    """Content as a client sends it: dots doubled, end behind it (RFC 5321 4.5.2)."""
    lines = content.split(b"\r\n")
    return b"\r\n".join(b"." + line if line.startswith(b".") else line for line in lines) + b".\r\n"


def read(sent: bytes, cuts: list[int], limit: int = 10_000) -> tuple[bytes | Reply, bytes, DataBlock]:
    """(what came of it, what was left over, the block) with the bytes cut into chunks at `cuts`."""
    block, at = DataBlock(limit), 0
    for end in [*sorted({cut % (len(sent) + 1) for cut in cuts} - {0}), len(sent)]:
        chunk = sent[at:end]
        used = block.feed(chunk)
        if used is not None:
            return block.content(), sent[at + used :], block
        at = end
    raise AssertionError("the end was not found")


@given(LINES, st.lists(st.integers(0, 400), max_size=30))
def test_any_chunks_give_the_same_content(lines: list[str], cuts: list[int]) -> None:
    """However the octets are cut, content and left-over are those of one piece, and dots come back as they were."""
    content = b"".join(line.encode() + b"\r\n" for line in lines)
    sent = stuffed(content) + b"NOOP\r\n"
    got, left, _ = read(sent, cuts)
    assert (got, left) == (content, b"NOOP\r\n")


@given(ODD, st.lists(st.integers(0, 200), max_size=20))
@example([], [1, 2])
@example([b"\r", b"\n", b".", b"\r", b"\n"], [1, 2, 3, 4])
def test_only_crlf_dot_crlf_ends_a_message(pieces: list[bytes], cuts: list[int]) -> None:
    """The block ends at the first CRLF.CRLF (or "." CRLF at once), whatever stands before it and however it is cut."""
    sent = b"".join(pieces) + b"\r\n.\r\n"
    end = (b"\r\n" + sent).index(b"\r\n.\r\n") + 3
    got, left, block = read(sent, cuts)
    assert left == sent[end:]
    assert block.octets == end
    body = sent[: end - 3]
    clean = not body.replace(b"\r\n", b"").translate(None, bytes(set(range(256)) - set(b"\r\n\0")))
    assert (got == reply.BARE_LINE_END) is (not clean)


def test_octet_by_octet() -> None:
    content = b"Subject: x\r\n\r\n.\r\n..\r\n.text\r\n\r\n"
    sent = stuffed(content)
    block = DataBlock(1000)
    ends = [block.feed(sent[i : i + 1]) for i in range(len(sent))]
    assert ends == [None] * (len(sent) - 1) + [1]
    assert block.content() == content


def test_the_limit_counts_content_only() -> None:
    fits = b"\r\n" + b"x" * 96 + b"\r\n"
    assert read(fits + b".\r\n", [50], limit=100)[0] == fits
    assert read(b"x" + fits + b".\r\n", [50], limit=100)[0] == reply.TOO_LARGE


def test_what_is_too_large_is_read_to_its_end_and_not_kept() -> None:
    block = DataBlock(1000)
    for _ in range(10_000):
        assert block.feed(b"x" * 100) is None
        assert block.kept <= 1100
        assert len(block._kept) == block.kept
    assert block.feed(b"\r\n.\r\nNOOP\r\n") == 5
    assert block.content() == reply.TOO_LARGE
    assert block.octets == 1_000_005


def test_the_first_reason_stays() -> None:
    block = DataBlock(10)
    block.drop(reply.QUEUE_FULL)
    assert block.feed(b"x" * 100 + b"\r\n.\r\n") == 105
    assert block.content() == reply.QUEUE_FULL


def test_header_lines() -> None:
    long = b"X: " + b"y" * 996
    assert read(long + b"\r\n\r\nbody\r\n.\r\n", [])[0] == reply.HEADER_TOO_LONG
    assert read(long + b"\r\n.\r\n", [])[0] == reply.HEADER_TOO_LONG, "a message that is only header"
    assert isinstance(read(b"Subject: x\r\n\r\n" + long + b"\r\n.\r\n", [])[0], bytes)
    assert isinstance(read(b"\r\n" + long + b"\r\n.\r\n", [])[0], bytes), "an empty header"
