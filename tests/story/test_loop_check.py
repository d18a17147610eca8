"""`doctor --loop`: a seed message through the running gateway, a next server that meddles, and a real mailbox."""

import contextlib
import http.server
import json
import re
import signal
import sqlite3
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.imap_server import USER, ImapServer, imap_server
from tests.installation import ROOT, Gateway, Installation, consent
from tests.name_server import NameServer
from tests.starting import Started
from tests.story.relay import Relay, fresh, load, relaying

Meddle = Callable[[bytes], bytes]


@pytest.fixture(scope="module")
def mailbox() -> Iterator[ImapServer]:
    with imap_server() as server:
        yield server


@pytest.fixture(scope="module")
def names() -> Iterator[NameServer]:
    with NameServer() as server:
        yield server


@pytest.fixture(scope="module")
def relay(
    made: Path, tmp_path_factory: pytest.TempPathFactory, mailbox: ImapServer, names: NameServer
) -> Iterator[Relay]:
    """A gateway whose next server is the test's; DNS has the keys; the seed mailbox agreed to the newsletter."""
    installation = fresh(made, tmp_path_factory.mktemp("loop") / "installation")
    for file in (installation.dir / "dkim").iterdir():
        names.publish(file.read_text())
    with installation.config.open("a") as file:
        file.write(f"\n{names.setting}\n{mailbox.settings}")
    load(installation, "consents", [consent(USER)])
    with relaying(installation) as running:
        yield running


def looped(relay: Relay, mailbox: ImapServer, meddle: Meddle) -> tuple[int, dict[str, dict[str, object]]]:
    """Run the check; what the next server takes is meddled with and delivered. Exit code, and findings by name."""
    before = len(relay.upstream.to(USER))
    words = ["doctor", "--loop", "--stream", "newsletter", "--json", "--minutes", "1"]
    errors = relay.installation.dir / "doctor.log"
    process = Started([*words, "--config", str(relay.installation.config)], log=errors, cwd=ROOT)
    relay.upstream.until(lambda: len(relay.upstream.to(USER)) > before or process.poll() is not None)
    assert process.poll() is None, errors.read_text()
    mailbox.deliver(b"Received: from next.example\r\n" + meddle(relay.upstream.to(USER)[before].raw))
    said = process.stdout.read()
    assert process.wait(120) in (0, 1), errors.read_text()
    return process.wait(), {row["check"]: row for row in map(json.loads, said.splitlines())}


def opt_outs(installation: Installation) -> int:
    with contextlib.closing(sqlite3.connect(installation.dir / "consentgate.db")) as db:
        return int(db.execute("SELECT count(*) FROM suppressions").fetchone()[0])


def test_what_arrives_untouched_is_found_good_twice_and_nobody_is_opted_out(relay: Relay, mailbox: ImapServer) -> None:
    for _ in range(2):  # the seed mailbox is mailable still; the opt-out of nobody is there once
        code, found = looped(relay, mailbox, lambda raw: raw)
        assert code == 0 and all(row["good"] for row in found.values()), found
        assert found["List-Unsubscribe"]["text"] == found["List-Unsubscribe-Post"]["text"] == "arrived as it left"
        assert str(found["DKIM"]["text"]).startswith("covers both opt-out fields and aligns with acme.example")
        assert "ed25519-sha256): verifies" in str(found["DKIM"]["text"]) and "DNS" not in found
        assert found["footer"]["text"] == "the opt-out link is in text/plain and text/html"
        assert "answered 200" in str(found["one-click POST"]["text"])
        assert opt_outs(relay.installation) == 1
    assert "loop acme newsletter: 2 checked, 0 failed" in relay.installation.tool("doctor").stdout.decode()


def new_id(raw: bytes) -> bytes:
    return re.sub(rb"(?m)^Message-ID: <[^>]*>", b"Message-ID: <provider@ses.example>", raw)


def no_post(raw: bytes) -> bytes:
    return raw.replace(b"List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n", b"")


def own_link(raw: bytes) -> bytes:
    return re.sub(
        rb"(?ms)^(List-Unsubscribe: )<.*?>(?=\r\n\S)", rb"\1<https://track.provider.example/u/1>", raw, count=1
    )


def tracked(raw: bytes) -> bytes:
    return re.sub(rb"http://127.0.0.1:\d+/u/", b"https://track.provider.example/c/", raw)


