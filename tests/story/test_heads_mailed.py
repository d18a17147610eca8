"""Signed heads leave the house: by mail, on demand and daily, and what comes back to be compared is what was sent."""

import email
import email.policy
import json
import sqlite3
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from pathlib import Path

import pytest

from gateway import prove
from gateway.head_mail import HeadMail
from gateway.keys import key_ring, signers
from gateway.store.contract import Arrival, Store
from gateway.store.evidence import KeptHead
from gateway.weigh import Scales
from gateway.words import Words
from tests.installation import ANNA, Installation, lines_of
from tests.story.relay import config_of, fresh, load_people, relaying, verify_dkim, with_store

AUDITOR = "auditor@elsewhere.example"


@pytest.fixture
def installation(made: Path, tmp_path: Path) -> Installation:
    """People on file, and an auditor who gets the heads."""
    new = fresh(made, tmp_path / "installation")
    text = new.config.read_text("utf-8")
    new.config.write_text(f'{text}\n[ledger]\nheads_to = ["{AUDITOR}"]\nheads_stream = "orders"\n', "utf-8")
    load_people(new)
    return new


def read(raw: bytes) -> EmailMessage:
    message = email.message_from_bytes(raw, policy=email.policy.default)
    assert isinstance(message, EmailMessage)
    return message


def alone(verifier: Path, installation: Installation, *words: object) -> int:
    """The exit code of the verifier that needs nothing of ours."""
    command = [sys.executable, "-I", verifier, installation.dir / "consentgate.db", *words]
    return subprocess.run([str(word) for word in command], capture_output=True).returncode


def test_a_running_gateway_mails_the_daily_head_and_one_on_demand(installation: Installation, tmp_path: Path) -> None:
    with relaying(installation) as relay:
        relay.upstream.until(lambda: len(relay.upstream.to(AUDITOR)) == 1)
        shown = lines_of(installation.tool("ledger", "head", "--mail", "--json"))
        relay.upstream.until(lambda: len(relay.upstream.to(AUDITOR)) == 2)
        daily, asked = relay.upstream.to(AUDITOR)
    for mail in (daily, asked):
        assert verify_dkim(mail, installation) >= {"from", "to", "subject", "date"}
        message = read(mail.raw)
        assert (message["Auto-Submitted"], message["To"]) == ("auto-generated", AUDITOR)
        assert "List-Unsubscribe" not in message
        assert ANNA.encode() not in mail.raw
        (attached,) = message.iter_attachments()
        content = attached.get_content()
        assert isinstance(content, bytes)
        file = tmp_path / "heads.jsonl"
        file.write_bytes(content)
        done = installation.tool("ledger", "verify", "--head", file)
        assert done.returncode == 0, done.stdout.decode()
    assert [json.loads(row) for row in content.splitlines()] == shown
    verifier, key = tmp_path / "verify_ledger.py", shown[0]["public_key"]
    verifier.write_bytes(installation.tool("ledger", "verifier").stdout)
    assert alone(verifier, installation, "--head", file, "--public-key", key) == 0
    said = message.get_body(("plain",))
    assert said is not None and shown[0]["hash"] in said.get_content()
    file.write_text(json.dumps({**shown[0], "seq": 1}))
    assert installation.tool("ledger", "verify", "--head", file).returncode == 1
    assert alone(verifier, installation, "--head", file) == 1


def test_a_head_and_its_mail_are_kept_once_however_many_processes_keep_house(installation: Installation) -> None:
    config = config_of(installation)
    ring = key_ring(config)
    keys = prove.head_keys(ring)
    mail = HeadMail(config=config, words=Words.load(), scales=Scales(config, frozenset(signers(config))), ring=ring)
    now = datetime(2026, 11, 23, 8, tzinfo=UTC)

    def letters(kept: Sequence[KeptHead]) -> list[Arrival]:
        return mail.letters([prove.head_row(one) for one in kept], now)

    async def several(store: Store, _: object) -> list[int]:
        new = await prove.head(store, keys, "acme", now)
        assert new is not None
        both = [await store.keep_heads([new], letters([new])) for _ in range(2)]  # both had found it due
        later = [await prove.keep_heads(store, keys, now + timedelta(hours=h), letters) for h in (2, 24)]
        return [*both, *later]

    assert with_store(installation, several) == [1, 0, 0, 0]
    with sqlite3.connect(installation.dir / "consentgate.db") as db:
        waiting = db.execute("SELECT count(*) FROM messages WHERE campaign = 'ledger heads'").fetchone()
    db.close()
    assert waiting == (1,)


def test_on_demand_without_anybody_to_mail_to_is_refused(made: Path, tmp_path: Path) -> None:
    new = fresh(made, tmp_path / "installation")
    done = new.tool("ledger", "head", "--mail")
    assert done.returncode == 1 and b"ledger.heads_to" in done.stderr


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ('heads_to = ["nobody"]', "ledger.heads_to"),
        ('heads_to = ["https://a.example/"]', "ledger.heads_to"),
        ('heads_to = ["a@b.example"]', "ledger.heads_stream"),
        ('heads_to = ["a@b.example"]\nheads_stream = "letters"', "ledger.heads_stream"),
        ('heads_to = ["a@b.example"]\nheads_stream = "orders"\nheads_controller = "globex"', "ledger.heads_controller"),
    ],
)
def test_what_cannot_be_mailed_is_found_before_the_start(made: Path, tmp_path: Path, settings: str, named: str) -> None:
    new = fresh(made, tmp_path / "installation")
    new.config.write_text(new.config.read_text("utf-8") + f"\n[ledger]\n{settings}\n", "utf-8")
    done = new.tool("check-config")
    assert done.returncode == 1 and named in done.stderr.decode() + done.stdout.decode()
