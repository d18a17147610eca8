"""Our own one-click address, called as a mailbox provider calls it (RFC 8058 3.2), from outside of the program.

No cookie, no credentials, no redirect followed. Only the loop check calls it, and only for `public_url`.
"""

import http.client
import ssl
from urllib.parse import urlsplit

ONE_CLICK_SECONDS = 10.0


def post(url: str, context: ssl.SSLContext | None = None) -> tuple[int, str]:
    """The status, and where a redirect would lead ("" for none). OSError or HTTPException: no answer. It blocks."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    connection: http.client.HTTPConnection
    if parts.scheme == "https":
        trust = context or ssl.create_default_context()
        connection = http.client.HTTPSConnection(host, parts.port, timeout=ONE_CLICK_SECONDS, context=trust)
    else:
        connection = http.client.HTTPConnection(host, parts.port, timeout=ONE_CLICK_SECONDS)
    try:
        body = b"List-Unsubscribe=One-Click"
        connection.request("POST", parts.path, body, {"Content-Type": "application/x-www-form-urlencoded"})
        answer = connection.getresponse()
        return answer.status, answer.headers.get("Location", "")
    finally:
        connection.close()
