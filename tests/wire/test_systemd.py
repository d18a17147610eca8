"""What a service manager is told, and the sockets it opens for us."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway import systemd
from tests.installation import ROOT


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """The socket of a service manager."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as heard:
        if request.param == "path":
            heard.bind(str(tmp_path / "notify"))
            monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        else:
            heard.bind("")  # the kernel finds a free abstract name
            monkeypatch.setenv("NOTIFY_SOCKET", "@" + heard.getsockname()[1:].decode())
        heard.settimeout(10)
        yield heard


def test_states_are_told(manager: socket.socket) -> None:
    systemd.ready()
    assert manager.recv(1000).splitlines()[0] == b"READY=1"
    systemd.reloading()
    first, second = manager.recv(1000).splitlines()
    assert first == b"RELOADING=1"
    assert second.startswith(b"MONOTONIC_USEC=") and int(second[15:]) > 0
    systemd.stopping()
    assert manager.recv(1000).splitlines()[0] == b"STOPPING=1"


def test_nobody_listening_is_no_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "nobody"))
    systemd.ready()
    monkeypatch.delenv("NOTIFY_SOCKET")
    systemd.ready()


def test_the_watchdog_is_patted_in_time_and_not_more(manager: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "10000000")
    monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()))
    now = [100.0]
    watchdog = systemd.Watchdog(lambda: now[0])
    assert watchdog.every == 5.0
    for seconds in (0, 1, 3, 5.5, 6, 9, 11):
        now[0] = 100.0 + seconds
        watchdog.pat()
    manager.setblocking(False)
    said = []
    while True:
        try:
            said.append(manager.recv(100))
        except BlockingIOError:
            break
    assert said == [b"WATCHDOG=1"] * 3


def test_a_watchdog_of_another_process_is_not_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "10000000")
    monkeypatch.setenv("WATCHDOG_PID", "1")
    assert systemd.Watchdog().every is None
    monkeypatch.delenv("WATCHDOG_USEC")
    assert systemd.Watchdog().every is None


def test_sockets_opened_for_us_are_used_and_no_other(tmp_path: Path) -> None:
    """What the settings name is taken over; the environment is passed on to nobody."""
    script = (
        "import os, sys\n"
        "from gateway import systemd\n"
        "os.dup2(int(sys.argv[1]), 3)\n"
        "os.environ['LISTEN_PID'] = str(os.getpid() + int(sys.argv[2]))\n"
        "found = systemd.inherited()\n"
        "print([one.getsockname()[1] for one in found], 'LISTEN_FDS' in os.environ, systemd.inherited())\n"
    )
    with socket.create_server(("127.0.0.1", 0)) as opened:
        port = opened.getsockname()[1]
        for other, wanted in (("0", f"[{port}] False []"), ("1", "[] False []")):
            done = subprocess.run(
                [sys.executable, "-c", script, str(opened.fileno()), other], pass_fds=[opened.fileno()], cwd=ROOT,
                env=os.environ | {"LISTEN_FDS": "1", "PYTHONPATH": str(ROOT)}, capture_output=True, text=True,
                check=False,
            )  # fmt: skip
            assert done.stdout.strip() == wanted, done.stderr
