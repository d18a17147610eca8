"""A name server on a free loopback port that answers from a table: real questions and answers over UDP (RFC 1035).

    with NameServer({("cg1._domainkey.acme.example", "TXT"): ['"v=DKIM1; p=..."']}) as server:
        ... server.setting ...

What is not in the table does not exist (NXDOMAIN). A value of None is answered SERVFAIL. A row ("name", "CNAME") leads
on. Names in `authentic` are answered as validated (the AD bit), where the question asks for it. `silent`: names about
which nothing is said at all. A long answer is cut, and given whole over TCP. The table may change.
"""

import re
import socketserver
import threading
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Self

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rrset

Table = dict[tuple[str, str], Sequence[str] | None]


class NameServer:
    """See the head of this module."""

    def __init__(self, table: Mapping[tuple[str, str], Sequence[str] | None] | None = None) -> None:
        self.table: Table = dict(table or {})
        self.authentic: set[str] = set()
        self.silent: set[str] = set()
        self.ttl = 60
        self.asked: list[tuple[str, str]] = []

    def __enter__(self) -> Self:
        outer = self

        class Answer(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                wire, where = self.request
                if (said := outer._answer(wire)) is not None:
                    where.sendto(_cut(wire, said), self.client_address)

        class Whole(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                while length := self.rfile.read(2):
                    if (said := outer._answer(self.rfile.read(int.from_bytes(length, "big")))) is not None:
                        self.wfile.write(len(said).to_bytes(2, "big") + said)

        while True:  # until a port is free for both
            self._server = socketserver.ThreadingUDPServer(("127.0.0.1", 0), Answer)
            try:
                self._whole = socketserver.ThreadingTCPServer(("127.0.0.1", self.port), Whole)
                break
            except OSError:
                self._server.server_close()
        self._whole.daemon_threads = True
        self._threads = [
            threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
            for server in (self._server, self._whole)
        ]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for server in (self._server, self._whole):
            server.shutdown()
            server.server_close()
        for thread in self._threads:
            thread.join()

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    @property
    def setting(self) -> str:
        """The line of the settings that has it asked."""
        return f'[dns]\nservers = ["127.0.0.1:{self.port}"]\n'

    def publish(self, zone_line: str) -> None:
        """Put a BIND TXT record into the table, as an operator pastes it into a zone."""
        found = re.fullmatch(r"(\S+)\. IN TXT \( (.*) \)\n", zone_line, re.DOTALL)
        assert found, zone_line
        self.table[found[1].lower(), "TXT"] = [" ".join(found[2].split("\n"))]

    def _answer(self, wire: bytes) -> bytes | None:
        question = dns.message.from_wire(wire)
        [asked] = question.question
        name, kind = asked.name.to_text(omit_final_dot=True).lower(), dns.rdatatype.to_text(asked.rdtype)
        self.asked.append((name, kind))
        if name in self.silent:
            return None
        reply: Any = dns.message.make_response(question)
        authentic = True
        for _ in range(9):
            authentic = authentic and name in self.authentic
            rows = self.table.get((name, kind), ())
            further = self.table.get((name, "CNAME"))
            if rows is None:
                reply.set_rcode(dns.rcode.SERVFAIL)
            elif rows:
                reply.answer.append(dns.rrset.from_text_list(_name(name), self.ttl, "IN", kind, list(rows)))
            elif further:
                reply.answer.append(dns.rrset.from_text_list(_name(name), self.ttl, "IN", "CNAME", list(further)))
                name = further[0].rstrip(".").lower()
                continue
            elif not any(known == name for known, _ in self.table):
                reply.set_rcode(dns.rcode.NXDOMAIN)
            break
        if authentic and question.flags & dns.flags.AD:
            reply.flags |= dns.flags.AD
        return bytes(reply.to_wire(max_size=65535))


def _name(text: str) -> dns.name.Name:
    return dns.name.from_text(text)


def _cut(wire: bytes, said: bytes) -> bytes:
    """What goes over UDP: an answer over 1232 octets is left out, and marked so."""
    if len(said) <= 1232:
        return said
    reply: Any = dns.message.make_response(dns.message.from_wire(wire))
    reply.flags |= dns.flags.TC
    return bytes(reply.to_wire(max_size=65535))
