"""Ports of loopback for the servers that a test starts. Whatever runs beside it, nobody else is given the same.

A port that the system chose and that was let go again is soon anybody's: the system gives it to the next that asks,
be it for a connection that goes out. So these lie below those it gives away by itself (Linux: from 32768 on), and each
process that needs some has a block of them: it is its own for as long as it holds the first port of it.
"""

import errno
import itertools
import socket
from collections.abc import Iterator
from functools import cache

BLOCKS = range(10_000, 20_000, 100)


def free_ports(count: int) -> list[int]:
    """That many ports on which nobody listens, all different; the block is gone through before one comes again."""
    _, turn = _block()
    found = list(itertools.islice(filter(_is_free, itertools.islice(turn, BLOCKS.step - 1)), count))
    if len(found) < count:
        raise RuntimeError("every port of the block of this process is taken: a test has left servers behind")
    return found


@cache
def _block() -> tuple[socket.socket, Iterator[int]]:
    """What guards the first block nobody else has, open while this process lives; and the other ports in turn."""
    for first in BLOCKS:
        guard = socket.socket()
        try:
            guard.bind(("127.0.0.1", first))
        except OSError as error:
            guard.close()
            if error.errno != errno.EADDRINUSE:
                raise
        else:
            return guard, itertools.cycle(range(first + 1, first + BLOCKS.step))
    raise RuntimeError(f"no block of ports between {BLOCKS.start} and {BLOCKS.stop} is free")


def _is_free(port: int) -> bool:
    """Whether a server can listen there; what is left of connections to an earlier one is no hindrance."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
            probe.listen()
        except OSError:
            return False
    return True
