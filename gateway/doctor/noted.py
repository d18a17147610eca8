"""What the gateway noted by itself: signatures of a sample of what left, loop checks of before, hosts that fail."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime

from gateway.config import Config
from gateway.doctor.finding import Finding
from gateway.host_faults import to_be_shown
from gateway.store.checks import KeptChecks
from gateway.store.contract import Store

Kept = Mapping[str, Sequence[KeptChecks]]


async def checks(config: Config, store: Store) -> dict[str, list[KeptChecks]]:
    """All that is kept, by controller."""
    return {controller_id: await store.checks(controller_id) for controller_id in config.controllers}


async def hosts(config: Config, store: Store, now: datetime) -> list[Finding]:
    """One for each smarthost that cannot be used."""
    remedies = {"auth": "check its username and password", "starttls": "have TLS set up there, or set routes.*.tls"}
    return [
        Finding(
            check=f"route {one.route}", good=False,
            text=f"{one.host} cannot be used since {one.since:%Y-%m-%d %H:%M} UTC ({one.stage}: "
            f"{f'{one.code} ' if one.code else ''}{one.said}): {remedies.get(one.stage, 'see why')}",
        )
        for one in to_be_shown(await store.host_faults(), config, now)
    ]  # fmt: skip


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
