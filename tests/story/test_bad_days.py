"""Ten thousand idle connections, too few files to open, servers that accept and close."""

import contextlib
import os
import resource
import socket
from datetime import timedelta
from pathlib import Path

import httpx
import pytest

from gateway.serve import OWN_FILES
from tests.installation import ANNA, WIM, Installation, newsletter
from tests.peers import Close, ScriptedPeer
from tests.story.relay import one_click_url, relaying
from tests.story.test_hand_over import PEOPLE, installation, quick, working

__all__ = ["installation", "quick"]  # fixtures

IDLE = 10_000
"""Fewer where this machine lets a process open fewer files: as many as fit twice beside what a process needs itself."""


def test_p11_ten_thousand_idle_connections(installation: Installation) -> None:
    """Others are served meanwhile; memory stays bounded, and is not held; every file is given back."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    count = IDLE if hard == resource.RLIM_INFINITY else min(IDLE, (hard - OWN_FILES - 50) // 3)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    installation.change(
        "[routes.main]", f"[limits]\nconnections = {IDLE + 100}\nconnections_per_ip = {IDLE + 100}\n\n[routes.main]"
    )
    with relaying(installation) as relay:
        assert relay.gateway.process is not None
        proc = Path(f"/proc/{relay.gateway.process.pid}")
        mail = relay.passes(ANNA, newsletter("ervoor"))
        files, memory = _open_files(proc), _resident(proc)
        used = []
        for turn in range(2):
            with contextlib.ExitStack() as idle:
                _fill(idle, installation.smtp_port, count)
                assert _open_files(proc) >= count
                used.append(_resident(proc) - memory)
                relay.passes(WIM, newsletter(f"tijdens {turn}"))
                assert relay.one_click(one_click_url(mail)).status_code == 200
                assert httpx.get(f"{installation.url}/healthz").status_code == 200
            relay.gateway.eventually(lambda: _open_files(proc) <= files + 5, 60)

        assert used[0] / count < 20_000, "bytes for a connection that says nothing"
        assert used[1] < 1.2 * used[0] + (20 << 20), "the second time takes no more than the first"
        assert relay.gateway.stop() == 0


def _fill(held: contextlib.ExitStack, port: int, count: int) -> None:
    """So many connections that were greeted and say nothing."""
    for start in range(0, count, 200):
        batch = [held.enter_context(socket.socket()) for _ in range(min(200, count - start))]
        for one in batch:
            one.settimeout(60)
            one.connect(("127.0.0.1", port))
        for one in batch:
            assert one.recv(4) == b"220 "


def _open_files(proc: Path) -> int:
    return len(list((proc / "fd").iterdir()))


def _resident(proc: Path) -> int:
    """Memory in use, in bytes."""
    return int((proc / "statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


# servers and names


@pytest.mark.parametrize("stage", ["CONNECT", "EHLO", "MAIL", "RCPT", "DATA", "."])
@pytest.mark.usefixtures("quick")
async def test_a_server_that_accepts_and_closes_gets_its_mail_later(installation: Installation, stage: str) -> None:
    """It leaves at each command in turn; then it is well, and every copy comes, whole."""
    to = [ANNA, WIM, *PEOPLE[:4]]
    async with ScriptedPeer({stage: Close()}) as leaving, working(installation, leaving.port) as work:
        await work.send(to, newsletter("vertrek"))
        await work.until(lambda: leaving.closed >= 2 and all(copy[0] == "queued" for copy in work.copies()))
        files = len(list(Path("/proc/self/fd").iterdir()))
        leaving._script.clear()
        taken = len(leaving.transactions)
        await work.pass_time(timedelta(hours=1))
        await work.until(lambda: {copy[0] for copy in work.copies()} == {"delivered"})
        arrived = leaving.transactions[taken:]
        assert sorted(one.rcpts[0].partition("<")[2].partition(">")[0] for one in arrived) == sorted(to)
        assert len(list(Path("/proc/self/fd").iterdir())) <= files + 4
