"""What the gateway may call over HTTP: which hosts, by which addresses. Everything else is refused.

A newsletter tool names the URL that it wants told, and whoever can send mail through the gateway can name any. So
only hosts that the operator listed are called, over https, and a listed name that leads to a machine inside is not
followed there: an address that is not out on the internet is called only where it is listed itself, as such.
"""

import ipaddress
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
_PORTS: Final = {"https": 443, "http": 80}
_PLAIN: Final = re.compile(r"[!-~]+")
_LONGEST: Final = 4096
"""Characters of a URL."""

_NEVER: Final = tuple(map(ipaddress.ip_network, (
    # RFC 6890 and the IANA registries of special-purpose addresses: none of these is somebody else's public server.
    "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24",
    "192.0.2.0/24", "192.31.196.0/24", "192.52.193.0/24", "192.88.99.0/24", "192.168.0.0/16", "192.175.48.0/24",
    "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4",
    "::/96", "64:ff9b:1::/48", "100::/64", "2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20", "5f00::/16",
    "fc00::/7", "fe80::/10", "fec0::/10", "ff00::/8",
)))  # fmt: skip
_GLOBAL: Final = ipaddress.ip_network("2000::/3")
_NAT64: Final = ipaddress.ip_network("64:ff9b::/96")
"""Where IPv6-only networks show IPv4 servers (RFC 6052): judged by the IPv4 address inside."""


class NotAllowed(Exception):
    """A URL that is not called. The text names no URL: that may hold personal data."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """One entry of write_back_hosts. `host`: a name as A-labels, or an IP address. `port` None: any.

    `plain`: without TLS, for this machine alone.
    """

    host: str
    port: int | None = None
    plain: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a request goes: the parts of a URL that was allowed. `target`: path and query."""

    host: str
    port: int
    tls: bool
    target: str

    @property
    def name(self) -> str:
        """HOST:PORT, for logs and lists: no personal data."""
        return f"{self._shown}:{self.port}"

    @property
    def authority(self) -> str:
        """The Host field (RFC 9112 3.2)."""
        return self._shown if self.port == _PORTS["https" if self.tls else "http"] else self.name

    @property
    def _shown(self) -> str:
        return f"[{self.host}]" if ":" in self.host else self.host


def place_of(url: str, peers: Iterable[Peer]) -> Place:
    """The place a URL names, where one of the peers allows it. Raises NotAllowed."""
    if len(url) > _LONGEST or not _PLAIN.fullmatch(url) or "\\" in url:
        raise NotAllowed("not a URL")
    try:
        parts = urlsplit(url)
        host, port = (parts.hostname or "").rstrip("."), parts.port
    except ValueError:
        raise NotAllowed("not a URL") from None
    if parts.scheme not in _PORTS or not host or port == 0:
        raise NotAllowed("not a URL")
    if parts.username is not None or parts.password is not None:
        raise NotAllowed("a URL with a login")
    place = Place(
        host=str(literal(host) or host), port=port or _PORTS[parts.scheme], tls=parts.scheme == "https",
        target=(parts.path or "/") + (f"?{parts.query}" if parts.query else ""),
    )  # fmt: skip
    for peer in peers:
        if peer.host == place.host and peer.port in (None, place.port) and peer.plain is not place.tls:
            return place
    raise NotAllowed("host is not listed" if place.tls else "not https")


def literal(host: str) -> IPAddress | None:
    """A host that is written as an address, as such; None for a name."""
    try:
        found = ipaddress.ip_address(host)
    except ValueError:
        return None
    return None if isinstance(found, ipaddress.IPv6Address) and found.scope_id is not None else found


def inside(address: IPAddress) -> bool:
    """Whether an address is not that of a server out on the internet: private, this machine, reserved, a group ...

    One that wraps an IPv4 address is judged by that one as well. 6to4 and Teredo are refused as such: what comes of
    them depends on machines on the way.
    """
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return inside(address.ipv4_mapped)
        if address in _NAT64:
            return inside(ipaddress.IPv4Address(address.packed[-4:]))
        if address not in _GLOBAL:
            return True
    in_table = any(address in network for network in _NEVER if network.version == address.version)
    return in_table or not address.is_global or address.is_multicast or address.is_reserved


def refused(addresses: Iterable[IPAddress], peers: Iterable[Peer]) -> Iterator[IPAddress]:
    """Those of a name's addresses that may not be called. One is enough for the name: it answers as it likes."""
    listed = {found for peer in peers if (found := literal(peer.host)) is not None}
    return (address for address in addresses if inside(address) and address not in listed)