@pytest.mark.parametrize(
    ("meddle", "wrong", "said"),
    [
        (new_id, {"DKIM"}, {"DKIM": "a signed field was changed", "field message-id": "was changed on the way"}),
        (no_post, {"DKIM", "List-Unsubscribe-Post"}, {"List-Unsubscribe-Post": "was taken out on the way"}),
        (own_link, {"DKIM", "List-Unsubscribe"}, {"List-Unsubscribe": "replaced on the way (track.provider.example)"}),
        (tracked, {"DKIM", "footer"}, {"footer": "leads elsewhere", "body": "a part was changed", "DKIM": "the body"}),
    ],
)
def test_what_the_provider_changed_is_told(
    relay: Relay, mailbox: ImapServer, meddle: Meddle, wrong: set[str], said: dict[str, str]
) -> None:
    code, found = looped(relay, mailbox, meddle)
    assert code == 1
    assert {name for name, row in found.items() if not row["good"]} == wrong, found
    for name, text in said.items():
        assert text in str(found[name]["text"]), found[name]
    told = relay.installation.tool("doctor").stdout.decode()
    assert re.search(r"LOOK  loop acme newsletter: \d+ checked, \d+ failed", told)


def test_where_dns_does_not_answer_our_own_key_is_used_and_that_is_said(
    relay: Relay, mailbox: ImapServer, names: NameServer
) -> None:
    kept = dict(names.table)
    names.table.update(dict.fromkeys(kept))
    try:
        code, found = looped(relay, mailbox, lambda raw: raw)
    finally:
        names.table.update(kept)
    assert code == 0 and "our own public key was used" in str(found["DNS"]["text"])
    assert found["DKIM"]["good"]


def test_a_key_that_dns_does_not_have_is_no_signature(relay: Relay, mailbox: ImapServer, names: NameServer) -> None:
    kept = dict(names.table)
    names.table.clear()
    try:
        code, found = looped(relay, mailbox, lambda raw: raw)
    finally:
        names.table.update(kept)
    assert code == 1 and "no record is published" in str(found["DKIM"]["text"])


class _Redirects(http.server.BaseHTTPRequestHandler):
    """A proxy that was told to send everybody elsewhere."""

    asked: list[str] = []  # noqa: RUF012

    def do_POST(self) -> None:
        self.asked.append(self.path)
        self.send_response(308)
        self.send_header("Location", f"https://elsewhere.example{self.path}")
        self.end_headers()

    def log_message(self, *words: object) -> None:
        """Nothing: the log of a test is its assertions."""


def reloaded(relay: Relay, old: str, new: str) -> None:
    """The gateway works by a changed setting."""
    relay.installation.change(old, new)
    before = relay.gateway.log().count("event=reloaded")
    relay.gateway.signal(signal.SIGHUP)
    relay.gateway.eventually(lambda: relay.gateway.log().count("event=reloaded") > before)


def test_a_one_click_address_that_redirects_is_told_without_its_token(relay: Relay, mailbox: ImapServer) -> None:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Redirects) as proxy:
        threading.Thread(target=proxy.serve_forever, daemon=True).start()
        mine = f'public_url = "http://127.0.0.1:{relay.installation.http_port}"'
        try:
            reloaded(relay, mine, f'public_url = "http://127.0.0.1:{proxy.server_port}"')
            code, found = looped(relay, mailbox, lambda raw: raw)
        finally:
            reloaded(relay, f'public_url = "http://127.0.0.1:{proxy.server_port}"', mine)
            proxy.shutdown()
    text = str(found["one-click POST"]["text"])
    assert (
        code == 1
        and text
        == "answered 308, leading to https://elsewhere.example: mailbox providers follow no redirect (RFC 8058)"
    )
    [path] = _Redirects.asked
    assert path.startswith("/o/") and path[3:] not in text


def test_on_a_capture_route_what_would_leave_is_looked_at(installation: Installation, names: NameServer) -> None:
    for file in (installation.dir / "dkim").iterdir():
        names.publish(file.read_text())
    with installation.config.open("a") as file:
        file.write(f'\n{names.setting}\n[seed]\naddress = "{USER}"\n')
    refused = installation.tool("doctor", "--loop", "--stream", "newsletter")
    assert refused.returncode == 1 and b"RECIPIENT_UNKNOWN" in refused.stderr
    load(installation, "consents", [consent(USER)])
    late = installation.tool("doctor", "--loop", "--stream", "newsletter", "--minutes", "0.01")
    assert late.returncode == 1 and b"is the gateway running?" in late.stdout
    gateway = Gateway(installation)
    try:
        gateway.start()
        done = installation.tool("doctor", "--loop", "--stream", "newsletter")
    finally:
        gateway.kill()
    assert done.returncode == 0, done.stdout.decode()
    assert b"kept on a capture route; nothing left" in done.stdout


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("--stream", "newsletter"), 1, "There is no seed mailbox"),
        ((), 2, "say which marketing stream"),
        (("--stream", "orders"), 2, "is no marketing"),
        (("--stream", "nothing"), 1, "There is no stream"),
    ],
)
def test_a_check_that_cannot_begin_says_why(
    installation: Installation, words: tuple[str, ...], code: int, said: str
) -> None:
    done = installation.tool("doctor", "--loop", *words)
    assert (done.returncode, said in done.stderr.decode()) == (code, True), done.stderr.decode()
