"""An example installation as tests use it: its commands, its gateway as a process, mail for it, and four people.

anna agreed to the newsletter, wim bought wine, kleed bought clothing, niemand was never heard of.
"""

import contextlib
import csv
import io
import json
import os
import queue
import re
import shutil
import signal
import smtplib
import sqlite3
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from gateway.__main__ import main
from tests.ports import free_ports
from tests.postgres import Pair, Server
from tests.starting import Started

ROOT = Path(__file__).resolve().parent.parent
READY_SECONDS = 60
STOP_SECONDS = 30

MADE_PORTS = (20001, 20002, 20003)
"""Of the installation that others are copies of: below those the system gives away, and never given to a copy."""

ANNA, WIM, KLEED, NIEMAND = "anna@example.org", "wim@example.org", "kleed@example.org", "niemand@example.org"


_STARTED = datetime.now(UTC)


def ago(days: int) -> str:
    """An instant some days before the tests began, as an import file has it: the same row twice says the same."""
    return (_STARTED - timedelta(days=days)).strftime("%Y-%m-%dT%H:%M:%SZ")


def consent(address: str, **other: str) -> dict[str, str]:
    """A row of a consents file that is good evidence for the newsletter."""
    return {
        "email": address, "purposes": "newsletter", "source": "own_form", "given_at": ago(170),
        "action": "active_tick", "evidence.method": "web_form", "evidence.wording_version": "w1",
        "evidence.privacy_notice_version": "pn1", "evidence.origin": "https://acme.example/newsletter",
        "bundled_with_terms": "false", "conditional_on_service": "false", "granular": "true",
        "double_opt_in.required": "false", **other,
    }  # fmt: skip


def sale(address: str, category: str, **other: str) -> dict[str, str]:
    """A row of a sales file that carries a soft opt-in for one category."""
    return {
        "email": address, "kind": "purchase", "status": "concluded", "concluded_at": ago(200),
        "product_categories": category, "relation_active": "false", "address_source": "given_in_context",
        "opt_out_offered_at_collection": "true", "opt_out_used_at_collection": "false",
        "privacy_notice_version": "pn1", "opt_out_in_all_messages": "true", **other,
    }  # fmt: skip


def newsletter(subject: str = "Nieuwe wijnen", *, sender: str = "Acme Wijnen <news@acme.example>") -> bytes:
    """A newsletter in text and HTML, CRLF."""
    return (
        f"From: {sender}\r\nTo: Lezers <lezers@acme.example>\r\nSubject: {subject}\r\n"
        f"Date: Sat, 21 Nov 2026 10:00:00 +0100\r\nMessage-ID: <{os.urandom(8).hex()}@acme.example>\r\n"
        'MIME-Version: 1.0\r\nContent-Type: multipart/alternative; boundary="b1"\r\n\r\n'
        "--b1\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"
        "Rode wijn met korting, alleen deze week. Café open.\r\n"
        "--b1\r\nContent-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n"
        "<html><body><h1>Rode wijn</h1><p>Alleen deze week =E2=82=AC 5.</p></body></html>\r\n--b1--\r\n"
    ).encode()


def order(address: str) -> bytes:
    """A confirmation of an order, without any offer."""
    return (
        f"From: Acme <orders@acme.example>\r\nTo: {address}\r\nSubject: Bestelling 1001\r\n"
        f"Date: Sat, 21 Nov 2026 10:00:00 +0100\r\nMessage-ID: <{os.urandom(8).hex()}@acme.example>\r\n\r\n"
        "Uw bestelling is onderweg.\r\n"
    ).encode()


