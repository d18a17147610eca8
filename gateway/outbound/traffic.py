"""How much goes to each mail server at one time: a window that grows while it takes mail, and shrinks when it has had
too much.

Purpose: `admit` says of a copy, before anything is done for it, whether it may go now or when to ask again. A copy
that may go holds a `Ticket`, which is one of the sessions of its place, until it says what came of it.
A place is the first mail servers of a domain (mx.Way.site), so that domains served together are one; a domain whose
servers are not known yet is a place of its own.
It never lets places that took nothing promptly of late have more than their share of all sessions, so that domains that
are slow or down take none from those that work. Its memory is bounded (PLACES), whatever domains there are.
Failures: none. Known limit: it counts per process; several processes are several clients to a server.

How it adapts, as TCP does (RFC 5681): each copy that is taken widens the window by one until the first setback, then by
one per window of copies. A copy that is put off (45x) halves it, but never under one: greylisting is no reason to stop.
A server that ends the session (421) or cannot be reached halves it too, and rests when it was down to one: for a time
that doubles with each failure, after which one copy tries it out. Setbacks of copies that were on their way together
count once.
"""

import random
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

from gateway.mail.outcome import ABOUT_US, Outcome, judge_failure

PLACES: Final = 50_000
FIRST: Final = 2.0
"""The window of a place that was never heard of."""
UNPROVEN_SHARE: Final = 0.75
"""Of all sessions, how many may be with places that took nothing promptly within PROVEN_SECONDS."""
PROVEN_SECONDS: Final = 600.0
PROMPT_SECONDS: Final = 60.0
"""What takes longer proves nothing: a server may take minutes for each of its answers, and take the copy in the end."""
REST: Final = (15.0, 900.0)
"""The first rest of a place that fails, and the longest, in seconds."""
SOONEST: Final = 0.5
LATEST: Final = 600.0
"""Least and most seconds after which a copy that has to wait asks again."""
SLOWEST: Final = 0.2
"""Copies a second that come back to a place that fails, behind the one that tries it out."""
HOPED_FOR: Final = 2.0
"""Copies a second that a session is thought to take, as long as nothing better is known. Too few would leave sessions
idle; too many come back in vain, and are told another time."""
PACE_SECONDS: Final = 5.0
"""Over how long the pace of a place is measured."""

Heard = Literal["well", "less", "away", "nothing"]
"""What an attempt said about the place: it works; it wants less; it cannot be used; nothing."""


def heard_of(outcome: Outcome) -> Heard:
    """What an outcome says about the server, apart from the copy."""
    if outcome.state == "skipped":
        return "nothing"
    if outcome.code == 421 or outcome.stage in ABOUT_US:
        return "away" if outcome.state == "retry" else "nothing"
    if outcome.code is None:
        return "away" if outcome.state == "retry" else "well"
    about_mailbox = (outcome.enhanced or "").startswith("4.2.")
    return "less" if outcome.state == "retry" and not about_mailbox else "well"


@dataclass(slots=True, eq=False)
class Place:
    """What is known of one place. Times are seconds of the loop.

    `window`: sessions it may have, `busy` those it has. `rests_until`: not asked before. `failures`: in a row.
    `good_at`: when it last did well, and promptly. `growing`: no setback yet. `settled_at`: copies begun before have
    the last setback in common. `pace`: copies a second, lately, as of `paced_at`. `booked`: up to when copies were told
    to come back. `last`: what kept it from being used.
    """

    name: str
    window: float = FIRST
    busy: int = 0
    rests_until: float = 0.0
    failures: int = 0
    good_at: float = float("-inf")
    growing: bool = True
    settled_at: float = float("-inf")
    pace: float = 0.0
    paced_at: float | None = None
    booked: float = 0.0
    last: Outcome | None = None

    @property
    def room(self) -> bool:
        """Whether one more copy may go."""
        return self.busy < (1 if self.failures else max(1, int(self.window)))

    def book(self, now: float, hoped_for: float) -> float:
        """Seconds after which one more copy asks again. `hoped_for`: how many a second the place may take at best.

        They are told to come back one after the other, as fast as that, or twice as fast as the place took them
        lately: a hundred thousand copies for one place then do not all come back at once, again and again.
        """
        gap = 1 / max(2 * self.pace, SLOWEST if self.failures else hoped_for)
        self.booked = min(max(self.booked, now, self.rests_until) + gap, max(now, self.rests_until) + LATEST)
        return max(SOONEST, (self.booked - now) * random.uniform(0.9, 1.1))

    def took(self, now: float) -> None:
        """One copy more, for the pace: an average that forgets."""
        if self.paced_at is not None:
            passed = max(now - self.paced_at, 1e-3)
            weight = min(1.0, passed / PACE_SECONDS)
            self.pace += weight * (1 / passed - self.pace)
        self.paced_at = now


@dataclass(slots=True, eq=False)
class Ticket:
    """The right of one copy to a session with its place. `at`: since when. `unproven`: counted as such.

    `excused`: what came of it is about the copy's domain, which asked for more than the place gives to others.
    """

    place: Place
    at: float
    unproven: bool
    over: bool = False
    excused: bool = False


