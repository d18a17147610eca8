"""A campaign that complaints had stopped goes on, since somebody looked at it and says so (RULES.md 5.4)."""

from datetime import datetime

from gateway import log, record
from gateway.store.contract import Store


async def resume(
    store: Store, controller_id: str, stream: str, campaign: str, *, by: str, user: str | None = None, why: str,
    now: datetime,
) -> int | None:  # fmt: skip
    """Let the rest of it go: each copy is decided anew before it leaves. How many were set aside; None: not stopped.

    `by`: "command line" or a role; `user` and `why` are sealed. Twice as many complaints stop it again.
    """
    place = record.campaign_id(controller_id, stream, campaign)
    notes = record.staff_acts(
        [controller_id], "campaign resumed", by=by, at=now, private={"why": why, **({"user": user} if user else {})},
        campaign=place,
    )  # fmt: skip
    again = await store.release_campaign(controller_id, stream, campaign, notes=notes, now=now)
    if again is not None:
        log.campaign_released(campaign=place, copies=again)
    return again
