"""Every file in tests/vectors/smtp is one conversation with a listener, line by line. Its README is docs of the form.

c: TEXT      send TEXT and CRLF; escapes \\r \\n \\0 \\xHH \\\\ and {plain:NAME:PASSWORD}, {b64:TEXT}, {x:COUNT}
c~ TEXT      send TEXT as it is, without CRLF
s: PREFIX    one whole reply; its last line begins with PREFIX
s+ LINE      a line of the reply just read
s! closed    the server closed
took N       so many messages were taken so far
got F=VALUE  field F of the last envelope; `content` with escapes, `rcpts` separated by blanks
"""

from __future__ import annotations

import base64
import re
from pathlib import Path

import pytest
from front_door import (
    HASHES,
    OPEN_TO_LOOPBACK,
    Client,
    Story,
    connect,
    make_config,
    make_login,
    return_path,
    submission,
)

from gateway.mail import reply
from gateway.mail.envelope import Envelope

FOLDER = Path(__file__).parent.parent / "vectors" / "smtp"
CASES = sorted(FOLDER.glob("*.dialog"))


def unescape(text: str) -> bytes:
    text = re.sub(r"\{x:(\d+)\}", lambda m: "x" * int(m[1]), text)
    text = re.sub(r"\{b64:([^}]*)\}", lambda m: base64.b64encode(m[1].encode()).decode(), text)
    text = re.sub(
        r"\{plain:([^:}]*):([^}]*)\}", lambda m: base64.b64encode(f"\0{m[1]}\0{m[2]}".encode()).decode(), text
    )
    octets = text.encode()
    names = {b"r": b"\r", b"n": b"\n", b"0": b"\0", b"\\": b"\\"}
    return re.sub(rb"\\(x[0-9a-f]{2}|[rn0\\])", lambda m: names.get(m[1]) or bytes([int(m[1][1:], 16)]), octets)


def assert_got(last: Envelope, text: str, where: str) -> None:
    field, _, value = text.partition("=")
    if field == "content":
        assert last.content == unescape(value), where
    elif field == "rcpts":
        assert " ".join(rcpt.address for rcpt in last.rcpts) == value, where
    elif field == "rcpt.0":
        assert str(sorted(last.rcpts[0].notify)) + f" {last.rcpts[0].orcpt}" == value, where
    else:
        assert str(getattr(last, field)) == value, f"{where}, but {getattr(last, field)!r}"


async def play(path: Path, client: Client, story: Story) -> None:
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        what, _, text = line.partition(" ")
        where = f"{path.name}:{number}: {line}"
        match what:
            case "" | "#" | "listener":
                continue
            case "c:":
                await client.send(unescape(text) + b"\r\n")
            case "c~":
                await client.send(unescape(text))
            case "s:":
                answer = await client.reply()
                assert text and answer.startswith(text), f"{where}, but {answer!r}"
                assert answer[3:4] == " " and (
                    answer[:3] in ("220", "250", "334", "354") or re.match(r"\d{3} [245]\.\d\.\d+ ", answer)
                ), f"{where}: no enhanced code in {answer!r}"
            case "s+":
                assert text in client.last, f"{where}, but {client.last}"
            case "s!":
                answer = await client.reply()
                assert answer == "", f"{where}, but {answer!r}"
            case "took":
                assert len(story.messages) == int(text), where
            case "got":
                assert_got(story.messages[-1], text, where)
            case _:
                raise AssertionError(f"{where}: unknown step")


def listener_of(path: Path) -> str:
    first = path.read_text(encoding="utf-8").splitlines()[0]
    assert first.startswith("listener "), f"{path.name} begins with the listener"
    return first.split()[1]


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
async def test_dialog(path: Path) -> None:
    story = Story(refuse={"gone@example.org": reply.DEAD_ADDRESS, "broken@example.org": RuntimeError("secret@x.y")})
    match listener_of(path):
        case "trusted":  # loopback needs no login
            opened = submission(make_config(logins=OPEN_TO_LOOPBACK), story)
        case "login":
            caged = make_login("caged", allowed=("192.0.2.0/24",))
            logins = {name: make_login(name) for name in HASHES} | {"caged": caged}
            opened = submission(make_config(logins=logins), story)
        case "return-path":
            opened = return_path(make_config(), story)  # type: ignore[assignment]
        case other:
            raise AssertionError(f"no listener {other}")
    async with opened as (listener, _):
        client = await connect(listener)
        try:
            await play(path, client, story)
        finally:
            await client.close()


def test_there_are_dialogs() -> None:
    assert len(CASES) >= 20