class Traffic:
    """All places of one route in this process."""

    def __init__(
        self, *, sessions: int, per_place: int, places: int = PLACES,
        rests: Callable[[Place, float], None] = lambda _place, _seconds: None,
    ) -> None:  # fmt: skip
        """`sessions`: in all. `per_place`: the widest that a window becomes. `rests`: told of a place that is to rest
        for so many seconds."""
        self._places: OrderedDict[str, Place] = OrderedDict()
        self._sites: OrderedDict[str, str] = OrderedDict()  # of domains
        self._most, self._rests = places, rests
        self._busy = self._unproven = self._failing = 0
        self._crowd = Place(name="")  # gives times to those for which there is no room among the unproven
        self.limit(sessions=sessions, per_place=per_place)

    def limit(self, *, sessions: int, per_place: int) -> None:
        """Other settings; windows that are too wide by them narrow as they are used."""
        self._sessions, self._per_place = sessions, per_place
        self._hoped_for = HOPED_FOR * per_place
        self._unproven_most = max(1, int(sessions * UNPROVEN_SHARE))

    @property
    def full(self) -> bool:
        """Whether all sessions are taken."""
        return self._busy >= self._sessions

    @property
    def busy(self) -> int:
        """How many sessions are taken."""
        return self._busy

    @property
    def resting(self) -> int:
        """How many places are given a rest or tried out again."""
        return self._failing

    def admit(self, domain: str, now: float) -> Ticket | float:
        """A ticket, or the seconds after which to ask again. `domain` as A-labels. `now`: loop time."""
        return self._admit(self._place(self._sites.get(domain, domain)), now)

    def moved(self, ticket: Ticket, domain: str, site: str, now: float) -> float:
        """The servers of a ticket's domain are known now: it counts there. Seconds to wait where they have no room,
        which ends the ticket; else 0."""
        self._sites[domain] = site
        self._sites.move_to_end(domain)
        while len(self._sites) > self._most:
            self._sites.popitem(last=False)
        if ticket.place.name == site:
            return 0.0
        self.done(ticket, "nothing", now)
        place = self._place(site)
        if now < place.rests_until or not place.room:
            return place.book(now, self._hoped_for)
        self._take(place, ticket, now)
        return 0.0

    def done(self, ticket: Ticket, heard: Heard, now: float, outcome: Outcome | None = None) -> None:
        """The copy is on its way no more; what was heard of the place meanwhile. A second time changes nothing."""
        if ticket.over:
            return
        ticket.over = True
        place = ticket.place
        place.busy -= 1
        self._busy -= 1
        self._unproven -= ticket.unproven
        if heard == "well":
            self._failing -= place.failures > 0
            place.failures, place.rests_until, place.last = 0, 0.0, None
            if now - ticket.at <= PROMPT_SECONDS:
                place.good_at = now
            place.took(now)
            widened = place.window + (1.0 if place.growing else 1 / max(1.0, place.window))
            place.window = min(self._per_place, widened)
        elif heard != "nothing":
            # whoever waits here is told of the place, and not that his copy may have been taken
            place.last = judge_failure("connect", "lost") if outcome and outcome.maybe_delivered else outcome
            if ticket.at >= place.settled_at:
                self._set_back(place, heard, now)

    def why(self, domain: str) -> Outcome | None:
        """What keeps the place of a domain from being used, where it rests."""
        place = self._places.get(self._sites.get(domain, domain))
        return place.last if place is not None else None

    def _set_back(self, place: Place, heard: Heard, now: float) -> None:
        place.growing, place.settled_at = False, now
        alone = place.window < 2
        place.window = max(1.0, place.window / 2)
        if heard == "away" and (alone or place.failures):
            first, most = REST
            self._failing += not place.failures
            place.failures += 1
            seconds = min(most, first * 2 ** min(place.failures - 1, 10)) * random.uniform(0.8, 1.2)
            place.rests_until = now + seconds
            self._rests(place, seconds)

    def _place(self, name: str) -> Place:
        """A place by its name; the one that was longest not asked for is forgotten for it, unless it is in use."""
        place = self._places.get(name)
        if place is None:
            place = self._places[name] = Place(name=name)
            while len(self._places) > self._most:
                oldest = next(iter(self._places.values()))
                if oldest.busy:
                    self._places.move_to_end(oldest.name)
                    continue
                self._failing -= oldest.failures > 0
                del self._places[oldest.name]
        else:
            self._places.move_to_end(name)
        return place

    def _admit(self, place: Place, now: float) -> Ticket | float:
        if now < place.rests_until or not place.room:
            return place.book(now, self._hoped_for)
        ticket = Ticket(place=place, at=now, unproven=now - place.good_at > PROVEN_SECONDS)
        if ticket.unproven and self._unproven >= self._unproven_most:
            return self._crowd.book(now, HOPED_FOR * self._unproven_most)
        self._take(place, ticket, now)
        return ticket

    def _take(self, place: Place, ticket: Ticket, now: float) -> None:
        ticket.place, ticket.over = place, False
        ticket.unproven = now - place.good_at > PROVEN_SECONDS
        place.busy += 1
        self._busy += 1
        self._unproven += ticket.unproven
