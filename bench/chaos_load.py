"""What a chaos run sends: newsletter tools that come again until they are answered, and people who opt out meanwhile.

Everything a promise is held against later is remembered with the time at which the answer came (`Record`).
"""

import asyncio
import base64
import json
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

LOGIN = "newsletter"
CAMPAIGN = "chaos"
PATIENCE = 60.0
"""Seconds a tool waits for an answer before it takes the connection for dead."""
AGAIN = 0.25
"""Seconds after which a tool that was cut off comes again, half of it by chance."""


@dataclass(frozen=True, slots=True)
class Mail:
    """One message of the load."""

    subject: str
    recipients: tuple[str, ...]


@dataclass(slots=True)
class Record:
    """What was promised by an answer, and when (seconds of CLOCK_MONOTONIC)."""

    offered: dict[str, Mail] = field(default_factory=dict)
    taken: dict[str, Mail] = field(default_factory=dict)
    """By the last word of the 250."""
    asked_out: dict[str, float] = field(default_factory=dict)
    """When the first request of a person was sent; it may count from then on."""
    opted_out: dict[str, float] = field(default_factory=dict)
    """When its 200 came; it has to count from then on."""
    refused: list[str] = field(default_factory=list)
    """Answers that a tool takes for final."""
    put_off: int = 0
    cut_off: int = 0


class SinkFile:
    """What the sink wrote down, read as it grows."""

    def __init__(self, path: Path) -> None:
        self._path, self._place = path, 0
        self.took: list[dict[str, object]] = []
        self.began: list[tuple[float, str]] = []
        self.links: dict[str, str] = {}
        """The latest one-click path of each person."""

    def read(self) -> None:
        """Take in what was added; half a line waits for its other half."""
        if not self._path.exists():
            return
        with self._path.open("rb") as file:
            file.seek(self._place)
            lines, whole, _ = file.read().rpartition(b"\n")
        self._place += len(lines) + len(whole)
        for line in lines.splitlines():
            row = json.loads(line)
            if row["what"] == "began":
                self.began.append((row["at"], row["to"]))
            else:
                self.took.append(row)
                self.links[row["to"]] = row["link"]


class Tools:
    """Several newsletter tools that share one list of mail."""

    def __init__(
        self, mails: Sequence[Mail], record: Record, ports: Callable[[], int], password: str, chance: random.Random
    ) -> None:
        self._waiting, self._record, self._ports, self._chance = list(reversed(mails)), record, ports, chance
        self._login = base64.b64encode(f"\0{LOGIN}\0{password}".encode())

    async def run(self, connections: int) -> None:
        """Hand in everything."""
        async with asyncio.TaskGroup() as tasks:
            for _ in range(connections):
                tasks.create_task(self._one())

    async def _one(self) -> None:
        mail: Mail | None = None
        while mail is not None or self._waiting:
            mail = mail or self._waiting.pop()
            writer = None
            try:
                async with asyncio.timeout(PATIENCE):
                    reader, writer = await asyncio.open_connection("127.0.0.1", self._ports())
                    await _answer(reader, None)
                    for command in (b"EHLO tool.example", b"AUTH PLAIN " + self._login):
                        writer.write(command + b"\r\n")
                        if (await _answer(reader, None))[:1] != "2":
                            raise ConnectionError
                while mail is not None:
                    async with asyncio.timeout(PATIENCE):
                        answered = await self._hand_in(reader, writer, mail)
                    if not answered:
                        break
                    mail = self._waiting.pop() if self._waiting else None
            except (OSError, TimeoutError, EOFError):
                self._record.cut_off += 1
            if writer is not None:
                writer.close()
            if mail is not None:
                await asyncio.sleep(AGAIN * (0.5 + self._chance.random()))

    async def _hand_in(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, mail: Mail) -> bool:
        """One transaction. False: not now; the tool comes again with the same mail, on another connection."""
        self._record.offered[mail.subject] = mail
        commands = ["MAIL FROM:<news@acme.example>", *(f"RCPT TO:<{one}>" for one in mail.recipients), "DATA"]
        for command in commands:
            writer.write(f"{command}\r\n".encode())
            if (said := await _answer(reader, mail))[:1] not in "23":
                return self._final(said)
        writer.write(newsletter(mail.subject))
        said = await _answer(reader, mail)
        if said[:3] != "250":
            return self._final(said)
        self._record.taken[said.rpartition(" ")[2]] = mail
        return True

    def _final(self, said: str) -> bool:
        if said[:1] == "5":
            self._record.refused.append(said)
            return True
        self._record.put_off += 1
        return False


