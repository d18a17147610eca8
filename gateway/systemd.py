"""What the service manager is told, and what it hands over (sd_notify(3), sd_listen_fds(3)); nothing without one.

The protocol is a datagram of lines to a socket that the environment names, and open sockets from descriptor 3 on.
Failures: none are raised; a service manager that does not listen is no reason to stop carrying mail.
"""

import contextlib
import os
import socket
import time
from collections.abc import Callable

PATIENCE_SECONDS = 2.0
_FIRST_INHERITED = 3


def tell(*lines: str, patience: float = PATIENCE_SECONDS) -> None:
    """Say something, as "READY=1". A manager that is too busy to hear it within `patience` does not."""
    place = os.environ.get("NOTIFY_SOCKET")
    if not place:
        return
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.settimeout(patience)
        manager.connect("\0" + place[1:] if place.startswith("@") else place)
        manager.sendall("\n".join(lines).encode())


def ready() -> None:
    """Everything accepts; also the end of a reload."""
    tell("READY=1", "STATUS=Accepting mail")


def reloading() -> None:
    """The settings are being loaded anew, until `ready` is said again."""
    tell("RELOADING=1", f"MONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")


def stopping() -> None:
    """Nothing new is taken."""
    tell("STOPPING=1", "STATUS=Finishing hand-overs under way")


def alive() -> None:
    """We are well; to be said every `watchdog_seconds` at least."""
    tell("WATCHDOG=1", patience=0)


def watchdog_seconds() -> float | None:
    """How often `alive` has to be said to this process; None: nobody waits for it. Half of it is a good pace."""
    usec, pid = os.environ.get("WATCHDOG_USEC", ""), os.environ.get("WATCHDOG_PID", "")
    if not usec.isdecimal() or (pid.isdecimal() and int(pid) != os.getpid()):
        return None
    return int(usec) / 1_000_000 or None


def inherited() -> list[socket.socket]:
    """The listening sockets that were opened for us. Asked once: what the environment says is taken out of it."""
    pid, count = os.environ.pop("LISTEN_PID", ""), os.environ.pop("LISTEN_FDS", "")
    os.environ.pop("LISTEN_FDNAMES", None)
    if not pid.isdecimal() or int(pid) != os.getpid() or not count.isdecimal():
        return []
    opened = []
    for number in range(_FIRST_INHERITED, _FIRST_INHERITED + int(count)):
        with contextlib.suppress(OSError):
            one = socket.socket(fileno=number)
            one.set_inheritable(False)
            opened.append(one)
    return opened


class Watchdog:
    """Says `alive` in time, whenever it is asked to. `now`: seconds on a clock that only grows."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        seconds = watchdog_seconds()
        self.every = seconds / 2 if seconds else None
        self._now, self._next = now, 0.0

    def pat(self) -> None:
        """Say it, unless it was said a moment ago."""
        if self.every is not None and self._now() >= self._next:
            self._next = self._now() + self.every
            alive()
