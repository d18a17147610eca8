"""The listening sockets of a gateway: opened once, shared by all workers, kept over a reload.

A socket belongs to its address: settings that name the same address again go on with the same socket, so that nobody
who connects meanwhile is refused. A service manager may have opened sockets for us (systemd.py): those come first.
Failures: OSError that names the setting and the remedy; then nothing is left open that was not open before.
"""

import errno
import json
import socket
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from gateway.config import Address, Listen

BACKLOG = 1024
_REMEDIES = {
    errno.EADDRINUSE: "Stop what uses it, or set another port.",
    errno.EACCES: "Ports below 1024 need root or CAP_NET_BIND_SERVICE; or set another port.",
    errno.EADDRNOTAVAIL: "This machine has no such address; set one of its own.",
}

Opened = dict[Address, socket.socket]


@dataclass(slots=True)
class Sockets:
    """Listening sockets, by what they are for and by the address of the settings."""

    submission: Opened = field(default_factory=dict)
    submissions: Opened = field(default_factory=dict)
    return_path: Opened = field(default_factory=dict)
    web: Opened = field(default_factory=dict)

    @classmethod
    def bound(
        cls, listen: Listen, before: "Sockets | None" = None, inherited: Iterable[socket.socket] = ()
    ) -> "Sockets":
        """All listeners of the settings; what `before` or a service manager has open is not opened again."""
        have: dict[tuple[object, ...], socket.socket] = {_name_of(one): one for one in inherited}
        have |= {_place(setting, address): one for setting, address, one in before} if before is not None else {}
        made, new = cls(), []
        try:
            for setting, addresses in _wanted(listen).items():
                for address in addresses:
                    place = _place(setting, address)
                    if place not in have:
                        have[place] = _bound(address, setting)
                        new.append(have[place])
                    getattr(made, setting)[address] = have[place]
        except OSError:
            for one in new:
                one.close()
            raise
        return made

    def __iter__(self) -> Iterator[tuple[str, Address, socket.socket]]:
        for setting in self.__slots__:
            for address, opened in getattr(self, setting).items():
                yield setting, address, opened

    def close(self, *, but: "Sockets | None" = None) -> None:
        """Close all, but those that the others are."""
        kept = {id(opened) for _, _, opened in but} if but is not None else set()
        for _, _, opened in self:
            if id(opened) not in kept:
                opened.close()

    def packed(self) -> tuple[bytes, list[int]]:
        """To send them to another process: which is which, and their descriptors in that order."""
        rows = list(self)
        return json.dumps([(setting, *address) for setting, address, _ in rows]).encode(), [
            opened.fileno() for _, _, opened in rows
        ]

    @classmethod
    def unpacked(cls, names: bytes, descriptors: Iterable[int], before: "Sockets") -> "Sockets":
        """What another process packed; an address that `before` has open already is not held twice."""
        have, made = {_place(setting, address): opened for setting, address, opened in before}, cls()
        for (setting, host, port), descriptor in zip(json.loads(names), descriptors, strict=True):
            sent = socket.socket(fileno=descriptor)
            opened = have.setdefault(_place(setting, (host, port)), sent)
            if opened is not sent:
                sent.close()
            getattr(made, setting)[host, port] = opened
        return made


def _wanted(listen: Listen) -> Mapping[str, tuple[Address, ...]]:
    return {
        "submission": listen.submission, "submissions": listen.submissions, "return_path": (listen.return_path,),
        "web": (listen.web,),
    }  # fmt: skip


def _place(setting: str, address: Address) -> tuple[object, ...]:
    """What makes two sockets the same; port 0 is another one for each setting."""
    return address if address[1] else (setting, *address)


def _name_of(opened: socket.socket) -> Address:
    """The address a socket listens on, as settings have it."""
    name = opened.getsockname()
    return (name[0], name[1]) if isinstance(name, tuple) else ("", 0)


def _bound(address: Address, setting: str) -> socket.socket:
    host, port = address
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
        listening.listen(BACKLOG)
    except OSError as taken:
        listening.close()
        remedy = _REMEDIES.get(taken.errno or 0, "Set another address or port.")
        why = f"{host}:{port} cannot be listened on: {taken.strerror}"
        raise OSError(f"listen.{setting}: {why}. {remedy}") from None
    listening.setblocking(False)
    return listening