def consentgate(*args: object, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    """Run a command as a user would, standard input being no terminal.

    In this process, which saves a second of start-up; `program` runs it as a process of its own.
    """
    words = list(map(str, args))
    streams = {
        name: io.TextIOWrapper(io.BytesIO(data), "utf-8") for name, data in (("in", stdin), ("out", b""), ("err", b""))
    }
    before = sys.stdin, sys.stdout, sys.stderr
    code: object = None
    sys.stdin, sys.stdout, sys.stderr = streams["in"], streams["out"], streams["err"]
    try:
        main(words)
    except SystemExit as left:
        code = left.code
    finally:
        sys.stdin, sys.stdout, sys.stderr = before
    said = {}
    for name in ("out", "err"):
        streams[name].flush()
        said[name] = streams[name].buffer.getvalue()  # type: ignore[attr-defined]
    return subprocess.CompletedProcess(words, int(str(code or 0)), said["out"], said["err"])


def program(*args: object, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    """Run a command as a process of its own, standard input being no terminal."""
    return subprocess.run(
        [sys.executable, "-m", "gateway", *map(str, args)],
        input=stdin, capture_output=True, timeout=120, cwd=ROOT, check=False,
    )  # fmt: skip


def lines_of(done: subprocess.CompletedProcess[bytes]) -> list[dict[str, Any]]:
    """The JSON lines a command printed."""
    assert done.returncode == 0, done.stderr.decode()
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith(b"{")]


@dataclass
class Installation:
    """An example installation in a folder of its own, and the commands on it."""

    dir: Path
    smtp_port: int
    http_port: int
    return_port: int
    passwords: dict[str, str] = field(default_factory=dict)
    server: Server | None = None
    pair: Pair | None = None
    """Its databases, where they are on a server."""

    @property
    def config(self) -> Path:
        return self.dir / "consentgate.toml"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.http_port}"

    def change(self, old: str, new: str) -> None:
        """Replace text of the settings; it has to be there."""
        text = self.config.read_text("utf-8")
        assert old in text, f"the settings hold no {old!r}"
        self.config.write_text(text.replace(old, new), "utf-8")

    def ask(self, sql: str) -> list[list[str]]:
        """Look into the data past the store; every value as text."""
        if self.server is not None and self.pair is not None:
            return self.server.ask(sql, database=self.pair.data.rpartition("/")[2])
        with contextlib.closing(sqlite3.connect(f"file:{self.dir / 'consentgate.db'}?mode=ro", uri=True)) as db:
            return [[str(value) for value in row] for row in db.execute(sql)]

    def tell(self, sql: str) -> None:
        """Change the data past the store, as time does."""
        if self.server is not None:
            self.ask(sql)
            return
        with contextlib.closing(sqlite3.connect(self.dir / "consentgate.db", timeout=20)) as db, db:
            db.execute(sql)

    def call(self, name: str) -> None:
        """Give this node a name among those on its database."""
        text = re.sub(r'(?m)^node = ".*"\n', "", self.config.read_text("utf-8"))
        self.config.write_text(text.replace("[database]", f'node = "{name}"\n[database]', 1), "utf-8")

    def use_smarthost(self, port: int) -> None:
        """Hand copies over to a server on loopback instead of capturing them."""
        self.change('kind = "capture"', f'kind = "smarthost"\nhosts = ["127.0.0.1:{port}"]\ntls = "none"')

    def tool(self, *args: object, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        """Run a command on this installation."""
        return consentgate(*args, "--config", self.config, stdin=stdin)

    def load(self, kind: str, rows: Sequence[Mapping[str, str]]) -> None:
        """Import rows; every one has to be taken."""
        columns = sorted({name for row in rows for name in row}, key=lambda name: (name != "email", name))
        file = self.dir / f"{kind}.csv"
        with file.open("w", newline="", encoding="utf-8") as out:
            writer = csv.DictWriter(out, columns)
            writer.writeheader()
            writer.writerows(rows)
        done = self.tool("import", kind, file, "--controller", "acme")
        assert done.returncode == 0, done.stderr.decode()
        assert not file.with_suffix(".rejected.csv").exists()

    def load_people(self) -> None:
        """anna, wim and kleed; niemand stays unknown."""
        self.load("consents", [consent(ANNA)])
        self.load("sales", [sale(WIM, "wine"), sale(KLEED, "clothing")])

    def report(self, what: str = "blocked", *args: object) -> list[dict[str, Any]]:
        """The rows of a report."""
        return lines_of(self.tool("report", what, "--json", *args))


Make = Callable[[Path], Installation]
"""Makes an example installation in a folder that is not there yet."""


def fresh(made: Path, place: Path) -> Installation:
    """A copy of the example installation on free ports, with a password for each login."""
    shutil.copytree(made, place)
    smtp, http, back = free_ports(3)
    words = [line.split(" ", 1) for line in (place / "passwords.txt").read_text().splitlines()]
    new = Installation(dir=place, smtp_port=smtp, http_port=http, return_port=back, passwords=dict(words))
    for old, port in zip(MADE_PORTS, (smtp, http, back), strict=True):
        new.change(f":{old}", f":{port}")
    return new


def another_node(first: Installation, place: Path, name: str) -> Installation:
    """A second node of an installation on a server: its folder with settings and keys, on ports and under a name of its
    own."""
    shutil.copytree(first.dir, place, ignore=shutil.ignore_patterns("serve.*"))
    old = (first.smtp_port, first.http_port, first.return_port)
    new = free_ports(3)
    node = Installation(
        dir=place, smtp_port=new[0], http_port=new[1], return_port=new[2], passwords=first.passwords,
        server=first.server, pair=first.pair,
    )  # fmt: skip
    for before, port in zip(old, new, strict=True):
        text = node.config.read_text("utf-8")
        listens = text.replace(f'"127.0.0.1:{before}"', f'"127.0.0.1:{port}"')  # links lead to the first one's pages
        node.config.write_text(listens, "utf-8")
    node.call(name)
    return node


@dataclass
class Gateway:
    """`consentgate serve` on an installation, as a process of its own."""

    installation: Installation
    process: Started | None = None

    @property
    def log_file(self) -> Path:
        return self.installation.dir / "serve.log"

    def log(self) -> str:
        """What it said on standard error so far."""
        return self.log_file.read_text("utf-8", errors="replace")

    def start(self, *args: object) -> "Gateway":
        """Start and wait for `ready`."""
        command = ["serve", "--config", self.installation.config, *args]
        self.process = Started(list(map(str, command)), log=self.log_file, cwd=ROOT)
        said: queue.Queue[bool] = queue.Queue()
        threading.Thread(target=self._listen, args=(self.process, said), daemon=True).start()
        try:
            ready = said.get(timeout=READY_SECONDS)
        except queue.Empty:
            ready = False
        if not ready:  # it said so, or ended: one that is about to end still counts as running for a moment
            self.kill()
            pytest.fail(f"serve did not get ready:\n{self.log()[-2000:]}")
        return self

    @staticmethod
    def _listen(process: Started, said: "queue.Queue[bool]") -> None:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith(b"ready"):
                said.put(True)
        said.put(False)  # it ended: no need to wait on

    def signal(self, number: signal.Signals) -> None:
        """Send the process a signal."""
        assert self.process is not None
        self.process.send_signal(number)

    def stop(self) -> int:
        """SIGTERM; returns the exit code."""
        assert self.process is not None
        if self.process.poll() is None:
            self.signal(signal.SIGTERM)
            try:
                self.process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self.kill()
                pytest.fail(f"serve did not stop:\n{self.log()[-2000:]}")
        return self.process.returncode

    def kill(self) -> None:
        """kill -9, the whole group."""
        if self.process is not None and self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

    def client(self, login: str = "newsletter", name: str | None = None) -> smtplib.SMTP:
        """A session of a newsletter tool, with STARTTLS, logged in as `name` with the password of `login`."""
        session = smtplib.SMTP("127.0.0.1", self.installation.smtp_port, timeout=60)
        context = ssl.create_default_context(cafile=str(self.installation.dir / "tls/cert.pem"))
        session.starttls(context=context)
        session.login(name or login, self.installation.passwords[login])
        return session

    def send(
        self, recipients: Sequence[str], message: bytes, *, login: str = "newsletter", sender: str = "news@acme.example"
    ) -> tuple[dict[str, tuple[int, bytes]], tuple[int, bytes]]:
        """Send one message; returns the recipients refused at RCPT, and the reply to DATA."""
        with self.client(login) as session:
            session.mail(sender)
            replies = {recipient: session.rcpt(recipient) for recipient in recipients}
            refused = {recipient: said for recipient, said in replies.items() if said[0] >= 400}
            return refused, session.data(message) if len(refused) < len(recipients) else (0, b"")

    def eventually(self, what: Callable[[], bool], seconds: float = 60) -> None:
        """Wait until something the gateway does on its own has happened; fails with its log when it does not."""
        end = time.monotonic() + seconds
        while not what():
            if time.monotonic() > end:
                pytest.fail(f"did not happen within {seconds} s:\n{self.log()[-2000:]}")
            threading.Event().wait(0.05)
