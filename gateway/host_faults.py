"""Smarthosts that cannot be used, as the operator has to know: in the log, counted, on the first page and in `doctor`.

A refused login or a host without TLS we may use is nobody's mail's fault: copies wait, and somebody has to act.
"""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from gateway import log
from gateway.config import Config
from gateway.mail.outcome import Outcome
from gateway.store.faults import HostFault, HostNote

TOLD_AGAIN = timedelta(minutes=1)
"""How often the log has a line about the same host."""
SHOWN_AFTER = timedelta(minutes=5)
"""A host that does not answer for less is shown to nobody; whoever refuses us, or has no TLS, is shown at once."""
NEEDS_US = frozenset(("auth", "starttls"))
"""Stages at which a host that fails is for us to mend."""


class HostFaults:
    """What the hosts of all routes of one worker do, until it is written down."""

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self._clock = clock
        self._notes: dict[tuple[str, str], HostNote] = {}
        self._told: dict[tuple[str, str], datetime] = {}

    def of(self, route: str) -> Callable[[str, Outcome | None], None]:
        """What the pool of a route calls: a host ("name:port") did not get ready, or (None) is well again."""
        return lambda host, outcome: self._say(route, host, outcome)

    def _say(self, route: str, host: str, outcome: Outcome | None) -> None:
        now, place = self._clock(), (route, host)
        if outcome is None:
            self._notes[place] = HostNote(route=route, host=host, at=now)
            if self._told.pop(place, None) is not None:
                log.host_well(route=route, host=host)
            return
        self._notes[place] = HostNote(
            route=route, host=host, at=now, stage=outcome.stage, code=outcome.code, said=outcome.text
        )
        told = place in self._told and now < self._told[place] + TOLD_AGAIN
        log.host_failed(
            route=route, host=host, stage=outcome.stage, code=outcome.code, said=outcome.text, told=told
        )  # fmt: skip
        if not told:
            self._told[place] = now

    def take(self) -> list[HostNote]:
        """What was found since the last time, to be written down."""
        notes, self._notes = list(self._notes.values()), {}
        return notes

    def put_back(self, notes: Sequence[HostNote]) -> None:
        """What could not be written down; what was found since counts."""
        self._notes = {(note.route, note.host): note for note in notes} | self._notes


def to_be_shown(faults: Sequence[HostFault], config: Config, now: datetime) -> list[HostFault]:
    """The faults of hosts that are still configured and that somebody has to know of."""
    hosts = {(route.name, f"{one.host}:{one.port}") for route in config.routes.values() for one in route.hosts}
    return [
        fault for fault in faults
        if (fault.route, fault.host) in hosts and (fault.stage in NEEDS_US or now - fault.since >= SHOWN_AFTER)
    ]  # fmt: skip
