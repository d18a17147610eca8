"""Whatever the mail, a copy is the mail and nothing is lost: generated trees, judged by the standard library."""

import re

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from gateway.mail import transfer
from gateway.mail.headers import Unparsable
from gateway.mail.mime import parse
from gateway.mail.plan import Wants, make_plan
from gateway.mail.rewrite import NotInjectable, rewrite
from tests.mail_trees import TOOL, trees
from tests.mails import FOOTER, FRENCH, PAGE, defects, fill, leaves, message, octets, read


@given(trees(), st.sampled_from(["auto", "always", "never"]), st.sampled_from([FOOTER, FRENCH]), st.booleans())
@settings(max_examples=120, deadline=None)
def test_a_copy_is_the_mail_with_a_link(root: bytes, footer: str, words: object, relay: bool) -> None:
    """A copy has the parts of the original; each is what it was, or what it was with our link in it."""
    raw = message(root, more=TOOL)
    plan = make_plan(parse(raw), Wants(marketing=True, footer=footer, relay=relay))  # type: ignore[arg-type]
    try:
        done = rewrite(plan, fill(footer=words))
    except NotInjectable:
        assert plan.unsubscribe == "not_injectable"
        return
    out = done.head + b"\r\n" + done.body
    assert out.count(b"\r\n") == out.count(b"\n") == out.count(b"\r")
    before, after = leaves(read(raw)), leaves(read(out))
    assert list(before) == list(after)
    edited = {one.part.path: one for one in plan.leaves}
    for path, old in before.items():
        if path not in edited:
            assert octets(after[path]) == octets(old)
            continue
        assert PAGE.encode() in octets(after[path])
        was, now = readable(old), readable(after[path])
        if was is not None and not any(change.end > change.start for change in edited[path].changes):
            assert now is not None and inserted(was, now)
    assert set(defects(read(out))) <= set(defects(read(raw)))
    assert done.footer != "fields-only" or plan.protection is not None


@given(trees(), st.booleans(), st.sampled_from([FOOTER, FRENCH]), st.booleans())
@settings(max_examples=150, deadline=None)
def test_without_8bitmime_a_copy_is_the_same_mail_in_seven_bits(
    root: bytes, marketing: bool, words: object, eight: bool
) -> None:
    """A seven-bit copy decodes to what the usual one does, and has no octet over 127 unless nobody may touch it."""
    raw = message(root, more=TOOL + ("Content-Transfer-Encoding: 8bit\r\n" if eight else ""))
    usual, seven = (
        make_plan(parse(raw), Wants(marketing=marketing, relay=True, seven_bit=asked)) for asked in (False, True)
    )
    try:
        was, now = (rewrite(plan, fill(footer=words)) for plan in (usual, seven))
    except NotInjectable:
        assert "not_injectable" in (usual.unsubscribe, seven.unsubscribe)
        return
    before, after = (leaves(read(done.head + b"\r\n" + done.body)) for done in (was, now))
    assert list(before) == list(after)
    for path, old in before.items():
        assert comparable(after[path]) == comparable(old), path
    assert now.body.count(b"\r\n") == now.body.count(b"\n") == now.body.count(b"\r")
    kept = seven.protection is not None or b"multipart/signed" in raw or b"message/rfc822" in raw
    assert kept or now.body.isascii(), now.body


def comparable(part: object) -> object:
    """What a reader of a leaf sees; for text, its characters where the octets mean some."""
    text = readable(part) if part.get_content_maintype() == "text" else None  # type: ignore[attr-defined]
    return octets(part) if text is None else text.removeprefix("\ufeff")  # type: ignore[arg-type]


def readable(part: object) -> str | None:
    charset = str(part.get_content_charset())  # type: ignore[attr-defined]
    try:
        return octets(part).decode("ascii" if charset == "x-no" else charset)  # type: ignore[arg-type]
    except UnicodeDecodeError:
        return None


def inserted(was: str, now: str) -> bool:
    """Whether `now` is `was` with one run of characters put in; a byte order mark may go."""
    was = was.removeprefix("\ufeff")
    start = 0
    while start < len(was) and was[start] == now[start]:
        start += 1
    end = 0
    while end < len(was) - start and was[-1 - end] == now[-1 - end]:
        end += 1
    return start + end == len(was)


@given(
    st.sampled_from(["quoted-printable", "base64"]),
    st.lists(st.sampled_from(
        [b"=", b"==", b"=3D", b"=\r\n", b"= \r\n", b"\r\n", b"QUJD", b"QQ==", b"Q", b" ", b"=4", b"text", b"</body>"]
    ), max_size=12).map(b"".join),
    st.sampled_from(["text/plain", "text/html"]),
    st.sampled_from([b"", b"--b1--\r\n"]),
)  # fmt: skip
@settings(max_examples=200, deadline=None)
def test_badly_encoded_bodies_keep_what_they_say(cte: str, body: bytes, kind: str, end: bytes) -> None:
    """However badly a body is encoded, what it decodes to is kept, and the link is readable."""
    part = f"Content-Type: {kind}\r\nContent-Transfer-Encoding: {cte}\r\n\r\n".encode() + body
    raw = message(b'Content-Type: multipart/mixed; boundary="b1"\r\n\r\n--b1\r\n' + part + b"\r\n" + end)
    plan = make_plan(parse(raw), Wants(marketing=True))
    done = rewrite(plan, fill())
    old, new = parse(raw).root.children[0], parse(done.head + b"\r\n" + done.body).root.children[0]
    encoding = transfer.encoding_of(new.get(b"content-transfer-encoding"))
    assert encoding is not None
    was, now = transfer.decode(cte, old.body), transfer.decode(encoding, new.body)  # type: ignore[arg-type]
    assert now.count(PAGE.encode()) == 1
    assert inserted(was.decode("latin-1"), now.decode("latin-1"))
    assert octets(read(done.head + b"\r\n" + done.body).get_payload()[0]).count(PAGE.encode()) == 1  # type: ignore[union-attr, arg-type, index]


@given(st.binary(max_size=300), st.booleans())
@settings(max_examples=300, deadline=None)
def test_any_octets_are_refused_or_passed(raw: bytes, fielded: bool) -> None:
    """Whatever the octets, they are refused as no message, or a copy comes out whose body is theirs."""
    if fielded:
        raw = b"Subject: x\r\n\r\n" + re.sub(rb"[\r\n\0]", b"\r\n", raw)
    try:
        parsed = parse(raw)
    except Unparsable:
        assume(not fielded)
        return
    done = rewrite(make_plan(parsed, Wants(marketing=False)), fill(links=None, footer=None))
    assert done.body == raw[parsed.body_start :]
    assert done.head.endswith(b"\r\n") and done.head.count(b"\n") == done.head.count(b"\r\n") == done.head.count(b"\r")
