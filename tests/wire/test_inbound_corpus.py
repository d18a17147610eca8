"""The smuggling corpus through the real listener, judged by its expected.json."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import trustme
from front_door import Client, Story, connect, make_config, make_login, submission

from gateway.config import Tls
from gateway.mail.envelope import Envelope

EXPECTED_SENDER = "sender@example.com"


async def test_smuggling(corpus: Path, tmp_path: Path) -> None:
    """No byte of a message becomes a command, and each message is answered exactly once."""
    expected = json.loads((corpus / "smuggling" / "expected.json").read_text())
    made = trustme.CA().issue_cert("localhost")
    tls = Tls(certificate=tmp_path / "cert.pem", key=tmp_path / "key.pem")
    made.private_key_pem.write_to_path(str(tls.key))
    made.cert_chain_pems[0].write_to_path(str(tls.certificate))
    for case in expected["variants"]:
        story = Story()
        config = make_config(tls=tls, logins={"tool": make_login("tool", allowed=("127.0.0.1/32",), password=False)})
        domains = (*config.controllers["acme"].domains, "example.com", "attacker.example")
        object.__setattr__(config.controllers["acme"], "domains", domains)
        async with submission(config, story) as (listener, _):
            client = await connect(listener)
            await client.reply()
            await client.ask("EHLO client.example")
            if case["kind"] == "data":
                answers = await _data(client, (corpus / "smuggling" / case["file"]).read_bytes())
            else:
                answers = await _session(client, [corpus / "smuggling" / name for name in case["files"]])
            await client.close()
        _judge(case, answers, story.messages, story.asked)


async def _data(client: Client, content: bytes) -> list[str]:
    await client.begin("reader@example.org", sender=EXPECTED_SENDER)
    await client.send(content)
    client.writer.write_eof()
    return await _rest(client)


async def _session(client: Client, steps: list[Path]) -> list[str]:
    answers = []
    for step in steps:
        await client.send(step.read_bytes())
        answers.append(await client.reply())
    client.writer.write_eof()
    return answers + await _rest(client)


async def _rest(client: Client) -> list[str]:
    answers = []
    while answer := await client.reply():
        answers.append(answer)
    return answers


def _judge(
    case: dict[str, Any], answers: list[str], messages: list[Envelope], asked: list[tuple[str, str, str]]
) -> None:
    name = case.get("file") or case["files"][0]
    verdicts = {case["verdict"], *case.get("tolerated", ())}
    finals = [answer for answer in answers if re.match(r"250 2\.0\.0 Message queued|[45]5[0-9] |421 ", answer)]
    refused = "refuse" if case["kind"] == "data" else case["verdict"]
    outcome = "accept-one" if len(messages) == 1 else refused
    assert outcome in verdicts, f"{name}: {outcome}, {answers}"
    assert len(messages) <= case.get("messages_max", 0), f"{name}: {answers}"
    if case["kind"] == "data":
        assert len(finals) == 1, f"{name}: one final reply, but {answers}"
        assert answers[0] == finals[0], name
        assert answers[0].startswith("250" if messages else "5"), f"{name}: {answers}"
        rest = case.get("replies_after", [])
        if rest:
            assert [answer[:3] for answer in answers[1:]] == rest, f"{name}: {answers}"
        else:
            assert answers[1:] == [], f"{name}: nothing of it ran as a command, but {answers}"
    elif case["verdict"] == "refuse-command":
        assert any(answer.startswith("500") for answer in answers), f"{name}: {answers}"
        assert not any(answer.startswith("354") for answer in answers), f"{name}: {answers}"
    elif case["verdict"] == "discard-after-starttls":
        assert not asked and not any(answer.startswith("250 2.1") for answer in answers[1:]), f"{name}: {answers}"
    for envelope in messages:
        addresses = {rcpt.address for rcpt in envelope.rcpts}
        assert case.get("never_recipient") not in addresses, name
        head = envelope.content.partition(b"\r\n\r\n")[0]
        assert b"Subject: SMUGGLED" not in head, name
        assert f"\n{case.get('never_header', 'Bcc')}:".encode() not in head, name
        assert not envelope.content.replace(b"\r\n", b"").translate(None, bytes(set(range(256)) - set(b"\r\n\0"))), name
        if lines := case.get("body_lines"):
            assert envelope.content.partition(b"\r\n\r\n")[2].decode().splitlines() == lines
    assert case.get("never_recipient") not in {address for _, _, address in asked}, name