async def _answer(reader: asyncio.StreamReader, mail: Mail | None) -> str:
    """The last line of a reply. EOFError when there is none: the server is gone."""
    while True:
        line = await reader.readline()
        if not line.endswith(b"\n"):
            raise EOFError
        if line[3:4] != b"-":
            return line.decode(errors="replace").strip()


class OptOuts:
    """People who click: each asks again until the answer is 200."""

    def __init__(self, record: Record, file: SinkFile, ports: Callable[[], int], chance: random.Random) -> None:
        self._record, self._file, self._ports, self._chance = record, file, ports, chance
        self._asking: set[asyncio.Task[None]] = set()

    def one_more(self) -> None:
        """Somebody who got mail and did not ask yet clicks now; nobody where there is no such person."""
        self._file.read()
        able = [who for who in self._file.links if who not in self._record.asked_out]
        if able:
            who = self._chance.choice(able)
            self._record.asked_out[who] = time.monotonic()
            task = asyncio.create_task(self._ask(who, self._file.links[who]))
            self._asking.add(task)
            task.add_done_callback(self._asking.discard)

    async def answered(self) -> None:
        """Until all who clicked have their answer."""
        while self._asking:
            await asyncio.gather(*self._asking)

    async def _ask(self, who: str, path: str) -> None:
        while True:
            try:
                async with asyncio.timeout(PATIENCE):
                    if await one_click(self._ports(), path) == 200:
                        self._record.opted_out[who] = time.monotonic()
                        return
            except (OSError, TimeoutError, EOFError, ValueError):
                pass  # killed under it, or not back yet
            await asyncio.sleep(AGAIN)


async def one_click(port: int, path: str) -> int:
    """The POST of RFC 8058, as a mailbox provider sends it; the status."""
    body = b"List-Unsubscribe=One-Click"
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(
            f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\nContent-Length: {len(body)}\r\n"
            "Content-Type: application/x-www-form-urlencoded\r\n\r\n".encode()
            + body
        )
        status = await reader.readline()
        await reader.read()
        return int(status.split()[1]) if status else 0
    except IndexError:
        raise EOFError from None
    finally:
        writer.close()


def newsletter(subject: str) -> bytes:
    """A newsletter in text and HTML, about 3 kB, dot-stuffing not needed, with the final dot."""
    rows = '<p><a href=3D"https://shop.example/wijn">Rode wijn, alleen deze week =E2=82=AC 5</a></p>\r\n' * 30
    return (
        f"From: Acme <news@acme.example>\r\nTo: Lezers <lezers@acme.example>\r\nSubject: {subject}\r\n"
        f"Date: Sat, 21 Nov 2026 10:00:00 +0100\r\nMessage-ID: <{subject}@acme.example>\r\nMIME-Version: 1.0\r\n"
        f"X-Consentgate-Campaign: {CAMPAIGN}\r\n"
        'Content-Type: multipart/alternative; boundary="b1"\r\n\r\n'
        "--b1\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nRode wijn, alleen deze week.\r\n"
        "--b1\r\nContent-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n"
        f"<html><body>\r\n{rows}[end {subject}]\r\n</body></html>\r\n--b1--\r\n.\r\n"
    ).encode()
