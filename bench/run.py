"""Measures a gateway on this machine: accept and hand-over per second, CPU, memory. Run: make bench

Load client, gateway and sink share the machine, so compare only figures of one run. CPU seconds per 1000 copies is the
steadiest figure. Everything is on loopback, in a temporary folder that is removed afterwards.
"""

import argparse
import asyncio
import base64
import csv
import os
import re
import resource
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

PROGRAM = Path(sys.executable).with_name("consentgate")
TICK = os.sysconf("SC_CLK_TCK")


def main() -> None:
    """Measure each size in turn and print a table."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--sizes", default="3,30", help="kB of HTML, comma-separated")
    options.add_argument("--count", type=int, default=3000, help="copies per run")
    options.add_argument("--recipients", type=int, default=1, help="recipients per message")
    options.add_argument("--connections", type=int, default=20)
    options.add_argument("--people", type=int, default=10_000, help="consents on file")
    options.add_argument("--workers", type=int, default=min(2, os.cpu_count() or 1))
    options.add_argument("--runs", type=int, default=3)
    options.add_argument("--sink", type=int, help=argparse.SUPPRESS)
    args = options.parse_args()
    if args.sink:
        asyncio.run(sink(args.sink))
        return
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    with tempfile.TemporaryDirectory(prefix="consentgate-bench-") as folder:
        measure(args, Path(folder) / "gateway")


def measure(args: argparse.Namespace, place: Path) -> None:
    """One gateway, one sink, all sizes interleaved."""
    smtp, http, back, out = free_ports(4)
    tool("init", place, "--example", "--smtp-port", smtp, "--http-port", http, "--return-port", back,
         "--smarthost", f"127.0.0.1:{out}")  # fmt: skip
    config = place / "consentgate.toml"
    people = [f"p{n:07}@example.org" for n in range(args.people)]
    began = time.monotonic()
    tool("import", "consents", consents(place / "people.csv", people), "--config", config, "--controller", "acme")
    print(f"import: {args.people / (time.monotonic() - began):,.0f} rows/s")
    passwords = dict(line.split(" ", 1) for line in (place / "passwords.txt").read_text().splitlines())
    with running([sys.executable, __file__, "--sink", str(out)], b"sink") as taker, running(
        [str(PROGRAM), "serve", "--config", str(config), "--workers", str(args.workers)], b"ready"
    ) as gateway:  # fmt: skip
        sizes = [int(size) for size in args.sizes.split(",")]
        found: dict[int, list[Figures]] = {size: [] for size in sizes}
        for _ in range(args.runs):
            for size in sizes:
                load = Load(smtp, passwords["newsletter"], people, newsletter(size), args.recipients)
                found[size].append(one_run(load, args.count, args.connections, gateway.process, taker))
        print(f"{args.connections} connections, {args.recipients} recipient(s) a message, {args.workers} worker(s)")
        print("  size   accepted/s   drained/s (least-most)   CPU s/1000 copies   PSS MB")
        for size, runs in found.items():
            drained = [run.drained for run in runs]
            print(
                f"{size:4} kB {middle(run.accepted for run in runs):12,.0f} {statistics.median(drained):11,.0f}"
                f" ({min(drained):,.0f}-{max(drained):,.0f}) {middle(run.cpu for run in runs):19.2f}"
                f" {middle(run.memory for run in runs):8.0f}"
            )


@dataclass(frozen=True, slots=True)
class Figures:
    """Of one run: copies per second, CPU seconds per 1000 copies, megabytes."""

    accepted: float
    drained: float
    cpu: float
    memory: float


@dataclass(frozen=True, slots=True)
class Load:
    """What is sent: `template` holds @SERIAL@ where messages differ."""

    port: int
    password: str
    people: list[str]
    template: bytes
    recipients: int


def one_run(load: Load, count: int, connections: int, gateway: "subprocess.Popen[bytes]", taker: "Running") -> Figures:
    """Send `count` copies and wait until the sink has them all."""
    used, began = cpu_seconds(gateway.pid), time.monotonic()
    taker.tell(f"{count}\n".encode())
    asyncio.run(send(load, count // load.recipients, connections))
    accepted = time.monotonic() - began
    taker.hear(b"done")
    drained = time.monotonic() - began
    cpu = cpu_seconds(gateway.pid) - used
    return Figures(count / accepted, count / drained, cpu * 1000 / count, memory(gateway.pid))


async def send(load: Load, messages: int, connections: int) -> None:
    """Hand in messages over some connections at once, as a tool would: one after the other on each."""
    serials = iter(range(messages))
    await asyncio.gather(*(converse(load, serials) for _ in range(connections)))


async def converse(load: Load, serials: Iterator[int]) -> None:
    """One connection; takes the next message when the last is answered."""
    reader, writer = await asyncio.open_connection("127.0.0.1", load.port, limit=1 << 20)
    login = base64.b64encode(f"\0newsletter\0{load.password}".encode())
    await reader.readline()
    for command in (b"EHLO bench.example", b"AUTH PLAIN " + login):
        writer.write(command + b"\r\n")
        await replies(reader, 1)
    for serial in serials:
        first = serial * load.recipients
        rcpts = [load.people[(first + n) % len(load.people)].encode() for n in range(load.recipients)]
        writer.write(
            b"MAIL FROM:<news@acme.example>\r\n" + b"".join(b"RCPT TO:<%s>\r\n" % r for r in rcpts) + b"DATA\r\n"
        )
        await replies(reader, len(rcpts) + 2)
        writer.write(load.template.replace(b"@SERIAL@", b"%d" % serial) + b".\r\n")
        await replies(reader, 1)
    writer.write(b"QUIT\r\n")
    await reader.readline()
    writer.close()


async def replies(reader: asyncio.StreamReader, count: int) -> None:
    """Read whole replies; anything but success ends the measurement."""
    while count:
        line = await reader.readline()
        if line[:1] not in b"23" or not line:
            raise SystemExit(f"the gateway said: {line.decode(errors='replace').strip()}")
        count -= line[3:4] != b"-"


async def sink(port: int) -> None:
    """A next hop that takes everything. Standard input tells how many copies to wait for; then it says `done`."""
    seen, wanted, full = 0, 0, asyncio.Event()

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal seen
        writer.write(b"220 sink ESMTP\r\n")
        try:
            while line := await reader.readline():
                verb = line[:4].upper()
                if verb == b"EHLO":
                    writer.write(b"250-sink\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250 SIZE 60000000\r\n")
                elif verb == b"DATA":
                    writer.write(b"354 go\r\n")
                    await reader.readuntil(b"\r\n.\r\n")
                    writer.write(b"250 ok\r\n")
                    seen += 1
                    if seen == wanted:
                        full.set()
                else:
                    writer.write(b"250 ok\r\n")
                    if verb == b"QUIT":
                        break
        finally:
            writer.close()

    await asyncio.start_server(take, "127.0.0.1", port, limit=64 << 20)
    print("sink", flush=True)
    while line := await asyncio.to_thread(sys.stdin.readline):
        seen, wanted = 0, int(line)
        full.clear()
        await full.wait()
        print("done", flush=True)


class Running:
    """A process that says when it is ready."""

    def __init__(self, command: list[str]) -> None:
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )

    def hear(self, word: bytes) -> None:
        """Wait for a line that begins with a word."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.startswith(word):
                return
        raise SystemExit(f"{self.process.args!r} ended without saying {word.decode()}")

    def tell(self, line: bytes) -> None:
        """Write a line to its standard input."""
        assert self.process.stdin is not None
        self.process.stdin.write(line)
        self.process.stdin.flush()

    def __enter__(self) -> "Running":
        return self

    def __exit__(self, *_: object) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(30)


