"""The outermost layer of the web: what holds for every request, whoever answers it.

HEAD is answered as GET without a body (DESIGN.md P4 and section 11). A body larger than `BODY_BYTES` is refused. Only a
trusted proxy is believed about who asks. Every answer carries the same strict header fields, unless the page sets its
own. Nothing that went wrong inside is shown or logged with its text: it may hold an address (P9).
"""

import ipaddress
import time
from collections.abc import Callable, Sequence
from typing import Final, Protocol

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.web.problem import MEDIA_TYPE, plain

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class Note(Protocol):
    """Told of each answer (log.web_request). `route` is a label, never the path, which holds tokens."""

    def __call__(self, *, route: str, method: str, status: int, seconds: float) -> None: ...


# (label of the route, the exception): what may be logged of it is the receiver's business
Failed = Callable[[str, Exception], None]
# Accept-Language -> a whole HTML page that says "not now"
Apology = Callable[[str], bytes]

# Our largest form is one address; RFC 8058 bodies are 26 bytes.
BODY_BYTES: Final = 64 * 1024
# Providers send up to a thousand events at one time.
HOOK_BYTES: Final = 2 * 1024 * 1024
HOOKS: Final = "/api/v1/hooks/"

STRICT: Final = b"default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'"
_ALWAYS: Final = (
    (b"content-security-policy", STRICT),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
    (b"cache-control", b"no-store"),
    (b"x-robots-tag", b"noindex, nofollow"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
)
_HTTPS_ONLY: Final = (b"strict-transport-security", b"max-age=31536000")
_LABELS: Final = frozenset({"u", "o", "w", "p", "s", "c", "api", "staff", "static", "healthz", "readyz", "metrics"})


class BodyTooLarge(Exception):
    """The body went past the limit while it was read."""


class Edge:
    """ASGI middleware. `proxies` are those whose forwarding fields are believed; `https` says how people reach us."""

    def __init__(
        self, app: ASGIApp, *, proxies: Sequence[Network], https: bool, apology: Apology, note: Note, failed: Failed
    ) -> None:
        self._app, self._proxies, self._apology = app, proxies, apology
        self._note, self._failed = note, failed
        self._always = (*_ALWAYS, _HTTPS_ONLY) if https else _ALWAYS

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; nothing is raised to the server."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, label, method = time.perf_counter(), label_of(scope["path"]), scope["method"]
        inner = dict(scope, method="GET" if method == "HEAD" else method)
        self._believe_proxy(inner)
        status = 0

        async def dressed(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                sent = {name for name, _ in message["headers"]}
                added = [field for field in self._always if field[0] not in sent]
                message = dict(message, headers=[*message["headers"], *added])
            elif method == "HEAD":
                message = dict(message, body=b"")
            await send(message)

        try:
            most = HOOK_BYTES if scope["path"].startswith(HOOKS) else BODY_BYTES
            if _declared_length(scope) > most:
                await self._say(dressed, inner, 413)
            else:
                await self._app(inner, _limited(receive, most), dressed)
        except BodyTooLarge:
            if not status:
                await self._say(dressed, inner, 413)
        except Exception as error:  # the last line: a bug must not become a traceback on a page or in a log
            self._failed(label, error)
            if not status:
                await self._say(dressed, inner, 503)
        self._note(route=label, method=method, status=status, seconds=time.perf_counter() - began)

    async def _say(self, send: Send, scope: Scope, status: int) -> None:
        if label_of(scope["path"]) == "api":
            said = plain(status)
            body, more = said.body(), {"content-type": MEDIA_TYPE, **said.headers}
        else:
            body = self._apology(_field(scope, b"accept-language"))
            more = {"content-type": "text/html; charset=utf-8"}
        fields = [(name.lower().encode(), value.encode()) for name, value in more.items()]
        fields.append((b"content-length", b"%d" % len(body)))
        await send({"type": "http.response.start", "status": status, "headers": fields})
        await send({"type": "http.response.body", "body": body})

    def _believe_proxy(self, scope: Scope) -> None:
        """Put the real client and scheme in, walking X-Forwarded-For from the right past proxies we trust."""
        client = scope.get("client")
        if not self._proxies or client is None or not self._trusted(client[0]):
            return
        for hop in reversed(_field(scope, b"x-forwarded-for").split(",")):
            try:
                address = ipaddress.ip_address(hop.strip())
            except ValueError:
                break
            scope["client"] = (str(address), 0)
            if not self._trusted(str(address)):
                break
        if _field(scope, b"x-forwarded-proto") in ("http", "https"):
            scope["scheme"] = _field(scope, b"x-forwarded-proto")

    def _trusted(self, host: str) -> bool:
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            return False
        return any(address in network for network in self._proxies)


def label_of(path: str) -> str:
    """What a log line or counter may say about a path: its first step, for staff its second too."""
    steps = path.split("/")[1:3]
    if not steps or steps[0] not in _LABELS:
        return "other"
    if steps[0] == "staff" and len(steps) > 1 and steps[1].isalpha() and len(steps[1]) < 12:
        return f"staff/{steps[1]}"
    return steps[0]


def _field(scope: Scope, name: bytes) -> str:
    """The value of a request's field; several of one name count as one list (RFC 9110 5.3)."""
    return b", ".join(value for key, value in scope["headers"] if key == name).decode("latin-1")


def _declared_length(scope: Scope) -> int:
    declared = _field(scope, b"content-length")
    return int(declared) if declared.isdecimal() else 0


def _limited(receive: Receive, most: int) -> Receive:
    """The same body, until it is too long (chunked transfer declares no length)."""
    taken = 0

    async def counted() -> Message:
        nonlocal taken
        message = await receive()
        taken += len(message.get("body", b""))
        if taken > most:
            raise BodyTooLarge
        return message

    return counted
