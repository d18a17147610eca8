"""How good the proof is: of one person's consents, and of a whole list, graded a page at a time and counted.

Standings are sealed per person, so that nothing but opening each can count them. A count is kept; it is made anew when
the ledger grew, and costs a bounded share of one core: what took long is done seldom. Grades decide nothing.
"""

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from time import monotonic
from typing import Final

from gateway import log
from gateway.store.contract import Store, StoreUnavailable
from gateway.store.material import KeptMeter, KeptWording
from suppression.consent import Consent
from suppression.evidence import Grade, grade
from suppression.proof_meter import Meter

PAGE: Final = 200
"""People opened at a time: other questions of this process wait no longer than for one page."""
LOOK_SECONDS: Final = 30.0
"""How often it is looked whether a list changed."""
SHARE: Final = 100
"""A count that took a second is not made again for this many; at most SELDOM passes."""
SELDOM: Final = timedelta(hours=1)

Progress = Callable[[str, int, int], None]
"""Called with the controller, the people counted so far, and 0: how many there are is not known."""


async def count(
    store: Store, controller_id: str, *, entry_id: bytes, clock: Callable[[], datetime], gently: bool = False,
    progress: Progress | None = None,
) -> KeptMeter:  # fmt: skip
    """Count a list and keep the count. `gently`: rest between pages for as long as a page took.

    `entry_id`: the newest ledger entry. Raises StoreUnavailable; then the last count stays.
    """
    began, now = monotonic(), clock()
    meter = Meter()
    on_file = await _on_file(store, controller_id)
    after: bytes | None = b""
    while after is not None:
        turned = monotonic()
        page = await store.standing_page(controller_id, after=after, n=PAGE)
        for standing in page.standings:
            meter.add(standing, controller_id, on_file, now)
        after = page.after
        if progress is not None:
            progress(controller_id, meter.people, 0)
        if gently and after is not None:
            await asyncio.sleep(monotonic() - turned)
    rest = min(SELDOM, timedelta(seconds=SHARE * (monotonic() - began)))
    await store.keep_meter(controller_id, meter, entry_id=entry_id, counted_at=now, due_at=now + rest)
    return KeptMeter(meter=meter, counted_at=now, current=True)


async def _on_file(store: Store, controller_id: str) -> frozenset[str]:
    names: list[str] = []
    while page := await store.wordings(controller_id, after=names[-1] if names else ""):
        names += [one.wording.name for one in page]
    return frozenset(names)


async def current(
    store: Store, controller_id: str, *, clock: Callable[[], datetime], progress: Progress | None = None
) -> KeptMeter:
    """The proof of a list as it is now: the last count where nothing happened since, else a new one."""
    kept = await store.meter(controller_id)
    if kept is not None and kept.current:
        return kept
    _, newest = await store.begin_meter(controller_id, now=clock(), until=clock() + SELDOM)
    return await count(store, controller_id, entry_id=newest, clock=clock, progress=progress)


@dataclass(frozen=True, slots=True, kw_only=True)
class Graded:
    """One consent, how good its proof is, and the wording it names where that is on file."""

    consent: Consent
    grade: Grade
    wording: KeptWording | None


async def graded(store: Store, controller_id: str, consents: Iterable[Consent]) -> list[Graded]:
    """The proof of one person's consents."""
    found = []
    for consent in consents:
        version = consent.evidence.wording_version
        wording = await store.wording(controller_id, version) if version is not None else None
        made = grade(consent, wording_on_file=wording is not None)
        found.append(Graded(consent=consent, grade=made, wording=wording))
    return found


async def keep_counting(store: Store, controllers: Callable[[], Iterable[str]], clock: Callable[[], datetime]) -> None:
    """Until cancelled: lists whose ledger grew are counted anew, by one process at a time.

    A count that is cut short is taken up by whoever looks after SELDOM; until then the last one is shown.
    """
    while True:
        try:
            for controller_id in controllers():
                due, newest = await store.begin_meter(controller_id, now=clock(), until=clock() + SELDOM)
                if due:
                    await count(store, controller_id, entry_id=newest, clock=clock, gently=True)
        except StoreUnavailable as down:
            log.store_unavailable(where="meter", error=down)
        except Exception as error:  # grades decide nothing: counting them must not take the mail along
            log.bug(where="meter", error=error)
        await asyncio.sleep(LOOK_SECONDS)