def running(command: list[str], word: bytes) -> Running:
    """Start a process and wait until it is ready."""
    started = Running(command)
    started.hear(word)
    return started


def newsletter(kilobytes: int) -> bytes:
    """A newsletter in text and HTML of about so many kB, quoted-printable, CRLF."""
    row = '<tr><td><a href=3D"https://shop.example/p?id=3D@SERIAL@">Rode wijn, =E2=82=AC 5</a></td></tr>\r\n'
    rows = row * (kilobytes * 1000 // len(row))
    return (
        "From: Acme <news@acme.example>\r\nTo: lezer @SERIAL@ <lezers@acme.example>\r\nSubject: Wijnen\r\n"
        "Date: Sat, 21 Nov 2026 10:00:00 +0100\r\nMessage-ID: <@SERIAL@@acme.example>\r\nMIME-Version: 1.0\r\n"
        'Content-Type: multipart/alternative; boundary="b1"\r\n\r\n'
        "--b1\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n"
        "Rode wijn, alleen deze week.\r\n--b1\r\nContent-Type: text/html; charset=utf-8\r\n"
        "Content-Transfer-Encoding: quoted-printable\r\n\r\n"
        f"<html><body><table>\r\n{rows}</table></body></html>\r\n--b1--\r\n"
    ).encode()


def consents(file: Path, people: list[str]) -> Path:
    """An import file in which everybody agreed."""
    given = (datetime.now(UTC) - timedelta(days=90)).strftime("%Y-%m-%dT%H:%M:%SZ")
    row = {
        "purposes": "newsletter", "source": "own_form", "given_at": given, "action": "active_tick",
        "evidence.method": "web_form", "evidence.wording_version": "w1", "evidence.privacy_notice_version": "pn1",
        "evidence.origin": "https://acme.example/newsletter", "bundled_with_terms": "false",
        "conditional_on_service": "false", "granular": "true", "double_opt_in.required": "false",
    }  # fmt: skip
    with file.open("w", newline="") as out:
        writer = csv.DictWriter(out, ["email", *row])
        writer.writeheader()
        writer.writerows({"email": address, **row} for address in people)
    return file


def tool(*args: object) -> None:
    """Run a command; stop when it fails."""
    subprocess.run([str(PROGRAM), *map(str, args)], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def family(pid: int) -> list[int]:
    """A process and its children."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(one for child in children for one in family(int(child)))]


def cpu_seconds(pid: int) -> float:
    """User and system time of a process and its children so far."""
    fields = [Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split() for one in family(pid)]
    return sum(int(field[11]) + int(field[12]) for field in fields) / TICK


def memory(pid: int) -> float:
    """Proportional set size of a process and its children, in megabytes."""
    texts = [Path(f"/proc/{one}/smaps_rollup").read_text() for one in family(pid)]
    return sum(int(size) for text in texts for size in re.findall(r"(?m)^Pss:\s+(\d+)", text)) / 1000


def free_ports(count: int) -> list[int]:
    """Ports of loopback that nobody listens on now."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def middle(values: Iterator[float]) -> float:
    """The median."""
    return statistics.median(list(values))


if __name__ == "__main__":
    main()
