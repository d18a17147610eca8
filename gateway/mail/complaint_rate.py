"""When complaints about a campaign are too many (RULES.md 5.4: warning at 0.1 %, stop at 0.3 %).

Mailbox providers count complaints per mail delivered, and so do we. A rate alone would stop a mailing to ten people
for one slip of a finger: so a stop takes `STOP_FROM` people, a warning `WARN_FROM`. If one recipient in a thousand
complains about whatever comes, three out of a hundred happen once in some 6,000 mailings (Poisson, mean 0.1): three
are a finding, one is not.
"""

from typing import Final, Literal

WARN_FROM: Final = 2
WARN_RATE: Final = 0.001
STOP_FROM: Final = 3
STOP_RATE: Final = 0.003

Rated = Literal["fine", "warn", "stop"]


def rate(complaints: int, sent: int, *, released: int | None = None) -> Rated:
    """What so many complaints about so many copies mean.

    `released`: complaints at an earlier stop from which somebody let the campaign go on; it takes twice as many to stop
    it again.
    """
    if complaints >= STOP_FROM and complaints >= STOP_RATE * sent and complaints >= 2 * (released or 0):
        return "stop"
    if complaints >= WARN_FROM and complaints >= WARN_RATE * sent:
        return "warn"
    return "fine"
