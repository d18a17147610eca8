"""The tour of README.md, its lines run as they stand there; only the ports are others."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.installation import READY_SECONDS, ROOT
from tests.ports import free_ports

TERMINALS = 3


def blocks() -> list[str]:
    """The commands of each step, in order."""
    tour = (ROOT / "README.md").read_text("utf-8").split("## A tour", 1)[1].split("\n## ", 1)[0]
    return [
        re.sub(r"^    ", "", found, flags=re.MULTILINE)
        for found in re.findall(r"(?:^    .+\n)+", tour, flags=re.MULTILINE)
    ]


def until(file: Path, said: str, process: "subprocess.Popen[bytes]") -> None:
    """Wait until a terminal shows something."""
    deadline = time.monotonic() + READY_SECONDS
    while said not in file.read_text("utf-8"):
        assert time.monotonic() < deadline and process.poll() is None, file.read_text("utf-8")
        time.sleep(0.05)


def listening(port: int) -> None:
    """Wait until somebody listens there."""
    deadline = time.monotonic() + READY_SECONDS
    while True:
        try:
            return socket.create_connection(("127.0.0.1", port)).close()
        except OSError:
            assert time.monotonic() < deadline
            time.sleep(0.05)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """What the tour needs of a checkout that is set up."""
    (tmp_path / "Makefile").write_text("setup:\n", "utf-8")
    (tmp_path / "docs").symlink_to(ROOT / "docs")
    (tmp_path / ".venv").symlink_to(sys.prefix)
    return tmp_path


def test_the_tour_shows_what_the_readme_says(checkout: Path) -> None:
    assert shutil.which("swaks") and shutil.which("curl"), "Missing packages: swaks curl"
    smtp, http, back, behind = free_ports(4)
    ports = {"2525": smtp, "8080": http, "2600": behind}
    options = f"--example --smtp-port {smtp} --http-port {http} --return-port {back}"
    steps = [re.sub(r"\b(2525|8080|2600)\b", lambda found: str(ports[found[0]]), step) for step in blocks()]
    assert len(steps) == 5
    next_hop, gateway, *third = steps
    gateway = gateway.replace("--example", options)
    env = {"HOME": str(checkout), "PATH": os.environ["PATH"], "LANG": "C.UTF-8"}
    shown = [checkout / f"terminal-{number}" for number in range(TERMINALS)]
    running: list[subprocess.Popen[bytes]] = []

    def terminal(commands: str) -> "subprocess.Popen[bytes]":
        with shown[len(running)].open("wb") as out:
            started = subprocess.Popen(
                ["bash", "-eu", "-c", commands], cwd=checkout, env=env, stdin=subprocess.DEVNULL, stdout=out,
                stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip
        running.append(started)
        return started

    try:
        terminal(next_hop)
        listening(behind)
        until(shown[1], "ready smtp", terminal(gateway))
        # Between sending and looking a person takes a breath.
        pause = 'until [ "$(consentgate queue list 2>/dev/null | wc -l)" = 0 ]; do :; done\n'
        first, links, second = third
        done = terminal(f"{first}{pause}echo =====\n{links}echo =====\n{second}{pause}")
        assert done.wait(READY_SECONDS) == 0, shown[2].read_text("utf-8")
        said = [part.splitlines() for part in shown[2].read_text("utf-8").split("=====\n")]
    finally:
        for process in running:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGINT)
        for process in running:
            process.wait(READY_SECONDS)

    cells = [[line.split("\t") for line in part] for part in said]
    assert {(row[2], row[3]) for row in cells[0]} == {
        ("kleed@example.org", "PRODUCT_NOT_SIMILAR"), ("niemand@example.org", "RECIPIENT_UNKNOWN"),
    }  # fmt: skip
    page, rest = said[1][:3], said[1][3:]
    assert "<h1>De nieuwsbrief stopzetten</h1>" in page and len([line for line in page if "<button>" in line]) == 2
    assert rest[:1] == ["Nobody is on the list."]
    assert {tuple(row[:3]) for row in cells[1][-2:]} == {
        ("anna@example.org", "purpose", "newsletter"), ("wim@example.org", "sender", ""),
    }  # fmt: skip
    assert {(row[2], row[3]) for row in cells[2] if len(row) == 5} >= {
        ("anna@example.org", "SUPPRESSED_PURPOSE"), ("wim@example.org", "SUPPRESSED_SENDER"),
    }  # fmt: skip
    mails = shown[0].read_text("utf-8").split("MESSAGE FOLLOWS")[1:]
    links = {re.findall(r"^List-Unsubscribe: <(\S+)>", mail, flags=re.MULTILINE)[0] for mail in mails[:2]}
    assert len(mails) == 3 and len(links) == 2
    assert "Bestelling 1001" in mails[2] and "List-" not in mails[2] and f":{http}/" not in mails[2]
