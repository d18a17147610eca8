"""What the gateway noted by itself: signatures of a sample of what left, loop checks of before."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime

from gateway.config import Config
from gateway.doctor.finding import Finding
from gateway.store.checks import KeptChecks
from gateway.store.contract import Store

Kept = Mapping[str, Sequence[KeptChecks]]


async def checks(config: Config, store: Store) -> dict[str, list[KeptChecks]]:
    """All that is kept, by controller."""
    return {controller_id: await store.checks(controller_id) for controller_id in config.controllers}


def loops(kept: Kept) -> dict[tuple[str, str], datetime]:
    """When the loop check of a stream last went well, where the last one did."""
    return {
        (controller_id, one.name): one.last_at
        for controller_id, rows in kept.items() for one in rows if one.kind == "loop" and one.well
    }  # fmt: skip


def findings(kept: Kept) -> Iterator[Finding]:
    """One for each key that a sample was looked at of, and for each stream with a loop check."""
    for controller_id, rows in kept.items():
        for one in rows:
            what = "signature" if one.kind == "signature" else f"loop {controller_id}"
            text = f"{one.checked} checked, {one.failed} failed; last {one.last_at:%Y-%m-%d %H:%M} UTC"
            if not one.well:
                text = f"{text}: {one.why}"
            yield Finding(check=f"{what} {one.name}", good=one.well, text=text)
