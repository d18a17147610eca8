"""How a route as a whole backs off when none of its servers can be used.

A failure before MAIL is about the servers and not about a copy: no copy pays for it with an attempt. The route rests,
for a time that doubles with each failure, after which one copy tries it out; the first that gets through ends the rest.
What fails while other attempts are under way counts once.
"""

import random
from typing import Final, Literal

from gateway.mail.outcome import ABOUT_US, Outcome

FIRST_SECONDS: Final = 1.0
LONGEST_SECONDS: Final = 60.0
SPREAD: Final = 0.2
"""Jitter moves a rest by at most this part, so that the processes of an installation do not come back together."""


def is_down(outcome: Outcome) -> bool:
    """Whether an outcome says that the servers cannot be used now, whatever the copy."""
    return outcome.state == "retry" and (outcome.stage in ABOUT_US or (outcome.stage == "mail" and outcome.code == 421))


class Rest:
    """Of one route. Times in seconds on any clock that only grows."""

    def __init__(self) -> None:
        self.failures = 0
        """In a row; 0: the route works."""
        self._until = 0.0

    def seconds(self, now: float) -> float:
        """How long nothing is to be tried; 0: one copy may, or all where there was no failure."""
        return max(0.0, self._until - now) if self.failures else 0.0

    def heard(self, outcome: Outcome, now: float) -> Literal["begins", "ends"] | None:
        """Take in what came of an attempt; whether a rest begins or ends with it."""
        if not is_down(outcome):
            if not self.failures or outcome.code is None:  # without a reply it says nothing about the route
                return None
            self.failures = 0
            return "ends"
        if self.failures and now < self._until:
            return None
        wait = min(LONGEST_SECONDS, FIRST_SECONDS * 2.0 ** min(self.failures, 10))
        self._until = now + wait * (1 - SPREAD + 2 * SPREAD * random.random())
        self.failures += 1
        return "begins"
