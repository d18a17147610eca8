"""A name server on a free loopback port that answers from a table: real questions and answers over UDP (RFC 1035).

    with NameServer({("cg1._domainkey.acme.example", "TXT"): ['"v=DKIM1; p=..."']}) as server:
        ... server.setting ...

What is not in the table does not exist (NXDOMAIN). A value of None is answered SERVFAIL. The table may change.
"""

import re
import socketserver
import threading
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Self

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
        self.asked: list[tuple[str, str]] = []

    def __enter__(self) -> Self:
        outer = self

        class Answer(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                wire, where = self.request
                where.sendto(outer._answer(wire), self.client_address)

        self._server = socketserver.ThreadingUDPServer(("127.0.0.1", 0), Answer)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

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

    def _answer(self, wire: bytes) -> bytes:
        question = dns.message.from_wire(wire)
        [asked] = question.question
        name, kind = asked.name.to_text(omit_final_dot=True).lower(), dns.rdatatype.to_text(asked.rdtype)
        self.asked.append((name, kind))
        reply: Any = dns.message.make_response(question)
        rows = self.table.get((name, kind), ())
        if rows is None:
            reply.set_rcode(dns.rcode.SERVFAIL)
        elif rows:
            reply.answer.append(dns.rrset.from_text_list(asked.name, 60, "IN", kind, list(rows)))
        elif not any(known == name for known, _ in self.table):
            reply.set_rcode(dns.rcode.NXDOMAIN)
        return bytes(reply.to_wire())
