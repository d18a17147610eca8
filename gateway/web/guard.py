"""Who may go on: limits on guessing and flooding, and the check that a form was sent from our own page.

Counts live in this process and are lost when it ends: they slow an attacker down, they prove nothing. The table of a
limit forgets the longest-untouched entry first, so that memory stays bounded (DESIGN.md P11).
"""

import ipaddress
from collections import OrderedDict
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from starlette.requests import Request

from gateway.backoff import Backoff

_MOST_KEYS: Final = 10_000
FREE_TRIES: Final = 4
"""Wrong passwords or keys from one network until it has to wait."""
LONGEST_WAIT: Final = timedelta(minutes=15)
FORGOTTEN_AFTER: Final = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class _Tries:
    count: int
    at: datetime


def guessing(*, free: int = FREE_TRIES, longest: timedelta = LONGEST_WAIT) -> Backoff:
    """The pauses of a door of the web: after `free` wrong tries, and forgotten an hour after the last."""
    return Backoff(free=free - 1, longest=longest, forget=FORGOTTEN_AFTER)


class Throttle:
    """At most `limit` requests of one key in any `window` that begins with its first."""

    def __init__(self, limit: int, window: timedelta) -> None:
        self._limit, self._window = limit, window
        self._seen: OrderedDict[str, _Tries] = OrderedDict()

    def allow(self, key: str, now: datetime) -> bool:
        """Count one request and say whether it may pass."""
        seen = self._seen.pop(key, None)
        if seen is None or not timedelta(0) <= now - seen.at < self._window:  # or the clock was put back
            seen = _Tries(0, now)
        self._seen[key] = _Tries(seen.count + 1, seen.at)
        if len(self._seen) > _MOST_KEYS:
            self._seen.popitem(last=False)
        return seen.count < self._limit


def client_key(request: Request) -> str:
    """Who is asking, as far as limits go: one IPv4 address, or an IPv6 /64 (one household holds as much)."""
    host = request.client.host if request.client else ""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    if address.version == 6:
        return str(ipaddress.ip_network((address, 64), strict=False))
    return host


def is_nearby(request: Request) -> bool:
    """Whether the asker is this machine or in a private network: who may read the counters."""
    host = request.client.host if request.client else ""
    try:
        return ipaddress.ip_address(host).is_private
    except ValueError:
        return False


def from_elsewhere(request: Request, public_url: str) -> bool:
    """Whether a browser says that a form came from another site (Fetch Metadata, else Origin).

    A client that sends neither field is no browser and carries nobody's cookie.
    """
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        return site not in ("same-origin", "none")
    origin = request.headers.get("origin")
    if origin is None:
        return False
    own = {public_url.rstrip("/"), f"{request.url.scheme}://{request.headers.get('host', '')}"}
    return origin not in own
