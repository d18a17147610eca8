"""Systems that are told of opt-outs, as servers on loopback with certificates: they note what comes, answer as told.

    with Endpoint(authority, answers=[500, 200]) as endpoint:
        ... endpoint.url("/hook") ... endpoint.calls ...

An answer is a status, a pair of status and body, a Reply, or a function of the call that gives one of these; the last
one is for ever. Each connection has a thread of its own, so that one that stalls holds up no other.
"""

import contextlib
import json
import ssl
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

import trustme

WAIT = 20.0
"""Seconds a test waits for a call that has to come."""


@dataclass(frozen=True, kw_only=True)
class Call:
    """One request as it came."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def path(self) -> str:
        return urlsplit(self.target).path

    @property
    def query(self) -> dict[str, list[str]]:
        return parse_qs(urlsplit(self.target).query)

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True, kw_only=True)
class Reply:
    """An answer. `stall`: send nothing until the test is over."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    stall: bool = False


Answering = int | tuple[int, Any] | Reply | Callable[[Call], Any]


class Endpoint:
    """One server. `calls`: what came, in order."""

    def __init__(
        self, authority: trustme.CA | None, answers: Sequence[Answering] = (200,), *, name: str = "localhost",
        port: int = 0,
    ) -> None:  # fmt: skip
        self._answers, self._name, self._lock = list(answers), name, threading.Condition()
        self.calls: list[Call] = []
        self._over = threading.Event()
        endpoint = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle(self) -> None:
                with contextlib.suppress(OSError):
                    super().handle()

            def _any(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                headers = {name.lower(): value for name, value in self.headers.items()}
                endpoint._answer(self, Call(method=self.command, target=self.path, headers=headers, body=body))

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _any  # noqa: N815

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        self._tls = authority is not None
        if authority is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            authority.issue_cert(name).configure_cert(context)
            self._server.socket = context.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._server.shutdown()
        self._server.server_close()

    def url(self, path: str) -> str:
        return f"{'https' if self._tls else 'http'}://{self._name}:{self.port}{path}"

    def until(self, enough: Callable[[list[Call]], bool]) -> list[Call]:
        """Wait until the calls are what they have to be."""
        with self._lock:
            assert self._lock.wait_for(lambda: enough(self.calls), WAIT), self.calls
            return list(self.calls)

    def _answer(self, handler: BaseHTTPRequestHandler, call: Call) -> None:
        with self._lock:
            self.calls.append(call)
            given: Any = self._answers[min(len(self.calls), len(self._answers)) - 1]
            self._lock.notify_all()
        if callable(given):
            given = given(call)
        if isinstance(given, int):
            given = Reply(status=given)
        elif isinstance(given, tuple):
            given = Reply(status=given[0], body=json.dumps(given[1]).encode())
        if given.stall:
            self._over.wait()
            return
        handler.send_response(given.status)
        for name, text in given.headers.items():
            handler.send_header(name, text)
        handler.send_header("Content-Length", str(len(given.body)))
        handler.end_headers()
        with contextlib.suppress(OSError):
            handler.wfile.write(given.body)


def trusted(authority: trustme.CA, place: Path) -> Path:
    """The authority's certificate as a file, for settings that name one."""
    authority.cert_pem.write_to_path(place)
    return place
