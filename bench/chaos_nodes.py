"""The processes of a chaos run: gateways and the next server. Each is started by us, and only those are ever killed."""

import asyncio
import contextlib
import json
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PROGRAM = [sys.executable, "-m", "gateway"]
READY_SECONDS = 120.0
STOP_SECONDS = 60.0
TAIL = 1500
"""Characters of a log that are shown."""


class Broken(Exception):
    """The run itself cannot go on: something did not start or did not stop."""


@dataclass
class Process:
    """One program that is killed and started again, in a process group of its own."""

    name: str
    command: list[str]
    log: Path
    word: bytes
    """What its first line begins with when it is ready."""
    running: asyncio.subprocess.Process | None = None
    ready: bool = False
    """It said so, and nobody killed it since. What starts is left alone: a reload would come before its first load."""

    async def start(self) -> None:
        """Start and wait until it is ready."""
        with self.log.open("ab") as log:
            self.running = await asyncio.create_subprocess_exec(
                *self.command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log, cwd=ROOT,
                start_new_session=True,
            )  # fmt: skip
        assert self.running.stdout is not None
        try:
            async with asyncio.timeout(READY_SECONDS):
                line = await self.running.stdout.readline()
        except TimeoutError:
            line = b""
        self.ready = line.startswith(self.word)
        if not self.ready:
            await self.kill()
            raise Broken(f"{self.name} did not start:\n{self.log.read_text(errors='replace')[-TAIL:]}")

    @property
    def died(self) -> bool:
        """Whether it ended although nobody killed it."""
        return self.ready and self.running is not None and self.running.returncode is not None

    async def kill(self) -> None:
        """kill -9, the whole group."""
        self.ready = False
        if self.running is not None and self.running.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.running.pid, signal.SIGKILL)
            await self.running.wait()

    def hang_up(self) -> None:
        """SIGHUP: load the settings anew."""
        if self.running is not None and self.running.returncode is None:
            self.running.send_signal(signal.SIGHUP)

    def kill_a_worker(self, chance: random.Random) -> bool:
        """kill -9 of one child, which the supervisor has to replace; False where there is none."""
        if self.running is None or self.running.returncode is not None:
            return False
        pid = self.running.pid
        try:
            children = [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
            os.kill(chance.choice(children), signal.SIGKILL)
        except (OSError, IndexError):
            return False
        return True

    async def stop(self) -> int:
        """SIGTERM; its exit code."""
        if self.running is None:
            return 0
        with contextlib.suppress(ProcessLookupError):
            self.running.send_signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(STOP_SECONDS):
                return await self.running.wait()
        except TimeoutError:
            await self.kill()
            return -9


@dataclass(frozen=True)
class Node:
    """One gateway: its folder and where it listens."""

    process: Process
    config: Path
    smtp: int
    http: int


def free_ports(count: int) -> list[int]:
    """Ports of loopback that nobody listens on now."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports: list[int] = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def tool(*args: object, seconds: float = 600) -> subprocess.CompletedProcess[str]:
    """Run a command of the product."""
    return subprocess.run(
        [*PROGRAM, *map(str, args)], capture_output=True, text=True, cwd=ROOT, check=False, timeout=seconds,
        stdin=subprocess.DEVNULL,
    )  # fmt: skip


def done(*args: object) -> str:
    """Run a command that has to work; what it printed."""
    ran = tool(*args)
    if ran.returncode:
        raise Broken(f"consentgate {args[0]} ended with {ran.returncode}:\n{ran.stderr[-TAIL:]}")
    return ran.stdout


def rows(text: str) -> list[dict[str, object]]:
    """The JSON lines a command printed."""
    return [json.loads(line) for line in text.splitlines() if line.startswith("{")]


def installed(
    folder: Path, count: int, sink_port: int, *, workers: int, databases: tuple[str, str] | None
) -> list[Node]:
    """An example installation, and as many nodes on it: each with a folder and ports of its own, with the same keys
    and, where there are several, the same database. `databases`: URLs of data and keys."""
    first = folder / "node-1"
    ports = [free_ports(3) for _ in range(count)]
    more = ("--database", databases[0], "--keys-database", databases[1]) if databases else ()
    smtp, http, back = ports[0]
    done("init", first, "--example", "--smtp-port", smtp, "--http-port", http, "--return-port", back,
         "--smarthost", f"127.0.0.1:{sink_port}", *more)  # fmt: skip
    nodes = []
    for number, mine in enumerate(ports, 1):
        place = folder / f"node-{number}"
        if number > 1:
            shutil.copytree(first, place)
        if databases:
            _rename(place / "consentgate.toml", f"node-{number}", ports[0], mine)
        nodes.append(_node(place, number, mine, workers))
    return nodes


def _rename(config: Path, name: str, old: Sequence[int], new: Sequence[int]) -> None:
    """Give a node's settings its name and ports. Its public_url stays: links lead to where people reach any node."""
    lines = []
    for line in config.read_text().splitlines():
        if line.startswith("node ="):
            continue
        if line.startswith(("submission =", "web =", "return_path =")):
            for before, now in zip(old, new, strict=True):
                line = re.sub(rf"\b{before}\b", str(now), line)
        lines.append(line)
    config.write_text("\n".join([f'node = "{name}"', *lines, ""]))


def _node(place: Path, number: int, ports: Sequence[int], workers: int) -> Node:
    config = place / "consentgate.toml"
    command = [*PROGRAM, "serve", "--config", str(config), "--workers", str(workers)]
    process = Process(f"node {number}", command, place / "serve.log", b"ready")
    return Node(process=process, config=config, smtp=ports[0], http=ports[1])


def password(node: Node, login: str) -> str:
    """The password that init made for a login."""
    lines = (node.config.parent / "passwords.txt").read_text().splitlines()
    return dict(line.split(" ", 1) for line in lines)[login]
