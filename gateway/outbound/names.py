"""Where a host is that the settings name: what the system says, its hosts file, search list and name servers.

Purpose: `addresses_of` gives the addresses of a smarthost. The servers of an `mx` route come from resolver.py.
It never holds a thread that others need: the system's look-up cannot be interrupted, and behind a silent name server it
takes its time. Each name that is being asked for has a thread of its own, one for all who ask meanwhile, so that there
are never more of them than the settings have hosts.
Failures: `LinkFailed`.

Source: RFC 8305 4 (the order of addresses).
"""

import asyncio
import ipaddress
import socket
import threading
from concurrent.futures import Future
from itertools import zip_longest
from typing import Any

from gateway.outbound.link import LinkFailed

_under_way: dict[tuple[str, int], "Future[list[Any]]"] = {}
"""Questions to the system that are not answered yet, of all loops of this process."""


async def addresses_of(host: str, port: int, seconds: float) -> tuple[str, ...]:
    """All addresses of a host, the families in turn; of an address itself.

    LinkFailed("dns") when it has none or nobody answers, "timeout" when that takes longer than `seconds`.
    """
    if _is_address(host):
        return (host,)
    try:
        async with asyncio.timeout(seconds):
            found = await asyncio.wrap_future(_asked(host, port))
    except TimeoutError:
        raise LinkFailed("timeout", "name servers") from None
    except OSError as error:  # socket.gaierror, and what the system says where it has no descriptor or thread left
        raise LinkFailed("dns", error.strerror or "") from None
    except UnicodeError:  # no label of a host name is longer than 63 octets
        raise LinkFailed("dns", "not a host name") from None
    families: dict[int, list[str]] = {}
    for family, _, _, _, place in found:
        families.setdefault(family, []).append(str(place[0]))
    turns = zip_longest(*families.values())
    return tuple(dict.fromkeys(address for turn in turns for address in turn if address is not None))


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _asked(host: str, port: int) -> "Future[list[Any]]":
    """The question that is under way for a host, or a new one. Who gives up waiting does not end it for others."""
    key = host, port
    asked = _under_way.get(key)
    if asked is None:
        asked = _under_way[key] = Future()
        asked.set_running_or_notify_cancel()
        try:
            threading.Thread(target=_ask, args=(key, asked), name="host name", daemon=True).start()
        except RuntimeError:
            del _under_way[key]
            raise OSError(0, "no thread left to ask") from None
    return asked


def _ask(key: tuple[str, int], asked: "Future[list[Any]]") -> None:
    try:
        found = socket.getaddrinfo(*key, type=socket.SOCK_STREAM)
    except Exception as error:
        del _under_way[key]
        asked.set_exception(error)
    else:
        del _under_way[key]
        asked.set_result(found)
