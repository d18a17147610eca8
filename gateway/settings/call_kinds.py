"""Kinds of setting values about systems that the gateway calls: hosts, secrets of webhooks, lists of a tool."""

import re
import ssl
from pathlib import Path
from typing import Any, Final

from gateway.settings.file_kinds import FILE
from gateway.settings.kinds import TEXT, Bad, Kind, domain, is_loopback
from gateway.tools.reach import Peer, literal
from gateway.tools.webhook import secret_of

_PLAIN: Final = "http://"


def _peer(value: Any, directory: Path) -> Peer:
    """NAME, NAME:PORT or an IP address with or without a port; on this machine also http://IP:PORT."""
    text: str = TEXT.parse(value, directory)
    plain = text.startswith(_PLAIN)
    host, port = _apart(text.removeprefix(_PLAIN))
    if "/" in host:
        raise Bad(f"{text!r} is not a host", 'Write a name without https://, as "lists.example.com"')
    address = literal(host)
    if address is None and re.fullmatch(r"[\d.]+|0[xX].*", host):
        raise Bad(f"{host!r} is not an address", 'Write it as "10.1.2.3" or "2001:db8::1"')
    found = str(address) if address is not None else domain(host)
    if plain and (address is None or not is_loopback(found)):
        raise Bad(f"{text!r} would be called without TLS", "Without TLS only 127.0.0.1 or ::1 are: use https")
    return Peer(host=found, port=port, plain=plain)


def _apart(text: str) -> tuple[str, int | None]:
    """Host and port; an IPv6 address with a port stands in brackets."""
    found = re.fullmatch(r"\[([^\]]+)\](?::(\d{1,5}))?|([^:]+)(?::(\d{1,5}))?", text)
    if found is None:
        return text, None  # an IPv6 address, or nothing that can be read
    host, port = found[1] or found[3], found[2] or found[4]
    if port is not None and not 0 < int(port) < 65536:
        raise Bad(f"{text!r} has no port that exists", "Write a port from 1 to 65535, or none")
    return host, None if port is None else int(port)


def _peers(value: Any, directory: Path) -> tuple[Peer, ...]:
    if not isinstance(value, list):
        raise Bad("must be a list of hosts", "Put it in square brackets")
    return tuple(dict.fromkeys(_peer(one, directory) for one in value))


def _secret(value: Any, directory: Path) -> bytes:
    try:
        return secret_of(TEXT.parse(value, directory))
    except ValueError as wrong:
        remedy = (
            "Make one with: python3 -c \"import base64,os;print('whsec_'+base64.b64encode(os.urandom(32)).decode())\""
        )
        raise Bad(f"is no webhook secret: it {wrong}", remedy) from None


def _authorities(value: Any, directory: Path) -> Path:
    path: Path = FILE.parse(value, directory)
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(path)
    except (OSError, ssl.SSLError):
        raise Bad(f"{path} holds no certificates (PEM)", "Name the certificate of the authority, not a key") from None
    return path


def _lists(value: Any, directory: Path) -> dict[str, tuple[str, ...]]:
    """From the name of a purpose to what it is in the tool: ids, or "*" for all of it."""
    example = 'Write it as { newsletter = ["3"], events = ["4", "5"] }; ["*"] is the whole tool'
    if not isinstance(value, dict) or not value:
        raise Bad("must give the lists of each purpose", example)
    found = {}
    for purpose, ids in value.items():
        texts = [str(one) if type(one) is int else one for one in ids] if isinstance(ids, list) else []
        if not texts or not all(isinstance(one, str) and re.fullmatch(r"[A-Za-z0-9_-]{1,64}|\*", one) for one in texts):
            raise Bad("is no list of ids", example, purpose)
        if "*" in texts and len(texts) > 1:
            raise Bad('names ids beside "*"', '"*" is the whole tool: leave it alone, or remove it', purpose)
        found[purpose] = tuple(texts)
    return found


AUTHORITIES: Final = Kind("file", _authorities)
PEERS: Final = Kind("list of hosts", _peers, ())
WEBHOOK_SECRET: Final = Kind("whsec_ and base64", _secret, None, True)
LISTS: Final = Kind("lists per purpose", _lists, {})
