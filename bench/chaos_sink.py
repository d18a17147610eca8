"""The next server of a chaos run: takes everything, and writes down what came before it answers.

Run: python -m bench.chaos_sink PORT FILE. A process of its own, because it is killed as well. FILE gets one JSON line
for each MAIL FROM that named a recipient and one for each final dot, by a write(2) of its own that is over before the
answer leaves: kill -9 at any instant takes nothing away that was answered 250.

Times are seconds of CLOCK_MONOTONIC, which all processes of a machine share.
"""

import asyncio
import json
import os
import re
import sys
import time

GREETING = b"220 sink ESMTP\r\n"
FEATURES = b"250-sink\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250 SIZE 60000000\r\n"
END = b"\r\n.\r\n"
ADDRESS = re.compile(rb"<([^>]*)>")
MESSAGE_ID = re.compile(rb"\(Consentgate\) with [A-Z]+ id ([0-9a-f-]{36});")
SUBJECT = re.compile(rb"\r\nSubject: ([^\r]+)")
ONE_CLICK = re.compile(rb"\r\nList-Unsubscribe:\s+<https?://[^/>]+([^>]+)>")
LAST_BOUNDARY = b"--b1--\r\n"


class Sink(asyncio.Protocol):
    """One connection."""

    def __init__(self, file: int) -> None:
        self._file, self._lines, self._body, self._in_data = file, b"", bytearray(), False
        self._mail_at, self._to = 0.0, ""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.write(GREETING)

    def data_received(self, data: bytes) -> None:
        said = []
        while data:
            if self._in_data:
                data, answer = self._read_body(data)
            else:
                line, found, rest = (self._lines + data).partition(b"\r\n")
                if not found:
                    self._lines = line
                    break
                self._lines, data = b"", rest
                answer = self._answer(line)
            if answer:
                said.append(answer)
        if said and not self._transport.is_closing():
            self._transport.write(b"".join(said))
            if said[-1][:3] == b"221":
                self._transport.close()

    def _answer(self, line: bytes) -> bytes:
        match line[:4].upper():
            case b"EHLO":
                return FEATURES
            case b"MAIL":
                self._mail_at = time.monotonic()
            case b"RCPT":
                found = ADDRESS.search(line)
                self._to = found[1].decode() if found else ""
                self._write(what="began")
            case b"DATA":
                self._in_data, self._body = True, bytearray(b"\r\n")
                return b"354 go on\r\n"
            case b"QUIT":
                return b"221 bye\r\n"
        return b"250 2.0.0 ok\r\n"

    def _read_body(self, data: bytes) -> tuple[bytes, bytes]:
        """Take in up to the final dot: what comes behind it, and what to say."""
        seen = max(0, len(self._body) - len(END))
        self._body += data
        end = self._body.find(END, seen)
        if end < 0:
            return b"", b""
        raw, rest = bytes(self._body[: end + 2]), bytes(self._body[end + len(END) :])
        self._in_data, self._body = False, bytearray()
        self._write(what="took", **described(raw))
        return rest, b"250 2.0.0 taken\r\n"

    def _write(self, **what: object) -> None:
        line = json.dumps({"at": self._mail_at, "to": self._to, **what})
        os.write(self._file, line.encode() + b"\n")


def described(raw: bytes) -> dict[str, object]:
    """What the run wants to know of a copy: the gateway's id, its subject, its opt-out, and whether it is whole."""
    head = raw.partition(b"\r\n\r\n")[0]
    named, subject, link = MESSAGE_ID.search(head), SUBJECT.search(head), ONE_CLICK.search(head)
    return {
        "id": named[1].decode() if named else "",
        "subject": subject[1].decode() if subject else "",
        "link": link[1].decode() if link else "",
        "whole": raw.endswith(LAST_BOUNDARY) and subject is not None and raw.count(b"[end " + subject[1] + b"]") == 1,
    }


async def serve(port: int, file: int) -> None:
    """Listen until killed."""
    server = await asyncio.get_running_loop().create_server(lambda: Sink(file), "127.0.0.1", port, backlog=1024)
    print("sink", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    opened = os.open(sys.argv[2], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    asyncio.run(serve(int(sys.argv[1]), opened))
